"""One token per column of the sum, which remembers which digit is whose."""

from collections.abc import Sequence

from harness.protocol import Tokenizer

TEXTS = [*"0123456789+=", "", "", *(f"{a}{b}" for a in range(10) for b in range(10))]
"""What each id stands for: digits 0-9, `+`, `=`, PAD, EOS, then the pairs 00, 01 .. 99 from 14."""
IDS = {text: token_id for token_id, text in enumerate(TEXTS) if text}


class OrderedColumnPairs(Tokenizer):
    """A prompt is its columns, least significant first, each the pair (digit of a, digit of b), then `+` and `=`.

    With 3 digits, `57+268=` is the columns 78 56 02, so 92 70 16 10 11. Its answer `325`, most significant digit first,
    is 3 2 5.
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
        return [*(IDS[first + second] for first, second in columns), IDS["+"], IDS["="]]

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(TEXTS[token_id] for token_id in token_ids)
