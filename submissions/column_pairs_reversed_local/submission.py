"""Columns as tokens, and a window over two of them: nothing in it depends on how long a number is."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.protocol import Kind, ModelShape, PositionalEmbedding, Terms, Tokenizer

PAIRS = [f"{low}{high}" for low in range(10) for high in range(low, 10)]
TEXTS = [*"0123456789+=", "", "", *PAIRS]
"""What each id stands for: digits 0-9, `+`, `=`, PAD, EOS, then the pairs 00, 01 .. 09, 11 .. 99 from 14."""
IDS = {text: token_id for token_id, text in enumerate(TEXTS) if text}
MASKED = -1000.0


class ReversedColumnPairs(Tokenizer):
    """A prompt is n + 1 columns, least significant first, each the unordered pair of its two digits, then `+` and `=`.

    The answer has a digit for each column, n = `max_digits`. With n = 3, `57+268=` is the columns 78 56 02 00, so
    ids 64 55 16 14 10 11, and its answer `325` is 5 2 3 0.
    """

    vocab_size = len(TEXTS)
    pad_id = 12
    eos_id = 13

    def __init__(self, max_digits: int) -> None:
        self.num_columns = max_digits + 1

    def encode(self, text: str) -> list[int]:
        if "=" not in text:
            return [IDS[digit] for digit in text.zfill(self.num_columns)[::-1]]
        a, b = (operand.zfill(self.num_columns) for operand in text.removesuffix("=").split("+"))
        columns = zip(reversed(a), reversed(b), strict=True)
        return [*(IDS["".join(sorted(column))] for column in columns), IDS["+"], IDS["="]]

    def decode(self, token_ids: Sequence[int]) -> str:
        padded = "".join(TEXTS[token_id] for token_id in reversed(token_ids))
        # Zeros alone are the number 0, of which one zero stays; nothing at all is no number.
        return padded.lstrip("0") or padded[:1]


class LocalColumns(PositionalEmbedding):
    """bias[h, q, k] = table[h, 0] for the column that q asks for, table[h, 1] for the column below it, 0 for q itself.

    All else is masked, with -1000. `=` asks for column 0 (the units), and the answer's digit s for column s + 1:

        tokens    78 56 02 00  +  =  5  2  3  0        `57+268=` and its answer `325`, n = 3
        column     0  1  2  3
        asks                      0  1  2  3  4

    A column, `+` and padding see themselves. That suffices: the answer's digit s, which q is, and column s tell the
    carry out of column s, and that is added in column s + 1.
    """

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        self.table = nn.Parameter(torch.randn(shape.num_heads, 2))

    def forward(self, layout: Tensor) -> Terms:
        is_column = layout == Kind.NUMBER
        asks = (layout == Kind.EQUALS) | (layout == Kind.ANSWER)
        place = torch.where(asks, asks.cumsum(dim=1), is_column.cumsum(dim=1)) - 1
        below = place[:, :, None] - place[:, None, :]  # how far the key's column is below the one that is asked for
        is_seen = asks[:, :, None] & is_column[:, None, :] & ((below == 0) | (below == 1))
        near = self.table[:, below.clamp(0, 1)].transpose(0, 1)
        itself = torch.eye(layout.shape[1], dtype=torch.bool, device=layout.device)
        masked = torch.where(itself, 0.0, MASKED)
        return Terms(bias=torch.where(is_seen[:, None], near, masked[None, None]))
