"""Abacus embeddings: positions counted inside each number (McLeish et al., 2024, arXiv:2405.17399)."""

import torch
from torch import Tensor, nn

from harness.protocol import Kind, ModelShape, PositionalEmbedding, Terms


class AbacusPositions(PositionalEmbedding):
    """embedding[t] = table[position(t) + k] in a run of digits, where position counts 1, 2, 3 ..; table[0] outside.

        tokens      PAD  7  5  +  8  6  =  5  2  1        `57+68=` and its answer `125`
        position    0    1  2  0  1  2  0  1  2  3

    In training k is drawn from U{0 .. K}, one k a batch, so that later rows are trained as well; in evaluation k = 0.
    K is half of `max_digits`: a trial that tests twice the trained length trains all rows that it will test. A larger K
    (the paper has 100) would spread the same training over more rows. Rows start as N(0, 0.2^2), below a scaled token
    embedding (0.65): torch's N(0, 1) would drown the digits.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        self.longest_run = shape.max_digits + 1
        self.max_shift = shape.max_digits // 2
        self.table = nn.Embedding(1 + self.longest_run + self.max_shift, shape.d_model)
        nn.init.normal_(self.table.weight, std=0.2)

    def forward(self, layout: Tensor) -> Terms:
        is_digit = (layout == Kind.NUMBER) | (layout == Kind.ANSWER)
        column = torch.arange(layout.shape[1], device=layout.device)
        last_other = torch.where(is_digit, -1, column).cummax(dim=1).values  # the column before this run
        # No number is longer than the longest sum; what follows it is EOS and padding, from which nothing is predicted.
        position = (column - last_other).clamp(max=self.longest_run)
        if self.training:
            position = position + torch.randint(self.max_shift + 1, (1, 1), device=layout.device)
        return Terms(embedding=self.table(torch.where(is_digit, position, 0)))
