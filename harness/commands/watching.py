"""Audits and trials while a person watches: what happens becomes lines on the terminal and an exit code."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from harness.commands.progress import Display
from harness.engines.local import num_cores
from harness.engines.messages import Device
from harness.errors import ExitCode
from harness.host.sandbox import Isolation, isolation
from harness.plan import PlannedTrial
from harness.ranking.rulings import Cleared
from harness.ranking.standing import State, held_back_by_audits
from harness.records import Record
from harness.rules import Finding, gates
from harness.run import Crashed, Elsewhere, Running, audit_all, run_trials
from harness.submissions import Broken, Submission
from harness.terminal import say
from harness.track import Track

MAX_SEEDS_A_JOB = 8
"""Seeds of one submission that a GPU trains side by side; on a CPU nothing would be gained by it."""


def watch_audits(
    found: Sequence[Submission | Broken],
    verdicts: dict[str, list[Finding]],
    num_workers: int | None,
    *,
    track: Track | None = None,
    with_decoy: bool = False,
) -> ExitCode:
    """Audits the submissions; the findings of each go into `verdicts` under its name the moment they come.

    A submission whose audit crashed gets no entry; the exit code tells of it.

    Args:
        num_workers: jobs at a time; one per core if none is given.
        track: whose digits, batches and epochs are audited too; without one only the lengths of every audit are.
        with_decoy: train on addition and on the decoy task as well (rule T97).

    Raises:
        MachineError: there is no sandbox, and nobody said that the submissions are trusted.
    """
    for entry in found:
        if isinstance(entry, Broken):
            verdicts[entry.name] = [Finding(entry.error.rule, "gate", entry.error.message)]
    readable = [entry for entry in found if isinstance(entry, Submission)]
    if not readable:
        return ExitCode.DONE
    _require_sandbox()
    code = ExitCode.DONE
    with Display("validate", len(readable)) as display:
        for verdict in audit_all(readable, num_workers or num_cores(), track=track, with_decoy=with_decoy):
            if isinstance(verdict, Crashed):
                display.done(verdict.job, f"{verdict.job}: {verdict.message}", "red")
                code = max(code, verdict.exit_code)
                continue
            submission, findings = verdict
            verdicts[submission.name] = findings
            broken = ", ".join(dict.fromkeys(finding.rule for finding in gates(findings)))
            doubtful = ", ".join(dict.fromkeys(finding.rule for finding in findings if finding.level == "review"))
            judged = f"breaks {broken}" if broken else "valid"
            line = f"{submission.name}: {judged}{f'; a person should look at {doubtful}' if doubtful else ''}"
            display.done(submission.name, line, "red" if broken else "yellow" if doubtful else "")
    return code


def watch_trials(
    trials: Sequence[PlannedTrial],
    track: Track,
    results: Path,
    *,
    device: Device,
    num_workers: int | None,
    verdicts: Mapping[str, Sequence[Finding]] | None = None,
    cleared: Sequence[Cleared] = (),
    on_record: Callable[[Record], None] = lambda record: None,
) -> ExitCode:
    """Runs the trials (`run.run_trials`), with a line for each that ends.

    Args:
        verdicts: by submission, what the audits found.
        cleared: reviews that a maintainer cleared; a trial ends like any other if nothing else was found.
        on_record: called with each record once it is saved.
        num_workers: jobs at a time. If none is given, one per core on a CPU, where each computes with one thread, and
            two on a GPU: while one trains, the other's submission encodes.

    Raises:
        MachineError: no sandbox and no trust, no such device, or a record could not be written.
    """
    if not trials:
        return ExitCode.DONE
    _require_sandbox()
    on_gpu = device == "cuda" or (device == "auto" and _has_gpu())
    code = ExitCode.DONE
    told: set[tuple[str, str | None]] = set()
    """Submissions and the reasons why their trials failed, each of which is printed once in full."""
    with Display(track.name, len(trials)) as display:
        for event in run_trials(
            trials,
            track,
            results,
            device=device,
            num_workers=num_workers or (2 if on_gpu else num_cores()),
            max_seeds=MAX_SEEDS_A_JOB if on_gpu else 1,
            verdicts=verdicts or {},
        ):
            if isinstance(event, Running):
                display.update(event.job, event.progress)
            elif isinstance(event, Crashed):
                display.done(event.job, f"{event.job}: {event.message}", "red", event.num_trials)
                code = max(code, event.exit_code)
            elif isinstance(event, Elsewhere):
                ended = _ended(event.record, cleared) if event.record else LEFT
                by_another = ", by another run" if event.record else ""
                display.done(event.trial.name, f"{event.trial.name}: {ended.line}{by_another}", ended.style)
                code = max(code, ended.code)
            else:
                on_record(event.record)
                ended, failure = _ended(event.record, cleared), (event.record.submission, event.record.reason)
                line = "failed as before" if failure in told else ended.line
                if event.record.status == "failed":
                    told.add(failure)
                display.done(event.job, f"{event.record.trial}: {line}", ended.style)
                code = max(code, ended.code)
    return code


class _Ended(NamedTuple):
    """How a trial ended, for a terminal."""

    line: str
    style: str = ""
    code: ExitCode = ExitCode.DONE


LEFT = _Ended("left to another run, which is training it", "yellow", ExitCode.INCOMPLETE)
"""How a trial ends for this run that another run has begun and not finished."""


def _ended(record: Record, cleared: Sequence[Cleared]) -> _Ended:
    if record.status == "failed":
        return _Ended(f"failed: {record.reason}", "red", ExitCode.INCOMPLETE)
    if held_back := held_back_by_audits(record, cleared):
        line = f"{held_back.state}: {held_back.reason}"
        if held_back.state is State.REFUSED:
            return _Ended(line, "red", ExitCode.INCOMPLETE)
        return _Ended(line, "yellow")
    assert record.suites is not None
    assert record.seconds is not None
    score, beyond = record.suites.fresh, record.beyond()
    longer = "" if beyond is None else f", {beyond:.3f} beyond the trained lengths,"
    line = f"exact match {score.correct / score.total:.3f}{longer} in {record.seconds.total:.0f} s"
    return _Ended(line)


@cache
def _require_sandbox() -> None:
    """Warns, once, if the submissions will run without a sandbox because they are trusted.

    Raises:
        MachineError: there is no sandbox, and nobody said that they are trusted.
    """
    if isolation() is Isolation.NONE:
        say("NO SANDBOX: submissions can read and write all that you can; their rows will not rank", "bold red")


def _has_gpu() -> bool:
    """Whether there is a GPU, as far as can be told without loading torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:
        return False
    drivers = (Path("/dev/nvidiactl"), Path("/usr/lib/wsl/lib/libcuda.so.1"))  # the second is WSL's
    return not metadata.version("torch").endswith("+cpu") and any(driver.exists() for driver in drivers)
