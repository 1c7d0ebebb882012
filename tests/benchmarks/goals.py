"""The table of `make bench`: what was measured, the ratio, and the goal beside it."""

from pathlib import Path
from typing import NamedTuple

import pytest

STORED = Path(".benchmarks") / "speed.md"


class Goal(NamedTuple):
    """What issue and docs ask for; either bound may be missing."""

    ratio: float | None = None
    """At least."""
    below_s: float | None = None

    def __str__(self) -> str:
        """`2.3`, `below 300 ms` or `-`"""
        if self.below_s is not None:
            return f"below {1000 * self.below_s:g} ms"
        return "-" if self.ratio is None else f"{self.ratio:g}"

    def is_met(self, ours_s: float, ratio: float) -> bool:
        return ratio >= (self.ratio or 0) and (self.below_s is None or ours_s < self.below_s)


NO_GOAL = Goal()


class Row(NamedTuple):
    """One line of the table; times are medians, the ratio (yardstick / ours) is the median of the rounds' ratios."""

    work: str
    threads: int
    ours_s: float
    yardstick: str
    yardstick_s: float
    ratio: float
    goal: Goal


ROWS = pytest.StashKey[list[Row]]()


def note(config: pytest.Config, row: Row) -> None:
    config.stash.setdefault(ROWS, []).append(row)


def table(rows: list[Row]) -> str:
    """Markdown."""
    lines = ["| work | threads | ours | beside | ratio | goal |", "|---|---|---|---|---|---|"]
    for row in rows:
        beside = f"{row.yardstick} {1000 * row.yardstick_s:.0f} ms"
        verdict = "" if row.goal == NO_GOAL else ", met" if row.goal.is_met(row.ours_s, row.ratio) else ", **not met**"
        ours = f"{1000 * row.ours_s:.0f} ms"
        lines.append(f"| {row.work} | {row.threads} | {ours} | {beside} | {row.ratio:.2f} | {row.goal}{verdict} |")
    return "\n".join(lines) + "\n"
