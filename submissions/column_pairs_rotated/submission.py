"""The notebook's solution: one token per column of the sum, and a token embedding rotated by its position."""

from collections.abc import Sequence

import torch
from torch import Tensor

from harness.protocol import ModelShape, PositionalEmbedding, Terms, Tokenizer

PAIRS = [f"{low}{high}" for low in range(10) for high in range(low, 10)]
TEXTS = [*"0123456789+=", "", "", *PAIRS]
"""What each id stands for: digits 0-9, `+`, `=`, PAD, EOS, then the pairs 00, 01 .. 09, 11 .. 99 from 14."""
IDS = {text: token_id for token_id, text in enumerate(TEXTS) if text}


class ColumnPairs(Tokenizer):
    """A prompt is its columns, least significant first, each the unordered pair of its two digits, then `+` and `=`.

    With 9 digits, `1265+54323=` is the columns 35 26 23 14 05 00 00 00 00, so 43 37 34 27 19 14 14 14 14 10 11.
    Answers are plain characters, most significant digit first: `55588` -> 5 5 5 8 8.
    """

    vocab_size = len(TEXTS)
    pad_id = 12
    eos_id = 13

    def __init__(self, max_digits: int) -> None:
        self.max_digits = max_digits

    def encode(self, text: str) -> list[int]:
        if "=" not in text:
            return [IDS[digit] for digit in text]
        a, b = (operand.zfill(self.max_digits) for operand in text.removesuffix("=").split("+"))
        columns = zip(reversed(a), reversed(b), strict=True)
        return [*(IDS["".join(sorted(column))] for column in columns), IDS["+"], IDS["="]]

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(TEXTS[token_id] for token_id in token_ids)


class RotatedEmbedding(PositionalEmbedding):
    """Rotates the token embedding, once, by the absolute position p, counted from the left, padding included:

    angles[p, i] = p * 10000^(-i / half)        for i in 0 .. half - 1, half = d_model / 2.

    The frequencies are those of rotary embedding (Su et al., 2021, arXiv:2104.09864), which rotates queries and keys
    instead: there the model sees distances, here it sees positions.
    """

    angles: Tensor
    """(max_length, d_model / 2), radians"""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__(shape)
        half = shape.d_model // 2
        position = torch.arange(shape.max_length)[:, None]
        self.register_buffer("angles", position * 10000.0 ** (-torch.arange(half) / half))

    def forward(self, layout: Tensor) -> Terms:
        return Terms(embedding_angles=self.angles[None, : layout.shape[1]])
