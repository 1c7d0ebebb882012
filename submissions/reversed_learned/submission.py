"""Numbers least significant digit first (Lee et al., 2023, arXiv:2307.03381), and a learned vector per position."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.protocol import ModelShape, PositionalEmbedding, Terms, Tokenizer

CHARACTERS = "0123456789+="


class ReversedCharacters(Tokenizer):
    """Every character is a token, every number written backwards; PAD is 12, EOS 13.

    `57+68=` is read as `75+86=` -> 7 5 10 8 6 11, and its answer `125` as `521` -> 5 2 1.
    """

    vocab_size = 14
    pad_id = 12
    eos_id = 13

    def __init__(self, max_digits: int) -> None:
        """Characters need no widths: `max_digits` is not used."""

    def encode(self, text: str) -> list[int]:
        reversed_text = re.sub("[0-9]+", lambda number: number[0][::-1], text)
        return [CHARACTERS.index(character) for character in reversed_text]

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(CHARACTERS[token_id] for token_id in reversed(token_ids) if token_id < len(CHARACTERS))


class LearnedTable(PositionalEmbedding):
    """embedding[p] = table[p] for the absolute position p, counted from the left, padding included.

    Rows start as N(0, 0.02^2), far below a scaled token embedding: what a position means is learned, not drawn.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        self.table = nn.Parameter(0.02 * torch.randn(shape.max_length, shape.d_model))

    def forward(self, layout: Tensor) -> Terms:
        return Terms(embedding=self.table[None, : layout.shape[1]])
