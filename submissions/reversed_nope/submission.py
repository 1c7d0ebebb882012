"""No positional embedding: NoPE (Kazemnejad et al., 2023, arXiv:2305.19466)."""

from torch import Tensor

from harness.protocol import PositionalEmbedding, Terms


class NoPositions(PositionalEmbedding):
    """Adds nothing and turns nothing: what a token can know of its place comes from how many tokens it may look at."""

    def forward(self, layout: Tensor) -> Terms:
        return Terms()
