"""Abacus embeddings and FIRE together, as McLeish et al. combine them (2024, arXiv:2405.17399)."""

from abacus import AbacusPositions
from fire import Fire
from torch import Tensor

from harness.protocol import ModelShape, PositionalEmbedding, Terms


class AbacusWithFire(PositionalEmbedding):
    """Abacus says which column a digit belongs to and enters at the embedding; FIRE, in every layer, how far it is."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        self.abacus = AbacusPositions(shape)
        self.fire = Fire(shape)

    def forward(self, layout: Tensor) -> Terms:
        return Terms(embedding=self.abacus(layout).embedding, bias=self.fire(layout).bias)
