"""The board's text, above all that of strangers, which may be shown on the page but never shape it."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from decimal import ROUND_HALF_UP, Decimal

from harness.printable import legible
from harness.submissions import Broken, Submission

ANSI = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")
MARKUP = {ord(character): f"&#{ord(character)};" for character in '&<>"`|[]*_~\\@$'}
"""As HTML entities, which Markdown never reads as markup; a backslash would mean something else inside a table."""
NOTHING = "–"
"""Stands in a table's cell that has no value."""
MAX_ALT = 300
"""Characters of a picture's alternative text."""
LINK = re.compile(r"(?i)(?<=\w):(?=//)|(?<=www)\.")
"""What GitHub turns into a link even without brackets."""


def plain(text: str, limit: int) -> str:
    """One printable line of at most `limit` characters.

    It has no escape sequences, control characters, invisible letters or towers of combining marks. A byte of a folder's
    name that is not UTF-8 shows as \ufffd.
    """
    spaced = "".join(_visible(character) for character in ANSI.sub("", text))
    line = " ".join(legible(spaced).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def markdown(text: str, limit: int) -> str:
    """`plain` text that shows as itself within a line of Markdown, in a table's cell too, and in an HTML attribute."""
    return LINK.sub(lambda found: f"&#{ord(found[0])};", plain(text, limit).translate(MARKUP))


def percent(share: float) -> str:
    """With one decimal; a share that is not all or nothing is not rounded to look like it."""
    # A mean over seeds may lie a few last bits off: those must not decide how it is rounded.
    share = round(float(share), 8)  # numpy's own numbers have another `repr`
    if 0.9995 <= share < 1:
        return ">99.9"
    if 0 < share < 0.0005:
        return "<0.1"
    # Half up, as people do: 189 of 2,000 are 9.45 %, which is neither 9.4 nor, in binary, exactly a half.
    return str(Decimal(repr(round(100 * share, 6))).quantize(Decimal("0.1"), ROUND_HALF_UP))


def thousands(count: float | None) -> str | None:
    """`12.8k`"""
    return None if count is None else f"{count / 1000:.1f}k"


def picture(light: str, dark: str, alt: str) -> str:
    """Markdown that shows whichever of two files suits the reader's theme, with `alt` for those who see neither."""
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img alt="{markdown(alt, MAX_ALT)}" src="{light}"></picture>'
    )


def device_names(devices: Iterable[str], written: Callable[[str, int], str]) -> dict[str, str]:
    """By device, a short name that no other of them has.

    Args:
        written: a device's name as the page writes it, of at most so many characters.
    """
    known = sorted(set(devices))
    shortenings = ([written(device, limit) for device in known] for limit in (40, 60, 300))
    numbers = list(map(str, range(len(known))))
    apart = next((names for names in shortenings if len(set(names)) == len(known)), numbers)
    return dict(zip(known, apart, strict=True))


def listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def settings(submission: Submission | Broken | None) -> str:
    """`dropout 0.1, epochs 2`: what an open submission sets itself; empty for others."""
    if not isinstance(submission, Submission):
        return ""
    values = submission.manifest.hyperparameters.set_values()
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in sorted(values.items()))


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    if character.isspace() or category in {"Zl", "Zp"}:
        return " "
    return "" if category.startswith("C") else character
