"""Attention with linear biases: ALiBi (Press et al., 2021, arXiv:2108.12409)."""

import torch
from torch import Tensor

from harness.protocol import ModelShape, PositionalEmbedding, Terms


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
