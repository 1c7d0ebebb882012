"""Index hints: a symbol in front of every digit names its column (Zhou et al., 2024, arXiv:2402.09371)."""

import re
from collections.abc import Sequence

from harness.protocol import Tokenizer

CHARACTERS = "0123456789+="
FIRST_HINT = 14
NUM_HINTS = 102


class IndexHints(Tokenizer):
    """Every number least significant digit first, each digit after the hint of its column; PAD is 12, EOS 13.

    With hints a, b, c … as ids 14, 15, 16 …, the paper's `576+361=` is `a6b7c5+a1b6c3=`:

        14 6 15 7 16 5 10 14 1 15 6 16 3 11,      and its answer `937` is `a7b3c9`: 14 7 15 3 16 9.

    The paper's hints begin anywhere in their alphabet of 102 symbols, at random, alike in prompt and answer. Here they
    begin at the first: `encode` is pure and sees a prompt or an answer, never both. `decode` passes over hints.
    """

    vocab_size = FIRST_HINT + NUM_HINTS
    pad_id = 12
    eos_id = 13

    def __init__(self, max_digits: int) -> None:
        """Hints need no widths: `max_digits` is not used."""

    def encode(self, text: str) -> list[int]:
        token_ids: list[int] = []
        for part in re.findall("[0-9]+|[+=]", text):
            if part in "+=":
                token_ids.append(CHARACTERS.index(part))
                continue
            for column, digit in enumerate(reversed(part)):
                token_ids += [FIRST_HINT + column, int(digit)]
        return token_ids

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(CHARACTERS[token_id] for token_id in reversed(token_ids) if token_id < len(CHARACTERS))
