"""Numbers least significant digit first (Lee et al., 2023), and RoPE (Su et al., 2021, arXiv:2104.09864)."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from harness.protocol import ModelShape, PositionalEmbedding, Terms, Tokenizer

CHARACTERS = "0123456789+="


class ReversedCharacters(Tokenizer):
    """Every character is a token, every number written backwards (arXiv:2307.03381); PAD is 12, EOS 13.

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


class RotaryPositions(PositionalEmbedding):
    """Rotates queries and keys of every layer by the position p (section 3.2.2):

    angles[p, k] = p * 10000^(-2k / head_dim)        for k in 0 .. head_dim / 2 - 1,

    so that q . k depends on the distance of the two positions alone. The harness pairs dimension k with
    k + head_dim / 2 where the paper pairs neighbours: the same up to an order of dimensions, which is learned anyway.
    """

    angles: Tensor
    """(max_length, head_dim / 2), radians"""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        position = torch.arange(shape.max_length)[:, None]
        frequency = 10000.0 ** (-torch.arange(0, shape.head_dim, 2) / shape.head_dim)
        self.register_buffer("angles", position * frequency)

    def forward(self, layout: Tensor) -> Terms:
        return Terms(angles=self.angles[None, : layout.shape[1]])
