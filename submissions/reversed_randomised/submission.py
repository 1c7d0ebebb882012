"""Randomised positional encodings (Ruoss et al., 2023, arXiv:2305.16843) over a sinusoidal table."""

import torch
from torch import Tensor

from harness.protocol import ModelShape, PositionalEmbedding, Terms


class RandomisedSinusoidalTable(PositionalEmbedding):
    """The tokens stand, in order, at a random subset of a longer range of positions (section 3):

    training      position = sorted subset of {0 .. N - 1} of size L, drawn anew for every batch
    evaluation    position = 0 .. L - 1

    and each adds its row of the sinusoidal table (Vaswani et al., 2017). N is twice the longest sequence of the trial;
    the paper's 2048 is for sequences of 500.
    """

    table: Tensor
    """(N, d_model)"""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        position = torch.arange(2 * shape.max_length)[:, None]
        angles = position * 10000.0 ** (-torch.arange(0, shape.d_model, 2) / shape.d_model)
        self.register_buffer("table", torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(start_dim=1))

    def forward(self, layout: Tensor) -> Terms:
        length = layout.shape[1]
        if not self.training:
            return Terms(embedding=self.table[None, :length])
        drawn = torch.rand(len(self.table), device=layout.device).argsort()[:length]
        return Terms(embedding=self.table[drawn.sort().values][None])
