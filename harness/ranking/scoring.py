"""From records to the board's rows: what they add up to, and who ranks above whom.

A row is ranked only if every trial of the track is there, went well, and was made by the code that is here now
(`standing.py`).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.errors import RecordError
from harness.printable import counted
from harness.ranking.rulings import NO_RULINGS, Cleared, Hacked, Rulings, cleared_of, mark_of, marks_of
from harness.ranking.standing import Standing, State, contradiction, standing_of
from harness.ranking.statistics import Counts, Estimate, are_separated, estimate
from harness.records import Drift, Mistake, Parameters, Record, Score, Suites, record_path
from harness.submissions import Broken, Submission
from harness.track import Track

MIN_SEEDS = 5
"""With fewer seeds a rank is provisional: two or three cannot show how much another would change it."""
REACHED = 0.9
"""Exact match from which a length counts as mastered."""


class Rank(NamedTuple):
    place: int
    is_shared: bool
    is_provisional: bool

    def __str__(self) -> str:
        """`7=†`"""
        return f"{self.place}{'=' if self.is_shared else ''}{'†' if self.is_provisional else ''}"


class Stratum(NamedTuple):
    """One part of what a track ranks by; all parts count equally."""

    digits: int
    """Number of digits of the trials."""
    length: int | None
    """Digits of the longer operand, if it is longer than any trained one; None: the suite `fresh`."""

    @property
    def heading(self) -> str:
        return counted(self.length or self.digits, "digit")


class Reach(NamedTuple):
    """The largest length up to which every length is mastered, 0 for none; its interval follows from theirs."""

    value: int
    low: int
    high: int


class SpeedRatios(NamedTuple):
    """Medians over the trials of the ratios to the built-in reference."""

    encode: float
    train: float
    score: float
    decode: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What the trials at one number of digits add up to; shares are means over seeds."""

    fresh: Estimate
    seed_shares: list[float]
    """Shares of `fresh`, in the order of the seeds."""
    test: float
    edge: float
    longest_carry: float | None
    """Share of the problems whose carry runs through every column."""
    seen: float | None
    """Share of the problems of `fresh` whose ids are those of a trained one; null where no record tells."""
    digit_accuracy: float | None
    examples_to_90: float | None
    """Median over seeds; null unless more than half of them got there."""
    lengths: dict[int, Estimate]
    """By digits of the longer operand; empty except in a track of length generalisation."""
    best_lengths: dict[int, Estimate]
    """The same for the checkpoint that did best beyond the trained lengths, over the seeds that have one."""
    reach: Reach | None
    seed_reaches: list[int]
    """The reach of each seed's own final weights, in the order of the seeds; empty without lengths."""
    best_reach: Reach | None
    """Of the best checkpoint; `reach` is of the final weights."""
    drift: Drift | None
    """Of the first seed: how far rows of the positional table moved, those that training touched and the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One submission on one track."""

    name: str
    submission: Submission | Broken | None
    """None: the folder is gone and left records."""
    division: str
    standing: Standing
    trials: tuple[Record, ...]
    """The track's trials that did not fail, by digits and seed; those of a stale or unranked row too, to be shown."""
    results: dict[int, Result]
    score: Estimate | None
    """The ranking number: the mean over seeds and `ranked_strata`; null while a trial is missing."""
    counts: Counts | None
    """What `score` is computed from: seeds by `ranked_strata`."""
    speeds: dict[str, SpeedRatios]
    """By device, since ratios of different devices are not comparable.

    Empty while a trial is missing: medians over some numbers of digits are not comparable with medians over all.
    """
    cleared: tuple[Cleared, ...]
    """Those findings of these trials' audits that maintainers cleared."""
    rank: Rank | None = None

    @property
    def tags(self) -> list[str]:
        """What the trials' audits say about the format, each once."""
        return sorted({audit.seen for trial in self.trials for audit in trial.audits if audit.level == "tag"})

    @property
    def parameters(self) -> Parameters | None:
        """Of one trial; they are the same in all, except for what depends on the number of digits."""
        return next((trial.parameters for trial in self.trials if trial.parameters), None)

    @property
    def lacks_fresh_lengths(self) -> bool:
        """Whether a trial was scored beyond its trained lengths on published problems, as older ones were."""
        return any(
            int(length) > trial.digits
            for trial in self.trials
            if trial.suites
            for length in trial.suites.lengths.keys() - trial.suites.fresh_lengths.keys()
        )

    @property
    def is_fresh(self) -> bool:
        return self.standing.state is State.FRESH


def rows_of(
    track: Track,
    submissions: Sequence[Submission | Broken],
    found: Iterable[Record | RecordError],
    harness_fingerprint: str,
    rulings: Rulings = NO_RULINGS,
) -> list[Row]:
    """One row per folder, and one per folder that is gone but left records: the ranked ones first, then by score.

    Each division is ranked separately. Files of digits or seeds that the track does not name are ignored.
    """
    records, errors = _by_submission(found, track)
    folders = {submission.name: submission for submission in submissions}
    names = folders | records | errors
    marks = _marks(submissions, names.keys() - folders.keys(), rulings.hacked)
    rows = []
    for name in names:
        folder = folders.get(name)
        if mark := marks.get(name):
            whose = "" if mark.submission == name else f"has the code of {mark.submission}: "
            standing = Standing(State.HACKED, f"{whose}{mark.reason} ({mark.date})")
        else:
            standing = standing_of(folder, records[name], errors[name], track, harness_fingerprint, rulings.cleared)
        rows.append(_row(name, folder, records[name], standing, track, rulings.cleared))
    if track.ranked:
        places = _ranks(rows, is_provisional=len(track.seeds) < MIN_SEEDS)
        rows = [replace(row, rank=places.get(row.name)) for row in rows]
    return sorted(rows, key=_order)


def _by_submission(
    found: Iterable[Record | RecordError], track: Track
) -> tuple[defaultdict[str, list[Record]], defaultdict[str, list[RecordError]]]:
    """The records and the errors of the track's own trials, each by the name of their submission."""
    own_files = {record_path(Path(), "", "", digits, seed).name for digits in track.digits for seed in track.seeds}
    records: defaultdict[str, list[Record]] = defaultdict(list)
    errors: defaultdict[str, list[RecordError]] = defaultdict(list)
    for item in found:
        if isinstance(item, RecordError):
            if item.path.name in own_files:
                errors[item.path.parent.name].append(item)
        elif item.digits in track.digits and item.seed in track.seeds:
            records[item.submission].append(item)
    return records, errors


def _marks(
    submissions: Sequence[Submission | Broken], gone: Iterable[str], hacked: Sequence[Hacked]
) -> dict[str, Hacked]:
    """By name, the mark of each that is marked; a folder that is gone has no code to compare, so its name decides."""
    of_gone = {name: mark for name in gone if (mark := mark_of(name, None, hacked, {}))}
    return marks_of(submissions, hacked) | of_gone


def _row(
    name: str,
    submission: Submission | Broken | None,
    records: Sequence[Record],
    standing: Standing,
    track: Track,
    cleared: Sequence[Cleared],
) -> Row:
    good = [record for record in records if record.status == "ok" and not contradiction(record, track)]
    trials = tuple(sorted(good, key=lambda trial: (trial.digits, trial.seed)))
    by_digits = {digits: [trial for trial in trials if trial.digits == digits] for digits in track.digits}
    counts = _ranking_counts(trials, track)
    if isinstance(submission, Submission):
        division = submission.division
    else:
        division = records[0].division if records else "closed"
    return Row(
        name=name,
        submission=submission,
        division=division,
        standing=standing,
        trials=trials,
        results={digits: _result(some, digits, track) for digits, some in by_digits.items() if some},
        score=estimate(counts) if counts else None,
        counts=counts,
        speeds=_speeds(trials) if counts else {},
        cleared=_cleared(trials, cleared),
    )


def ranking_heading(track: Track) -> str:
    """`mean`, or `mean of 11–20 digits` where only some of the tested lengths rank."""
    if lengths := ranked_lengths(track):
        shortest, longest = lengths
        return f"mean of {shortest}–{longest} digits"
    return "mean"


def trained_heading(track: Track, digits: int) -> str:
    """`9 digits`, or `1–10 digits` where operands of every length up to that are trained."""
    return counted(digits, "digit") if track.longest is None else f"1–{digits} digits"


def ranked_strata(track: Track) -> list[Stratum]:
    """What a track ranks by: `fresh` at every number of digits, or every length beyond the trained ones.

    The latter in a track of length generalisation: at the trained lengths the good schemes get everything right, and
    the track asks what comes after.
    """
    beyond = [Stratum(digits, length) for digits in track.digits for length in track.lengths_beyond(digits)]
    return beyond or [Stratum(digits, None) for digits in track.digits]


def ranked_lengths(track: Track) -> tuple[int, int] | None:
    """The shortest and the longest length that ranks; None where `fresh` does."""
    lengths = [stratum.length for stratum in ranked_strata(track) if stratum.length]
    return (min(lengths), max(lengths)) if lengths else None


def mistakes_of(trials: Iterable[Record]) -> list[Mistake]:
    """The mistakes, each once: with few digits there are few problems, and two seeds may make the same mistake."""
    return list(dict.fromkeys(mistake for trial in trials for mistake in trial.mistakes))


def _ranking_counts(trials: Sequence[Record], track: Track) -> Counts | None:
    """Counts by seed, in the order of a row's trials, and by stratum; None while one is missing."""
    suites = {(trial.seed, trial.digits): trial.suites for trial in trials if trial.suites}
    table: list[list[Score]] = []
    for seed in sorted(track.seeds):
        table.append([])
        for stratum in ranked_strata(track):
            score = _score(suites.get((seed, stratum.digits)), stratum)
            if score is None:
                return None
            table[-1].append(score)
    return Counts.of([[s.correct for s in line] for line in table], [[s.total for s in line] for line in table])


def _score(suites: Suites | None, stratum: Stratum) -> Score | None:
    if suites is None or stratum.length is None:
        return suites and suites.fresh
    return suites.by_length().get(str(stratum.length))


def _ranks(rows: Sequence[Row], *, is_provisional: bool) -> dict[str, Rank]:
    """Places by name, each division separately.

    Going down by score, a row that is separated from the best of its group opens the next. The comparison is always
    with the best, never with the neighbour: otherwise a chain of close neighbours would tie the first to the last.
    """
    ranks: dict[str, Rank] = {}
    for division in ("closed", "open"):
        ranked = sorted((row for row in rows if row.is_fresh and row.division == division), key=_order)
        groups: list[list[Row]] = []
        for row in ranked:
            best = groups[-1][0].counts if groups else None
            if best and row.counts and not are_separated(best, row.counts):
                groups[-1].append(row)
            else:
                groups.append([row])
        place = 1
        for group in groups:
            ranks |= {row.name: Rank(place, len(group) > 1, is_provisional) for row in group}
            place += len(group)
    return ranks


def _order(row: Row) -> tuple[bool, float, str]:
    return (not row.is_fresh, -row.score.value if row.score else 1, row.name)


def _result(trials: Sequence[Record], digits: int, track: Track) -> Result:
    """The result of the trials at one number of digits, one per seed."""
    suites = [trial.suites for trial in trials if trial.suites]
    chains = [found.carry[str(digits)] for found in suites if str(digits) in found.carry]
    lengths = _by_length([found.by_length() for found in suites], track)
    best_lengths = _by_length([trial.best.lengths for trial in trials if trial.best], track)
    seen = [trial.seen for trial in trials if trial.seen is not None]
    accuracies = [trial.digit_accuracy for trial in trials if trial.digit_accuracy is not None]
    examples = [np.inf if trial.examples_to_90 is None else trial.examples_to_90 for trial in trials]
    median_examples = float(np.median(examples))
    return Result(
        fresh=_estimate([found.fresh for found in suites]),
        seed_shares=[found.fresh.correct / found.fresh.total for found in suites],
        test=_mean([found.test for found in suites]),
        edge=_mean([found.edge for found in suites]),
        longest_carry=_mean(chains) if chains else None,
        seen=float(np.mean(seen)) if seen else None,
        digit_accuracy=float(np.mean(accuracies)) if accuracies else None,
        examples_to_90=median_examples if np.isfinite(median_examples) else None,
        lengths=lengths,
        best_lengths=best_lengths,
        reach=_reach(lengths) if lengths else None,
        seed_reaches=[_reach(_by_length([found.by_length()], track)).value for found in suites] if lengths else [],
        best_reach=_reach(best_lengths) if best_lengths else None,
        drift=trials[0].drift,
    )


def _cleared(trials: Sequence[Record], cleared: Sequence[Cleared]) -> tuple[Cleared, ...]:
    reviews = {
        (trial.fingerprints.submission, audit.rule)
        for trial in trials
        for audit in trial.audits
        if audit.level == "review"
    }
    found = (cleared_of(fingerprint, rule, cleared) for fingerprint, rule in sorted(reviews))
    return tuple(filter(None, found))


def _by_length(found: Sequence[dict[str, Score]], track: Track) -> dict[int, Estimate]:
    return {
        length: _estimate(scores)
        for length in range(1, (track.longest or 0) + 1)
        if (scores := [scores[str(length)] for scores in found if str(length) in scores])
    }


def _estimate(scores: Sequence[Score]) -> Estimate:
    """The estimate over seeds, at one number of digits."""
    return estimate(Counts.of([[score.correct] for score in scores], [[score.total] for score in scores]))


def _mean(scores: Sequence[Score]) -> float:
    return float(np.mean([score.correct / score.total for score in scores]))


def _reach(lengths: dict[int, Estimate]) -> Reach:
    """A gap ends the reach: a model that fails at 7 digits does not add 8-digit numbers, it gets some of them right."""

    def up_to(bound: str) -> int:
        reached = 0
        while reached + 1 in lengths and getattr(lengths[reached + 1], bound) >= REACHED:
            reached += 1
        return reached

    return Reach(up_to("value"), up_to("low"), up_to("high"))


def _speeds(trials: Sequence[Record]) -> dict[str, SpeedRatios]:
    ratios: dict[str, list[SpeedRatios]] = defaultdict(list)
    for trial in trials:
        if trial.throughput:
            speed = SpeedRatios(*(getattr(trial.throughput, f"{work}_ratio") for work in SpeedRatios._fields))
            ratios[trial.environment.device].append(speed)
    return {device: SpeedRatios(*np.median(speeds, axis=0).tolist()) for device, speeds in sorted(ratios.items())}
