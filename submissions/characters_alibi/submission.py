"""One token per character, and attention with linear biases: ALiBi (Press et al., 2021, arXiv:2108.12409)."""

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


class LinearBiases(PositionalEmbedding):
    """Lowers the score of a key by its distance to the query, in each head h with a slope of its own (section 3):

    bias[h, i, j] = -m_h (i - j)        for keys j <= i, with m_h = 2^(-8h / H), h = 1 .. H.

    For 16 heads the slopes are 2^-0.5, 2^-1, .. 2^-8. Keys j > i get 0: the harness masks them.
    """

    slopes: Tensor
    """(num_heads,): m_1 .. m_H"""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        head = torch.arange(1, shape.num_heads + 1)
        self.register_buffer("slopes", 2.0 ** (-8 * head / shape.num_heads))

    def forward(self, layout: Tensor) -> Terms:
        position = torch.arange(layout.shape[1], device=layout.device)
        distance = (position[:, None] - position[None, :]).clamp(min=0)
        return Terms(bias=(-self.slopes[:, None, None] * distance)[None])
