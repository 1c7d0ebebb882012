"""The digits of a column side by side, least significant column first."""

from collections.abc import Sequence

from harness.protocol import Tokenizer

CHARACTERS = "0123456789+="


class InterleavedDigits(Tokenizer):
    """Operands are zero-padded to `max_digits` and read column by column, least significant first: a0 b0 a1 b1 …

    With 3 digits, `57+68=` is 057 and 068, so 7 8 5 6 0 0 and then `+` 10 and `=` 11. Its answer `125`, reversed too
    and not padded, is 5 2 1. PAD is 12, EOS 13.
    """

    vocab_size = 14
    pad_id = 12
    eos_id = 13

    def __init__(self, max_digits: int) -> None:
        self.max_digits = max_digits

    def encode(self, text: str) -> list[int]:
        if "=" not in text:
            return [int(digit) for digit in reversed(text)]
        a, b = (operand.zfill(self.max_digits) for operand in text.removesuffix("=").split("+"))
        digits = [int(digit) for column in zip(reversed(a), reversed(b), strict=True) for digit in column]
        return [*digits, CHARACTERS.index("+"), CHARACTERS.index("=")]

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(CHARACTERS[token_id] for token_id in reversed(token_ids) if token_id < len(CHARACTERS))
