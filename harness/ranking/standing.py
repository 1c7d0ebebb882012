"""How far records can be relied on: by themselves, and for a row of the board."""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from harness.errors import RecordError
from harness.printable import counted
from harness.ranking.rulings import Cleared, cleared_of
from harness.records import Checkpoint, Record, Score, Suites
from harness.submissions import Broken, Submission
from harness.task import edge_problems, one_digit_problems
from harness.track import Track

MAX_REASONS = 3


class State(StrEnum):
    """How far a row can be relied on; only `FRESH` ones are ranked."""

    FRESH = "fresh"
    INCOMPLETE = "incomplete"  # what is there is fresh, but trials are missing
    REFUSED = "refused"  # an audit inside a trial found that a rule was broken
    REVIEW = "in review"  # an audit inside a trial found what a person should look at
    HACKED = "hacked"  # marked by a maintainer
    STALE = "stale"  # the submission, the track or the harness changed since
    FAILED = "failed"  # a trial, or the folder itself
    UNVERIFIED = "unverified"  # a record that cannot be believed
    NO_SANDBOX = "no sandbox"  # a trial whose submission could reach whatever the user can
    NOT_RUN = "not run"


class Standing(NamedTuple):
    state: State
    reason: str | None = None


def state_of(
    record: Record,
    submission: Submission,
    track: Track,
    harness_fingerprint: str,
    cleared: Sequence[Cleared] = (),
) -> Standing:
    """Whether the record still speaks for the code that is here, and if not, why.

    The state is the first that applies of unverified, stale, failed, refused, in review, no sandbox and fresh.
    """
    if impossible := contradiction(record, track):
        return Standing(State.UNVERIFIED, impossible)
    then = record.fingerprints
    pairs = {
        "the submission": (then.submission, submission.fingerprint),
        "the track": (then.track, track.fingerprint),
        "the harness": (then.harness, harness_fingerprint),
    }
    if changed := [what for what, (was, now) in pairs.items() if was != now]:
        return Standing(State.STALE, f"{' and '.join(changed)} changed since")
    if record.status == "failed":
        return Standing(State.FAILED, record.reason or "no reason was recorded")
    if held_back := held_back_by_audits(record, cleared):
        return held_back
    if record.isolation == "none":
        remedy = "where there is a sandbox, `harness run --rerun stale` runs it again"
        return Standing(State.NO_SANDBOX, f"ran without a sandbox; {remedy}")
    return Standing(State.FRESH)


def held_back_by_audits(record: Record, cleared: Sequence[Cleared] = ()) -> Standing | None:
    """Refused or in review, if the audits found a reason that no maintainer cleared."""
    gates = [audit for audit in record.audits if audit.level == "gate"]
    reviews = [audit for audit in record.audits if audit.level == "review"]
    reviews = [audit for audit in reviews if not cleared_of(record.fingerprints.submission, audit.rule, cleared)]
    for state, found in ((State.REFUSED, gates), (State.REVIEW, reviews)):
        if found:
            return Standing(state, "; ".join(f"{audit.rule}: {audit.seen}" for audit in found))
    return None


def standing_of(
    submission: Submission | Broken | None,
    records: Sequence[Record],
    errors: Sequence[RecordError],
    track: Track,
    harness_fingerprint: str,
    cleared: Sequence[Cleared],
) -> Standing:
    """The row's state: the gravest of its trials'."""
    if submission is None:
        return Standing(State.UNVERIFIED, "the folder is gone; put it back, or delete its records")
    if isinstance(submission, Broken):
        return Standing(State.FAILED, f"{submission.error.rule}: {submission.error.message}")
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        return Standing(State.UNVERIFIED, f"{errors[0].path.name} {errors[0].message}{more}")
    num_trials = len(track.digits) * len(track.seeds)
    trials = counted(num_trials, "trial")
    standings = [state_of(record, submission, track, harness_fingerprint, cleared) for record in records]
    for state in (State.UNVERIFIED, State.FAILED, State.REFUSED, State.REVIEW, State.STALE, State.NO_SANDBOX):
        if reasons := Counter(standing.reason for standing in standings if standing.state is state):
            shown = reasons.most_common(MAX_REASONS)
            return Standing(state, "; ".join(f"{count} of {trials}: {why}" for why, count in shown))
    if not records:
        return Standing(State.NOT_RUN, f"0 of {trials}")
    if len(records) < num_trials:
        return Standing(State.INCOMPLETE, f"{len(records)} of {trials}")
    return Standing(State.FRESH)


def contradiction(record: Record, track: Track) -> str | None:
    """What in the record no trial can have written, if anything; its digest only shows that it is whole, not true."""
    if record.status == "failed":
        return None
    if record.suites is None:
        return "the record says ok but holds no suites; run the trial again"
    scores = _scores(record.suites, record.best)
    for score in scores.values():
        if score.total == 0 or score.correct > score.total:
            return f"the record counts {score.correct} right of {score.total}; run the trial again"
    if record.fingerprints.track != track.fingerprint:
        return None  # the track asked for other numbers then; the record is stale
    asked = _num_problems(track, record.digits, with_best=record.best is not None)
    held = {suite: score.total for suite, score in scores.items()}
    for suite in asked | held:
        was, wanted = held.get(suite, 0), asked.get(suite, 0)
        if was != wanted:
            counts = f"the record counts {was} problems of {suite}"
            return f"{counts}, where the track asks for {wanted}; run the trial again"
    return None


def _scores(suites: Suites, best: Checkpoint | None) -> dict[str, Score]:
    """Every score of a record by suite: `fresh`, `carry/2`, `lengths/12`, `best/12` …"""
    nested = {"carry": suites.carry, "lengths": suites.lengths, "fresh_lengths": suites.fresh_lengths}
    if best:
        nested["best"] = best.lengths
    return {"fresh": suites.fresh, "test": suites.test, "edge": suites.edge} | {
        f"{suite}/{stratum}": score for suite, scores in nested.items() for stratum, score in scores.items()
    }


def _num_problems(track: Track, digits: int, *, with_best: bool) -> dict[str, int]:
    """How many problems a trial is scored on, by suite; `task` draws as many."""
    sizes = track.evaluation
    asked = {"fresh": sizes.fresh, "test": sizes.test, "edge": _num_edge_problems(digits)}
    if sizes.carry:
        asked |= {f"carry/{chain}": sizes.carry for chain in range(digits + 1)}
    for suite in ("lengths", "best") if with_best else ("lengths",):
        for length in range(1, (track.longest or 0) + 1):
            asked[f"{suite}/{length}"] = sizes.lengths if length > 1 else len(one_digit_problems())
    return asked | {f"fresh_lengths/{length}": sizes.lengths for length in track.lengths_beyond(digits)}


@cache
def _num_edge_problems(digits: int) -> int:
    return len(edge_problems(digits))
