"""A learned logarithmic kernel of the distance: KERPLE-log (Chi et al., 2022, arXiv:2205.09921)."""

import torch
from torch import Tensor, nn

from harness.protocol import ModelShape, PositionalEmbedding, Terms

SMALLEST = 1e-2
"""Both parameters are kept at least this large, as the kernel is one only for positive ones."""


class LogarithmicKernel(PositionalEmbedding):
    """bias[h, i, j] = -p_h log(1 + a_h (i - j))        for keys j <= i,

    with p_h and a_h learned for each head, from U(0, 2) and U(0, 1), and shared by the layers. One that falls below
    0.01 counts as 0.01 and is no longer trained, where the authors' code sets it back. Keys j > i get 0: the harness
    masks them.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        self.p = nn.Parameter(2 * torch.rand(shape.num_heads))
        self.a = nn.Parameter(torch.rand(shape.num_heads))

    def forward(self, layout: Tensor) -> Terms:
        position = torch.arange(layout.shape[1], device=layout.device)
        distance = (position[:, None] - position[None, :]).clamp(min=0)
        p, a = (parameter.clamp(min=SMALLEST)[:, None, None] for parameter in (self.p, self.a))
        return Terms(bias=(-p * torch.log1p(a * distance))[None])
