"""Two submissions on one track, side by side, and whether luck alone could set them this far apart."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from tabulate import tabulate

from harness.board.text import thousands
from harness.definitions import argument_for
from harness.errors import UsageError
from harness.fingerprint import harness_fingerprint
from harness.printable import counted, visible
from harness.provenance import may_be_one_device
from harness.ranking.rulings import read_rulings
from harness.ranking.scoring import MIN_SEEDS, Reach, Result, Row, Stratum, ranked_strata, rows_of
from harness.ranking.standing import State
from harness.ranking.statistics import (
    LEVEL,
    Counts,
    Estimate,
    are_paired,
    are_separated,
    difference,
    estimate,
    separation,
)
from harness.records import read_all
from harness.submissions import Broken, Submission
from harness.track import Track

NOTHING = "-"


class Verdict(StrEnum):
    """On the first of two submissions."""

    BETTER = "better"
    WORSE = "worse"
    NOT_SEPARATED = "not separated"


def comparison(
    one: Submission | Broken, other: Submission | Broken, track: Track, results: Path
) -> tuple[str, Verdict]:
    """A table and its verdict as text for a terminal, and the verdict itself, by the board's test.

    Raises:
        UsageError: a trial of either is missing, or its record cannot be believed; the two are the same, or were
            trained under different definitions of the track or of the harness.
    """
    if one is other:
        raise UsageError(f"{one.name} cannot be compared with itself; name two submissions")
    records = read_all(results, track.name)
    rows = rows_of(track, [one, other], records, harness_fingerprint(), read_rulings(results))
    by_name = {row.name: row for row in rows}
    return compared(by_name[one.name], by_name[other.name], track, argument_for(track, results))


def compared(one: Row, other: Row, track: Track, argument: str) -> tuple[str, Verdict]:
    """`comparison`, for two rows of the board.

    Args:
        argument: how the command line names the track.
    """
    first, second = _counts(one, track, argument), _counts(other, track, argument)
    _require_same_definitions(one, other, track, argument)
    strata = ranked_strata(track)
    lines = [_tested(_heading(stratum, track), first.at(i), second.at(i)) for i, stratum in enumerate(strata)]
    if len(strata) > 1:
        lines.append(_tested("mean", first, second))
    beside: dict[str, Callable[[Result], str | None]] = {
        "examples to 90 %": lambda result: thousands(result.examples_to_90),
        "digit accuracy": lambda result: _share(result.digit_accuracy),
        "longest carry": lambda result: _share(result.longest_carry),
        "reach": lambda result: _reach(result.reach),
    }
    for heading, text_of in beside.items():
        texts = [[text_of(row.results[digits]) for digits in track.digits] for row in (one, other)]
        if any(map(any, texts)):
            lines.append([heading, *(" / ".join(text or NOTHING for text in own) for own in texts), "", ""])
    headers = (f"{track.name}, {counted(len(track.seeds), 'seed')}", one.name, other.name, "difference", "p")
    table = tabulate(lines, headers, disable_numparse=True, colalign=("left", "right", "right", "right", "right"))
    verdict = _verdict(first, second)
    return f"{table}\n\n{_said(one, other, first, second, verdict)}", verdict


def _counts(row: Row, track: Track, argument: str) -> Counts:
    if row.counts is None or len(row.trials) < len(track.digits) * len(track.seeds):
        reason = f": {row.standing.reason}" if row.standing.reason else ""
        first = "fix it, then " if row.standing.state is State.FAILED else ""
        raise UsageError(
            f"{row.name} has no complete results on {track.name} ({row.standing.state}{reason}); "
            f"{first}`harness run {row.name} --track {argument}`, and compare again"
        )
    return row.counts


def _require_same_definitions(one: Row, other: Row, track: Track, argument: str) -> None:
    """Refuses rows that differ in more than the submission: their trials had another track or another harness."""
    trained_under = {(trial.fingerprints.track, trial.fingerprints.harness) for trial in one.trials + other.trials}
    if len(trained_under) > 1:
        old = " ".join(row.name for row in (one, other) if row.standing.state is not State.FRESH)
        raise UsageError(
            f"the results of {one.name} and {other.name} on {track.name} are of different versions of the track or of "
            f"the harness, so they cannot be compared; `harness run {old} --track {argument}`, and compare again"
        )


def _verdict(first: Counts, second: Counts) -> Verdict:
    if not are_separated(first, second):
        return Verdict.NOT_SEPARATED
    return Verdict.BETTER if difference(first, second).value > 0 else Verdict.WORSE


def _said(one: Row, other: Row, first: Counts, second: Counts, verdict: Verdict) -> str:
    """The verdict in words, and what it rests on."""
    if verdict is Verdict.NOT_SEPARATED:
        said = f"{one.name} and {other.name} are not separated"
    else:
        said = f"{one.name} is {verdict} than {other.name}"
    p, gap = separation(first, second), difference(first, second)
    but = ""
    if verdict is Verdict.NOT_SEPARATED and p < 1 - LEVEL:
        but = f" (below {1 - LEVEL:.2f}, but the interval of the difference holds 0)"
    test = "t-tests that pair seeds and one on the counts" if are_paired(first, second) else "a test on the counts"
    lines = [f"{said}: {_signed(gap)} of exact match, p {_probability(p)} by {test}{but}."]
    seen = {trial.environment.device for row in (one, other) for trial in row.trials}
    if len(seen) > 1:
        named = ", ".join(sorted(map(visible, seen)))
        perhaps = "Perhaps not" if len(seen) == 2 and may_be_one_device(*seen) else "Not"
        lines.append(
            f"{perhaps} trained on one device ({named}): each rounds differently, which can move single starts far."
        )
    if first.num_seeds == 1:
        lines.append(
            "Provisional: one seed compares two trained models. Two of the same submission, from other seeds, can "
            f"differ as clearly; to compare submissions takes at least {MIN_SEEDS} seeds."
        )
    elif first.num_seeds < MIN_SEEDS:
        lines.append(f"Provisional: fewer than {MIN_SEEDS} seeds cannot show how much other seeds would change it.")
    for row in (one, other):
        if row.standing.state is not State.FRESH:
            lines.append(f"{row.name} is {row.standing.state}: {row.standing.reason}.")
        if row.division == "open":
            lines.append(f"{row.name} sets hyper-parameters itself: it is in the open division.")
    return "\n".join(lines) + "\n"


def _heading(stratum: Stratum, track: Track) -> str:
    """`5 digits`, or `5 digits, trained to 3` where trainings with several numbers of digits are tested at a length."""
    is_ambiguous = stratum.length is not None and len(track.digits) > 1
    return f"{stratum.heading}, trained to {stratum.digits}" if is_ambiguous else stratum.heading


def _tested(heading: str, first: Counts, second: Counts) -> list[str]:
    shares = [
        f"{_share(each.value)} [{_share(each.low)}, {_share(each.high)}]" for each in map(estimate, (first, second))
    ]
    return [heading, *shares, _signed(difference(first, second)), _probability(separation(first, second))]


def _signed(gap: Estimate) -> str:
    value, low, high = (text if float(text := f"{share:+.3f}") else "0.000" for share in gap)
    return f"{value} [{low}, {high}]"


def _probability(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"= {p:.4f}"


def _share(share: float | None) -> str | None:
    return None if share is None else f"{share:.3f}"


def _reach(reach: Reach | None) -> str | None:
    return f"{reach.value} [{reach.low}, {reach.high}]" if reach else None
