"""Crosses the tokenizers of some submissions with the positions of others: a grid of pairs, each a submission.

The pairs' records are kept in `results/cross/<track>/<tokenizer's folder>+<positions' folder>/`, where no board looks.
A pair that is the same as an existing submission takes that submission's records, if they are fresh.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import UsageError
from harness.plan import Plan, plan
from harness.ranking.rulings import read_rulings
from harness.ranking.scoring import Row, rows_of
from harness.records import read_all
from harness.rerun import Rerun
from harness.submissions import Broken, Part, Submission, pair, select
from harness.track import Track

FOLDER = "cross"


@dataclass(frozen=True, slots=True)
class Grid:
    """Tokenizers as rows and positions as columns, each given as a submission that has it."""

    tokenizers: list[Submission]
    positions: list[Submission]

    def pairs(self) -> list[list[Submission]]:
        return [[pair(one, other) for other in self.positions] for one in self.tokenizers]


def grid_of(found: Sequence[Submission | Broken], tokenizers: list[str], positions: list[str]) -> Grid:
    """The tokenizers and the positions of the named submissions, or of all if none is named; equal ones appear once.

    Raises:
        UsageError: a name belongs to no submission, a named folder cannot be read, or there are fewer than two pairs.
    """
    axes = [_readable(select(list(found), names), is_named=bool(names)) for names in (tokenizers, positions)]
    grid = Grid(
        _one_of_each(axes[0], lambda one: one.tokenizer),
        _one_of_each(axes[1], lambda one: one.positions),
    )
    if len(grid.tokenizers) * len(grid.positions) < 2:
        counted = "equal code counts once" if any(len(axis) > 1 for axis in axes) else "name more of either"
        raise UsageError(f"one tokenizer with one kind of positions is a submission, not a grid; {counted}")
    return grid


def plan_cross(
    grid: Grid, found: Sequence[Submission | Broken], track: Track, results: Path, harness: str, rerun: Rerun | None
) -> Plan:
    """The trials of the pairs whose numbers are not known yet; pairs that the board knows count as up to date."""
    known, rulings = _board_rows(found, track, results, harness), read_rulings(results)
    pairs = [one for line in grid.pairs() for one in line]
    unknown = [one for one in pairs if one.fingerprint not in known]
    planned = plan(track, unknown, results / FOLDER, harness, rerun, rulings)
    num_known = sum(len(known[one.fingerprint].trials) for one in pairs if one.fingerprint in known)
    return replace(planned, num_up_to_date=planned.num_up_to_date + num_known)


def rows_of_cross(
    grid: Grid, found: Sequence[Submission | Broken], track: Track, results: Path, harness: str
) -> list[list[Row]]:
    """What is known about each pair, in the form of a row of the board."""
    known = _board_rows(found, track, results, harness)
    pairs = grid.pairs()
    records = list(read_all(results / FOLDER, track.name))
    every = [one for line in pairs for one in line]
    own = {row.name: row for row in rows_of(track, every, records, harness, read_rulings(results))}
    return [[known.get(one.fingerprint, own[one.name]) for one in line] for line in pairs]


def _board_rows(found: Sequence[Submission | Broken], track: Track, results: Path, harness: str) -> dict[str, Row]:
    """The board's complete rows, by the fingerprint of their submission."""
    rows = rows_of(track, found, read_all(results, track.name), harness, read_rulings(results))
    return {row.submission.fingerprint: row for row in rows if row.submission and row.is_fresh}


def _readable(entries: Sequence[Submission | Broken], *, is_named: bool) -> list[Submission]:
    """The submissions among the entries; a broken folder is an error if it was named, and is skipped otherwise."""
    for entry in entries:
        if isinstance(entry, Broken) and is_named:
            raise UsageError(f"{entry.error}; fix it, or leave it out of the grid")
    return [entry for entry in entries if isinstance(entry, Submission)]


def _one_of_each(submissions: Sequence[Submission], part_of: Callable[[Submission], Part]) -> list[Submission]:
    """One submission for each distinct part: the last whose own folder holds it, or else the first that has it."""
    chosen: dict[str, Submission] = {}
    for submission in submissions:
        part = part_of(submission)
        if part.fingerprint not in chosen or part.folder == submission.folder:
            chosen[part.fingerprint] = submission
    return list(chosen.values())
