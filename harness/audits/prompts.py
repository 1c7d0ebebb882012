"""What the problems that `harness validate` draws have in common, and how a prompt is read."""

SEED = 20
"""The seed of all these problems, so that the same folder gets the same verdict everywhere.

A tokenizer could know these problems; it cannot know those of a trial, which draws its own.
"""
MIN_PROMPTS = 60
"""At least this many prompts have their digits drawn anew one by one, however long they are."""


def operands(prompt: str) -> tuple[str, str]:
    """`12+345=` -> `12`, `345`"""
    a, b = prompt.rstrip("=").split("+")
    return a, b


def operand_lengths(prompt: str) -> tuple[int, int]:
    """`12+345=` -> 2, 3"""
    a, b = operands(prompt)
    return len(a), len(b)


def with_other_units(number: str) -> str:
    """The number with another last digit: `12` -> `13`, `9` -> `0`"""
    return f"{number[:-1]}{(int(number[-1]) + 1) % 10}"
