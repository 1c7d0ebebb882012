"""The table of `make bench`: what was measured, the ratio, and the goal beside it."""

from pathlib import Path
from typing import NamedTuple

import pytest

STORED = Path(".benchmarks") / "speed.md"


class Row(NamedTuple):
    """One line of the table; times are medians, the ratio (yardstick / ours) is the median of the rounds' ratios."""

    work: str
    threads: int
    ours_s: float
    yardstick: str
    yardstick_s: float
    ratio: float
    goal: float | None


ROWS = pytest.StashKey[list[Row]]()


def note(config: pytest.Config, row: Row) -> None:
    config.stash.setdefault(ROWS, []).append(row)


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| work | threads | ours | beside | ratio | goal |", "|---|---|---|---|---|---|"]
    for row in rows:
        beside = f"{row.yardstick} {1000 * row.yardstick_s:.0f} ms"
        goal = "-" if row.goal is None else f"{row.goal:g}"
        ours = f"{1000 * row.ours_s:.0f} ms"
        lines.append(f"| {row.work} | {row.threads} | {ours} | {beside} | {row.ratio:.2f} | {goal} |")
    return "\n".join(lines) + "\n"
