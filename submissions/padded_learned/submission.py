"""Numbers zero-padded to fixed slots, most significant digit first."""

from collections.abc import Sequence

from harness.protocol import Tokenizer

CHARACTERS = "0123456789+="


class ZeroPadded(Tokenizer):
    """Operands zero-padded to n = `max_digits` digits, answers to n + 1; PAD is 12, EOS 13.

    With n = 3, `57+68=` is read as `057+068=` -> 0 5 7 10 0 6 8 11, and its answer `125` as `0125` -> 0 1 2 5.
    """

    vocab_size = 14
    pad_id = 12
    eos_id = 13

    def __init__(self, max_digits: int) -> None:
        self.max_digits = max_digits

    def encode(self, text: str) -> list[int]:
        if "=" in text:
            a, b = (operand.zfill(self.max_digits) for operand in text.removesuffix("=").split("+"))
            padded = f"{a}+{b}="
        else:
            padded = text.zfill(self.max_digits + 1)
        return [CHARACTERS.index(character) for character in padded]

    def decode(self, token_ids: Sequence[int]) -> str:
        padded = "".join(CHARACTERS[token_id] for token_id in token_ids if token_id < len(CHARACTERS))
        # Zeros alone are the number 0, of which one zero stays; nothing at all is no number.
        return padded.lstrip("0") or padded[-1:]
