"""Characters as they are read, and a token embedding rotated by its position."""

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.protocol import ModelShape, PositionalEmbedding, Terms, Tokenizer

CHARACTERS = "0123456789+="


class Characters(Tokenizer):
    """Every character is a token, most significant digit first; PAD is 12, EOS 13.

    `57+68=` -> 5 7 10 6 8 11, and its answer `125` -> 1 2 5.
    """

    vocab_size = 14
    pad_id = 12
    eos_id = 13

    def __init__(self, max_digits: int) -> None:
        """Characters need no widths: `max_digits` is not used."""

    def encode(self, text: str) -> list[int]:
        return [CHARACTERS.index(character) for character in text]

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(CHARACTERS[token_id] for token_id in token_ids if token_id < len(CHARACTERS))


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
