"""Runs recorded trials again, on the very problems that they drew, and tells what comes out differently."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.commands.watching import watch_trials
from harness.definitions import argument_for
from harness.engines.messages import Device
from harness.errors import ExitCode, RecordError, UsageError
from harness.plan import PlannedTrial
from harness.provenance import may_be_one_device
from harness.ranking.rulings import Cleared, read_rulings
from harness.ranking.standing import State, state_of
from harness.records import Record, read_trials
from harness.submissions import Submission
from harness.track import Track

COMPARED = {"suites", "digit_accuracy", "best", "curve", "examples_to_90", "mistakes", "drift", "seen", "parameters"}
"""Keys of a record that come out the same to the bit in a second run on the same device, with the same torch."""
MAX_SHOWN = 4
SAME_NAMES = (
    "device, torch and products have the same names, but not every processor tells its model; compare the two scores"
)


class Reproducible(NamedTuple):
    """Which of a submission's trials on a track can be run again as they were."""

    trials: list[PlannedTrial]
    records: dict[str, Record]
    """Their records, by the trial's name."""
    passed_over: list[str]
    """The other trials, and why they cannot be run again as they were."""
    cleared: Sequence[Cleared]
    """Reviews that a maintainer cleared."""


def recorded_trials(entry: Submission, track: Track, results: Path, harness: str) -> Reproducible:
    """The trials of the track that can be run again as they were, with their records, and why the others cannot.

    Args:
        harness: the fingerprint of the harness.

    Raises:
        UsageError: no trial of the track can be run again as it was.
    """
    found = Reproducible([], {}, [], read_rulings(results).cleared)
    for digits, seed, record in read_trials(results, track.name, entry.name, track.digits, track.seeds):
        why_not = _why_not(record, entry, track, harness)
        fresh_seed = record.fresh_seed if isinstance(record, Record) else None
        trial = PlannedTrial(entry, digits, seed, "recorded", fresh_seed)
        if isinstance(record, Record) and why_not is None:
            found.trials.append(trial)
            found.records[trial.name] = record
        else:
            found.passed_over.append(f"{trial.name}: {why_not}")
    if not found.trials:
        command = f"harness run {entry.name} --track {argument_for(track, results)}"
        remedy = f"`{command}` makes records with the current code; add `--rerun failed` for trials that failed"
        raise UsageError(f"nothing on {track.name} can be reproduced: {found.passed_over[0]}; {remedy}")
    return found


def run_again(
    found: Reproducible, track: Track, *, device: Device, num_workers: int | None, tell: Callable[[str], object]
) -> ExitCode:
    """Runs the trials, and tells for each whether the result is the same; the new records are thrown away.

    Raises:
        MachineError: as `watching.watch_trials`.
    """
    alike: list[bool] = []

    def judge(now: Record) -> None:
        is_alike, line = verdict(found.records[now.trial], now)
        alike.append(is_alike)
        tell(line)

    with tempfile.TemporaryDirectory() as aside:
        code = watch_trials(
            found.trials,
            track,
            Path(aside),
            device=device,
            num_workers=num_workers,
            cleared=found.cleared,
            on_record=judge,
        )
    if len(alike) < len(found.trials):
        return code
    return ExitCode.DONE if all(alike) else ExitCode.NEGATIVE


def verdict(then: Record, now: Record) -> tuple[bool, str]:
    """Whether the second run gave the same to the bit, and a line that says so, or what it gave instead."""
    differing = f"failed: {now.reason}" if now.status == "failed" else _differences(then, now)
    if not differing:
        return True, f"{now.trial}: the same to the bit"
    if elsewhere := _other_machine(then, now):
        perhaps = "perhaps " if may_be_one_device(then.environment.device, now.environment.device) else ""
        differing += f" ({perhaps}on another machine: {elsewhere})"
    elif now.status == "ok":
        differing += f" ({SAME_NAMES})"
    return False, f"{now.trial}: {differing}"


def _differences(then: Record, now: Record) -> str:
    before, after = (_flat(record.model_dump(mode="json", include=COMPARED)) for record in (then, now))
    keys = sorted(before.keys() | after.keys(), key=_importance)
    changed = [f"{key} {before.get(key)} -> {after.get(key)}" for key in keys if before.get(key) != after.get(key)]
    more = f"; and {len(changed) - MAX_SHOWN} more" if len(changed) > MAX_SHOWN else ""
    return "; ".join(changed[:MAX_SHOWN]) + more


def _importance(key: str) -> tuple[bool, bool, str]:
    """Sorts what ranks first: fresh problems, then the other suites, then the rest."""
    return not key.startswith("suites.fresh"), not key.startswith("suites"), key


def _other_machine(then: Record, now: Record) -> str:
    """How the two machines differ, in whatever could move a number."""
    before, after = (record.environment.model_dump(include={"device", "torch", "products"}) for record in (then, now))
    return ", ".join(f"{key} {before[key]} -> {after[key]}" for key in before if before[key] != after[key])


def _why_not(record: Record | RecordError | None, submission: Submission, track: Track, harness: str) -> str | None:
    if record is None:
        return "not run"
    if isinstance(record, RecordError):
        return record.message
    standing = state_of(record, submission, track, harness)
    if standing.state in (State.UNVERIFIED, State.STALE, State.FAILED):
        return f"{standing.state}, {standing.reason}"
    return None


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """`{"suites": {"fresh": {"correct": 7}}}` -> `{"suites.fresh.correct": 7}`; list elements are numbered from 0."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return {path: value}
    return {key: leaf for name, below in items for key, leaf in _flat(below, f"{path}.{name}".lstrip(".")).items()}
