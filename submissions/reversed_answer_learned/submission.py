"""Operands as people write them, the answer least significant digit first (Lee et al., 2023, arXiv:2307.03381)."""

from collections.abc import Sequence

from harness.protocol import Tokenizer

CHARACTERS = "0123456789+="


class ReversedAnswer(Tokenizer):
    """Every character is a token, and only the answer is written backwards; PAD is 12, EOS 13.

    `57+68=` -> 5 7 10 6 8 11, and its answer `125` as `521` -> 5 2 1.
    """

    vocab_size = 14
    pad_id = 12
    eos_id = 13

    def __init__(self, max_digits: int) -> None:
        """Characters need no widths: `max_digits` is not used."""

    def encode(self, text: str) -> list[int]:
        written = text if "=" in text else text[::-1]
        return [CHARACTERS.index(character) for character in written]

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(CHARACTERS[token_id] for token_id in reversed(token_ids) if token_id < len(CHARACTERS))
