"""Numbers least significant digit first, and a token embedding rotated by its position."""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

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


class RotatedEmbedding(PositionalEmbedding):
    """Rotates the token embedding, once, by the absolute position p, counted from the left, padding included:

    angles[p, i] = p * 10000^(-i / half)        for i in 0 .. half - 1, half = d_model / 2.

    The frequencies are those of rotary embedding (Su et al., 2021, arXiv:2104.09864), which rotates queries and keys
    instead: there the model sees distances, here it sees positions.
    """

    angles: Tensor
    """(max_length, d_model / 2), radians"""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        half = shape.d_model // 2
        position = torch.arange(shape.max_length)[:, None]
        self.register_buffer("angles", position * 10000.0 ** (-torch.arange(half) / half))

    def forward(self, layout: Tensor) -> Terms:
        return Terms(embedding_angles=self.angles[None, : layout.shape[1]])
