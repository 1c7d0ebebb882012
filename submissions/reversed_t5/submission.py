"""Bucketed relative position biases, as in T5 (Raffel et al., 2020, arXiv:1910.10683)."""

import math

import torch
from torch import Tensor, nn

from harness.protocol import ModelShape, PositionalEmbedding, Terms

NUM_BUCKETS = 32
NUM_EXACT = NUM_BUCKETS // 2
MAX_DISTANCE = 128


class RelativeBuckets(PositionalEmbedding):
    """bias[h, i, j] = table[bucket(i - j), h], shared by all layers.

    Half of the 32 buckets hold one distance each, the others ever more, up to 128 and beyond:

        bucket(n) = n                                                   for n < 16
        bucket(n) = min(31, 16 + floor(16 ln(n / 16) / ln(128 / 16)))   for n >= 16

        n         0 1 2 .. 15 16 17 18 19 20 22 23 26 .. 112 128 1000
        bucket    0 1 2 .. 15 16 16 16 17 17 18 18 19 ..  30  31   31

    Keys j > i share bucket 0: the harness masks them.
    """

    bucket: Tensor
    """(max_length,) int64, by distance"""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        self.table = nn.Parameter(torch.randn(NUM_BUCKETS, shape.num_heads) * shape.d_model**-0.5)
        self.register_buffer("bucket", torch.tensor([bucket_of(n) for n in range(shape.max_length)]))

    def forward(self, layout: Tensor) -> Terms:
        position = torch.arange(layout.shape[1], device=layout.device)
        distance = (position[:, None] - position[None, :]).clamp(min=0)
        return Terms(bias=self.table[self.bucket[distance]].permute(2, 0, 1)[None])


def bucket_of(distance: int) -> int:
    if distance < NUM_EXACT:
        return distance
    beyond = math.log(distance / NUM_EXACT) / math.log(MAX_DISTANCE / NUM_EXACT)
    return min(NUM_BUCKETS - 1, NUM_EXACT + int(beyond * (NUM_BUCKETS - NUM_EXACT)))
