"""Which trials are to be run, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import RecordError
from harness.printable import counted
from harness.ranking.rulings import Cleared, Rulings, marks_of
from harness.ranking.standing import State, state_of
from harness.records import Record, read_trials, trial_name
from harness.rerun import Rerun
from harness.submissions import Submission
from harness.track import Track, built_in_names

UP_TO_DATE = frozenset({State.FRESH, State.REVIEW, State.NO_SANDBOX})
"""States of records that the current code made and that need no other run, unless `--rerun` asks for it."""


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    submission: Submission
    digits: int
    seed: int
    why: str
    fresh_seed: int | None = None
    """The fresh seed of the trial that is to be reproduced; a new trial draws its own."""
    replaces: str | None = None
    """The digest of the record that the trial will replace, None if there is none that can be believed."""

    @property
    def name(self) -> str:
        return trial_name(self.submission.name, self.digits, self.seed)


@dataclass(frozen=True, slots=True)
class Plan:
    to_run: list[PlannedTrial]
    num_up_to_date: int
    """Trials whose records stand as they are, even if some of them do not rank."""
    failed: list[PlannedTrial]
    """Trials that failed or were refused under the current code, and are not run again unless asked for."""
    num_stale: int
    """Trials whose records are stale or cannot be believed, and which `rerun` leaves as they are."""
    num_hacked: int
    """Submissions that a maintainer marked as hacked; nothing of theirs runs, since no result would rank."""
    num_redefined: int
    """Trials to run that replace records of another definition of a track of this name."""
    cleared: Sequence[Cleared] = ()
    """Reviews that a maintainer cleared."""

    def summary(self, track: str, *, dry_run: bool) -> str:
        """`track quick: 3 trials to run, 27 up to date`"""
        others = f"{counted(self.num_redefined, 'record')} of another definition of this track"
        remedy = "" if track in built_in_names() else "; another `name` keeps both"
        redefined = f" (replacing {others}{remedy})" if self.num_redefined else ""
        again = "a changed folder runs again, the others with `--rerun failed`"
        failed = f", {len(self.failed)} failed or refused before ({again})" if self.failed else ""
        stale = f", {self.num_stale} stale (left alone; they run without --rerun)" if self.num_stale else ""
        hacked = f"; {counted(self.num_hacked, 'submission')} marked as hacked, not run" if self.num_hacked else ""
        if not self.to_run and not failed and not stale:
            return f"track {track}: nothing to run, {counted(self.num_up_to_date, 'trial')} up to date{hacked}"
        verb, to_run = "would" if dry_run else "to", counted(len(self.to_run), "trial")
        return f"track {track}: {to_run} {verb} run, {self.num_up_to_date} up to date{redefined}{failed}{stale}{hacked}"


def plan(
    track: Track,
    submissions: Sequence[Submission],
    results: Path,
    harness: str,
    rerun: Rerun | None,
    rulings: Rulings,
) -> Plan:
    """Every trial of the track, sorted into what runs and what stands.

    Args:
        harness: the fingerprint of the harness.
        rerun: None runs trials whose record is missing, stale or cannot be believed; `missing` only those without one.
        rulings: a record whose review was cleared stands like any other, and nothing marked as hacked is run.
    """
    to_run: list[PlannedTrial] = []
    failed: list[PlannedTrial] = []
    num_up_to_date = num_stale = num_redefined = 0
    marks = marks_of(submissions, rulings.hacked)
    for submission in submissions:
        if submission.name in marks:
            continue
        for digits, seed, record in read_trials(results, track.name, submission.name, track.digits, track.seeds):
            state, why = _state(record, submission, track, harness, rulings)
            replaces = record.digest if isinstance(record, Record) else None
            trial = PlannedTrial(submission, digits, seed, why, replaces=replaces)
            if _is_due(state, rerun):
                to_run.append(trial)
                num_redefined += isinstance(record, Record) and record.fingerprints.track != track.fingerprint
            elif state in (State.FAILED, State.REFUSED):
                failed.append(trial)
            elif state in UP_TO_DATE:
                num_up_to_date += 1
            else:
                num_stale += 1
    return Plan(to_run, num_up_to_date, failed, num_stale, len(marks), num_redefined, rulings.cleared)


def _state(
    record: Record | RecordError | None, submission: Submission, track: Track, harness: str, rulings: Rulings
) -> tuple[State, str]:
    if record is None:
        return State.NOT_RUN, "missing"
    if isinstance(record, RecordError):
        return State.UNVERIFIED, f"the record {record.message.partition(';')[0]}"
    standing = state_of(record, submission, track, harness, rulings.cleared)
    return standing.state, standing.reason or "asked for, though its record is fresh"


def _is_due(state: State, rerun: Rerun | None) -> bool:
    if state is State.NOT_RUN or rerun is Rerun.all:
        return True
    due = {
        None: {State.STALE, State.UNVERIFIED},
        Rerun.missing: set[State](),
        Rerun.failed: {State.FAILED, State.REFUSED, State.REVIEW},
        Rerun.stale: {State.STALE, State.UNVERIFIED, State.NO_SANDBOX},
    }
    return state in due[rerun]
