"""FIRE, functional interpolation for relative positions (Li et al., 2023, arXiv:2310.04418), plain and randomised."""

import torch
from torch import Tensor, nn

from harness.protocol import ModelShape, PositionalEmbedding, Terms

HIDDEN = 32
EPSILON = 1e-6


class Fire(PositionalEmbedding):
    """A learned function of the distance, relative to the query's own position:

    bias[h, i, j] = f_h( log(c (i - j) + 1) / (log(c max(i, T) + 1) + 1e-6) )        for keys j <= i,

    where f is a network 1 - 32 - ReLU - H with biases, c > 0 is learned and starts at 0.1, and T = t `threshold` with a
    learned t > 0 that starts at 1. All layers share it. The paper starts T at 512, longer than any sequence here: the
    divisor would be constant. `threshold` is half the longest sequence, so that both sides of the maximum occur.
    Keys j > i get f(0): the harness masks them.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        self.threshold = shape.max_length / 2
        self.c = nn.Parameter(torch.tensor(0.1))
        self.t = nn.Parameter(torch.tensor(1.0))
        self.network = nn.Sequential(nn.Linear(1, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, shape.num_heads))

    def forward(self, layout: Tensor) -> Terms:
        return Terms(bias=self.bias(torch.arange(layout.shape[1], device=layout.device)))

    def bias(self, position: Tensor) -> Tensor:
        """(1, H, L, L) for the increasing positions (L,) of the tokens."""
        query, key = position[:, None].float(), position[None, :].float()
        c, threshold = self.c.abs(), self.t.abs() * self.threshold
        distance = (c * (query - key).clamp(min=0) + 1).log()
        scale = (c * torch.maximum(query, threshold) + 1).log() + EPSILON
        return self.network((distance / scale)[..., None]).permute(2, 0, 1)[None]


class RandomisedFire(Fire):
    """FIRE over randomised positions (Ruoss et al., 2023, arXiv:2305.16843), as Zhou et al. (2024) use it.

    In training the tokens of a batch stand at a sorted random subset of {0 .. N - 1}, one subset a batch, so that the
    network meets distances longer than any sequence; in evaluation at 0 .. L - 1. N is twice the longest sequence of
    the trial.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        self.num_places = 2 * shape.max_length

    def forward(self, layout: Tensor) -> Terms:
        length = layout.shape[1]
        if not self.training:
            return super().forward(layout)
        drawn = torch.rand(self.num_places, device=layout.device).argsort()[:length]
        return Terms(bias=self.bias(drawn.sort().values))
