"""Numbers zero-padded to fixed slots, and position coupling (Cho et al., 2024, arXiv:2405.20671)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.protocol import Kind, ModelShape, PositionalEmbedding, Terms, Tokenizer

CHARACTERS = "0123456789+="


class PaddedReversedCharacters(Tokenizer):
    """Operands zero-padded to n = `max_digits` digits, answers to n + 1, all written backwards; PAD is 12, EOS 13.

    With n = 3, `57+68=` is read as `750+860=` -> 7 5 0 10 8 6 0 11, and its answer `125` as `5210` -> 5 2 1 0.
    """

    vocab_size = 14
    pad_id = 12
    eos_id = 13

    def __init__(self, max_digits: int) -> None:
        self.max_digits = max_digits

    def encode(self, text: str) -> list[int]:
        if "=" in text:
            a, b = (operand.zfill(self.max_digits)[::-1] for operand in text.removesuffix("=").split("+"))
            padded = f"{a}+{b}="
        else:
            padded = text.zfill(self.max_digits + 1)[::-1]
        return [CHARACTERS.index(character) for character in padded]

    def decode(self, token_ids: Sequence[int]) -> str:
        padded = "".join(CHARACTERS[token_id] for token_id in reversed(token_ids) if token_id < len(CHARACTERS))
        # Zeros alone are the number 0, of which one zero stays; nothing at all is no number.
        return padded.lstrip("0") or padded[:1]


class CoupledPositions(PositionalEmbedding):
    """embedding[t] = table[position(t)]; digits of the same significance s (0 = units) share position start + 1 + s.

        tokens      7  5  0  +  8  6  0  =  5  2  1  0  EOS        n = 3, `57+68=` and its answer `125`
        position    2  3  4  1  2  3  4  1  2  3  4  5  0          start = 1

    `+` and `=` have `start`, the rest has 0. In training each example draws start from U{1 .. S}; in evaluation start
    is 1. S is one more than half of `max_digits`: a trial that tests twice the trained length trains all rows that it
    will test, and a larger S would spread the same training over more. The paper's figures reverse
    the answer alone and let positions fall with significance: the same coupling, rows in another order. Rows start as
    N(0, 0.2^2), below a scaled token embedding (0.65): torch's N(0, 1) would drown the digits.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        self.max_significance = shape.max_digits
        self.max_start = shape.max_digits // 2 + 1
        self.table = nn.Embedding(self.max_start + 1 + self.max_significance + 1, shape.d_model)
        nn.init.normal_(self.table.weight, std=0.2)

    def forward(self, layout: Tensor) -> Terms:
        is_digit = (layout == Kind.NUMBER) | (layout == Kind.ANSWER)
        is_sign = (layout == Kind.PLUS) | (layout == Kind.EQUALS)
        column = torch.arange(layout.shape[1], device=layout.device)
        last_other = torch.where(is_digit, -1, column).cummax(dim=1).values  # the column before this number
        significance = column - last_other - 1
        is_slot = is_digit & (significance <= self.max_significance)  # not EOS and padding after the answer
        start = torch.ones_like(layout[:, :1])
        if self.training:
            start = torch.randint(1, self.max_start + 1, start.shape, device=layout.device)
        position = torch.where(is_slot, start + 1 + significance, torch.where(is_sign, start, 0))
        return Terms(embedding=self.table(position))
