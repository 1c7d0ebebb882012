"""A starting point that works: characters, and one learned vector for every position. Change either class."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.protocol import ModelShape, PositionalEmbedding, Terms

CHARACTERS = "0123456789+="


class Characters:
    """One id a character: `12+34=` -> 1 2 10 3 4 11, and the answer `46` -> 4 6."""

    vocab_size = 14
    pad_id = 12
    eos_id = 13

    def __init__(self, max_digits: int) -> None:
        """`max_digits`: the most digits of an operand, for formats that need a width; characters do not."""

    def encode(self, text: str) -> list[int]:
        return [CHARACTERS.index(character) for character in text]

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(CHARACTERS[token_id] for token_id in token_ids if token_id < len(CHARACTERS))


class LearnedPositions(PositionalEmbedding):
    """embedding[p] = table[p], one trained row for every position of the longest sequence."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        self.table = nn.Parameter(0.02 * torch.randn(shape.max_length, shape.d_model))

    def forward(self, layout: Tensor) -> Terms:
        length = layout.shape[1]
        return Terms(embedding=self.table[None, :length])
