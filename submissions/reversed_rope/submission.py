"""Rotary position embedding: RoPE (Su et al., 2021, arXiv:2104.09864)."""

import torch
from torch import Tensor

from harness.protocol import ModelShape, PositionalEmbedding, Terms


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
