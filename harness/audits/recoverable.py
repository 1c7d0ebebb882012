"""Problems that a tokenizer must tell apart (rule T40)."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from harness.audits.prompts import operands
from harness.rules import Finding, gate

SMALL = 60
NUM_RANDOM = 500
"""Random problems; each gets a partner with the same column sums, and most get one with the same sum."""


def columns(prompt: str) -> tuple[tuple[str, ...], ...]:
    """The unordered pair of digits of every column, least significant first: `12+34=` -> 24 13, like `34+12=`."""
    a, b = operands(prompt)
    width = max(len(a), len(b))
    return tuple(tuple(sorted(pair)) for pair in zip(a.zfill(width)[::-1], b.zfill(width)[::-1], strict=True))


def small_problems() -> list[str]:
    """All 60 × 60 problems of operands below 60."""
    return [f"{a}+{b}=" for a, b in product(range(SMALL), repeat=2)]


def alike_problems(digits: int, rng: np.random.Generator) -> list[str]:
    """Random problems, each followed by one with the same column sums and mostly by one with the same sum."""
    prompts: list[str] = []
    for _ in range(NUM_RANDOM):
        a, b = (rng.integers(0, 10, int(length)).tolist() for length in rng.integers(1, digits + 1, 2))
        prompts.append(_prompt(a, b))
        one, other = _number(a), _number(b)
        shift = int(rng.integers(1, 10)) * 10 ** int(rng.integers(0, len(b)))
        if shift <= other and len(str(one + shift)) <= digits:
            prompts.append(f"{one + shift}+{other - shift}=")
        width = max(len(a), len(b))
        sums = [x + y for x, y in zip(_padded(a, width), _padded(b, width), strict=True)]
        again = [int(rng.integers(max(0, total - 9), min(9, total) + 1)) for total in sums]
        prompts.append(_prompt(again, [total - x for total, x in zip(sums, again, strict=True)]))
    return prompts


def check_recoverable(prompts: Sequence[str], encoded: Sequence[Sequence[int]]) -> Iterator[Finding]:
    """T40: equal ids only for problems whose columns hold the same digits, in whichever order."""
    owners: dict[tuple[int, ...], str] = {}
    collisions: list[tuple[str, str]] = []
    for prompt, ids in zip(prompts, encoded, strict=True):
        owner = owners.setdefault(tuple(ids), prompt)
        if owner != prompt and columns(owner) != columns(prompt):
            collisions.append((owner, prompt))
    for one, other in collisions[:1]:
        ids = next(list(ids) for ids, owner in owners.items() if owner == one)
        message = (
            f"encode({one!r}) and encode({other!r}) are both {ids}; {len(collisions)} of {len(prompts)} problems share "
            "their ids with one of other digits. A tokenizer that writes two problems alike has already summed "
            "something: write every digit down"
        )
        yield gate("T40", message)


def _number(digits: list[int]) -> int:
    return int("".join(map(str, reversed(digits))))


def _prompt(a: list[int], b: list[int]) -> str:
    """`a+b=`, from digits that are least significant first."""
    return f"{_number(a)}+{_number(b)}="


def _padded(digits: list[int], width: int) -> list[int]:
    return digits + [0] * (width - len(digits))
