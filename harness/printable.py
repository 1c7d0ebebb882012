"""Text made fit to print: that of strangers safe, and a noun in its number."""

import json
import re
import unicodedata
from typing import Any

BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Hangul fillers and the blank Braille pattern: letters and symbols to Unicode, but invisible."""
MAX_MARKS = 3
"""Marks that one character may carry: Burmese, Tibetan and pointed Hebrew need three, and a taller stack is drawn over
the neighbouring lines."""
INVISIBLE_MARKS = re.compile("[\u034f\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""Joiners, selectors of variants and vowels that no font draws: marks to Unicode, and printable to Python."""


def json_text(values: Any) -> str:
    """JSON in ASCII, with no `##[` in its strings."""
    return json.dumps(values, indent=1).replace("##[", "\\u0023#[")


def visible(text: str, *, instead: str = "?", keep: str = "") -> str:
    """The text with `instead` for controls, line ends, direction marks and all else unprintable, but for `keep`.

    GitHub takes `##[` anywhere in a job's output for a command, so that is taken apart.
    """
    shown = "".join(character if character.isprintable() or character in keep else instead for character in text)
    return shown.replace("##[", "# #[")


def quoted(text: str) -> str:
    """The text in quotes, as Python writes it: letters of any script as they are, and escapes for what is not seen.

    All of it is in ASCII if it holds letters or marks that are invisible, or that draw over the neighbouring lines.
    """
    return ascii(text) if INVISIBLE_MARKS.search(text) or legible(text) != text else repr(text)


def legible(text: str) -> str:
    """The text without invisible fillers, and with no more marks on one character than any writing system needs."""
    kept: list[str] = []
    num_marks = 0
    for character in text:
        if character in BLANKS:
            continue  # between two marks it would hide that both are on one character
        num_marks = num_marks + 1 if stacks(character) else 0
        if num_marks <= MAX_MARKS:
            kept.append(character)
    return "".join(kept)


def stacks(character: str) -> bool:
    """Whether the character is drawn over, under or around the one before it."""
    return unicodedata.category(character) in {"Mn", "Me"} or unicodedata.combining(character) > 0


def counted(number: int, noun: str) -> str:
    """`1 trial`, `3 trials`"""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
