"""The problems that `harness validate` draws, and what a prompt says."""

SEED = 20
"""Of all of them: the same folder gets the same verdict everywhere. A tokenizer could know these problems; it cannot
know those of a trial, which draws its own."""
MIN_PROMPTS = 60
"""Whose digits are drawn anew one by one, however long they are."""


def operands(prompt: str) -> tuple[str, str]:
    """`12+345=` -> `12`, `345`"""
    a, b = prompt.rstrip("=").split("+")
    return a, b


def operand_lengths(prompt: str) -> tuple[int, int]:
    """`12+345=` -> 2, 3"""
    a, b = operands(prompt)
    return len(a), len(b)
