"""The baseline: one token per character, and the sinusoidal table of Vaswani et al. (2017, arXiv:1706.03762)."""

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


class SinusoidalTable(PositionalEmbedding):
    """The absolute position p, counted from the left, padding included, as sines and cosines (section 3.5):

    table[p, 2k]     = sin(p / 10000^(2k / d_model))
    table[p, 2k + 1] = cos(p / 10000^(2k / d_model))        for k in 0 .. d_model / 2 - 1.
    """

    table: Tensor
    """(max_length, d_model)"""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        position = torch.arange(shape.max_length)[:, None]
        angles = position * 10000.0 ** (-torch.arange(0, shape.d_model, 2) / shape.d_model)
        self.register_buffer("table", torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(start_dim=1))

    def forward(self, layout: Tensor) -> Terms:
        return Terms(embedding=self.table[None, : layout.shape[1]])
