"""Runs a plan: audits and trials go to workers, records come back and are saved as they come."""

import contextlib
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.claims import Claims
from harness.engines.local import Event, NamedJob, run_jobs
from harness.engines.messages import (
    Audited,
    AuditJob,
    Bug,
    Code,
    Device,
    Failed,
    Probed,
    ProbeJob,
    Progressed,
    Recorded,
    Reply,
    TrialJob,
)
from harness.errors import ExitCode, MachineError, SubmissionError
from harness.files import require_writable
from harness.fingerprint import harness_fingerprint
from harness.host.sandbox import isolation
from harness.plan import PlannedTrial
from harness.provenance import cpu_name, failed_record, fingerprints_of
from harness.records import Record, read, record_path, save, trial_name
from harness.rules import Finding
from harness.submissions import Submission
from harness.track import Track

ENDED = "the positions' graph ended the process that ran it ({}), "
FATAL: dict[int, str] = {
    signal.SIGFPE: ENDED.format("SIGFPE") + "by a division of the smallest integer by -1; divide floats",
    **{
        number: ENDED.format(number.name) + "inside torch; compute the terms with other operators"
        for number in (signal.SIGSEGV, signal.SIGABRT)
    },
}
"""Signals that a submission's graph brings about, and what is said of it. Others are the machine's: a lack of memory
ends in SIGKILL, a torch that was built for another processor in SIGILL, a file system that is full in SIGBUS."""


@dataclass(frozen=True, slots=True)
class Running:
    """How far a job has got."""

    job: str
    progress: Progressed


@dataclass(frozen=True, slots=True)
class Finished:
    """A trial whose record is saved; more of the same job may follow."""

    job: str
    record: Record


@dataclass(frozen=True, slots=True)
class Crashed:
    """A job that left no record of its last `num_trials` trials, through no fault of its submission."""

    job: str
    message: str
    exit_code: ExitCode
    num_trials: int = 1


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A trial that another run was training or had trained when its turn came, with its record if there is one."""

    trial: PlannedTrial
    record: Record | None


def audit_all(
    submissions: Sequence[Submission], num_workers: int, *, track: Track | None = None, with_decoy: bool = False
) -> Iterator[tuple[Submission, list[Finding]] | Crashed]:
    """Each submission with its findings, as they arrive; copies, with the same code and settings, are audited once.

    Args:
        track: whose digits, batches and epochs are audited too; without one only the lengths of every audit are.
        with_decoy: also train on addition and on the decoy task (rule T97).
    """
    copies: dict[tuple[str, frozenset[str]], list[Submission]] = {}
    for submission in submissions:  # findings say in which folder the code lies, so copies borrow from the same ones
        copies.setdefault((submission.fingerprint, submission.lenders), []).append(submission)
    by_name = {group[0].name: group for group in copies.values()}
    jobs = [
        NamedJob(name, AuditJob(code=_code_of(group[0]), track=track, decoy=with_decoy))
        for name, group in by_name.items()
    ]
    for event in run_jobs(jobs, min(num_workers, len(jobs))):
        group, reply = by_name[event.job.name], event.reply
        if isinstance(reply, Audited):
            yield from ((one, reply.findings) for one in group)
        elif fatal := _fatal(reply):
            yield from ((one, [Finding("P00", "gate", fatal)]) for one in group)
        else:
            yield from (_crash(one.name, reply) for one in group)


def run_trials(
    trials: Sequence[PlannedTrial],
    track: Track,
    results: Path,
    *,
    device: Device,
    num_workers: int,
    max_seeds: int,
    verdicts: Mapping[str, Sequence[Finding]],
) -> Iterator[Running | Finished | Crashed | Elsewhere]:
    """Runs the trials and saves each record the moment it comes.

    What another run on the same results has begun or recorded since the plan was made is left to it, and reported last.

    Args:
        max_seeds: how many seeds one job may train side by side.
        verdicts: what the audits found, by submission. Trials of a submission that broke a gate fail without running;
            other findings are copied into its records, since a trial of few digits cannot tell what kind of writing a
            format is, and since what a person should look at keeps a record from the ranking.

    Raises:
        MachineError: this machine lacks the device, or a record could not be written.
    """
    require_writable(results / track.name)
    groups = grouped(trials, max_seeds)
    left: dict[str, list[PlannedTrial]] = {}
    elsewhere: list[PlannedTrial] = []
    with Claims(results / track.name) as claims:

        def is_ours(trial: PlannedTrial) -> bool:
            # Claimed first: what another run still claims now may be recorded a moment later.
            if not claims.take(trial.name):
                return False
            if _recorded_since(trial, results, track) is None:
                return True
            claims.release(trial.name)
            return False

        def jobs() -> Iterator[NamedJob]:
            """A job of each group, made when its turn has come, of the trials that are ours."""
            for group in groups:
                ours = {trial.name: trial for trial in group if is_ours(trial)}
                elsewhere.extend(trial for trial in group if trial.name not in ours)
                if ours:
                    own = list(ours.values())
                    job = _trial_job(own, track, device, verdicts.get(own[0].submission.name, ()))
                    left[job.name] = own
                    yield job

        # Closed here, so that the workers have ended before the claims are given up, whatever is raised.
        with contextlib.closing(run_jobs(jobs(), min(num_workers, len(groups)))) as events:
            for told in _trial_events(events, left, track, results):
                if isinstance(told, Finished):
                    claims.release(told.record.trial)
                elif isinstance(told, Crashed):
                    for trial in left[told.job]:
                        claims.release(trial.name)
                yield told
    for trial in elsewhere:
        yield Elsewhere(trial, _recorded_since(trial, results, track))


def _trial_events(
    events: Iterable[Event], left: dict[str, list[PlannedTrial]], track: Track, results: Path
) -> Iterator[Running | Finished | Crashed]:
    """What the events of trials' jobs mean; saves the records.

    Args:
        left: by job, the trials of which its worker has sent no record yet, in order; each is taken out when its record
            comes. Those of a job that a submission's graph ended stay in.
    """
    for event in events:
        name, reply = event.job.name, event.reply
        if isinstance(reply, Progressed):
            yield Running(name, reply)
        elif isinstance(reply, Recorded):
            save(reply.record, results)
            left[name] = left[name][1:]
            yield Finished(name, reply.record)
        elif fatal := _fatal(reply):
            for trial in left[name]:
                record = _failed(trial, track, fatal)
                save(record, results)
                yield Finished(name, record)
        else:
            crash = _crash(name, reply, len(left[name]))
            if crash.exit_code is ExitCode.ENVIRONMENT:
                raise MachineError(crash.message)  # the other trials would fail in the same way
            yield crash


def _recorded_since(trial: PlannedTrial, results: Path, track: Track) -> Record | None:
    """The trial's record, if it came after the plan was made, and of the same code."""
    path = record_path(results, track.name, trial.submission.name, trial.digits, trial.seed)
    record = read(path) if path.exists() else None
    if not isinstance(record, Record) or record.digest == trial.replaces:
        return None
    return record if record.fingerprints == fingerprints_of(trial.submission, track) else None


def run_probe(
    submission: Submission, track: Track, digits: int, seed: int, device: Device
) -> Iterator[Running | Probed | Crashed]:
    """How far the probe of one trial has got, and in the end what it found."""
    work = ProbeJob(code=_code_of(submission), track=track, digits=digits, seed=seed, device=device)
    for event in run_jobs([NamedJob(trial_name(submission.name, digits, seed), work)], 1):
        name, reply = event.job.name, event.reply
        if isinstance(reply, Progressed):
            yield Running(name, reply)
        elif isinstance(reply, Probed):
            yield reply
        elif fatal := _fatal(reply):
            yield Crashed(name, fatal, ExitCode.NEGATIVE)
        else:
            yield _crash(name, reply)


def grouped(trials: Sequence[PlannedTrial], max_seeds: int) -> list[list[PlannedTrial]]:
    """The trials, in order, in groups of at most `max_seeds` of one submission at one number of digits."""
    found: list[list[PlannedTrial]] = []
    for trial in trials:
        last = found[-1] if found else []
        alike = last and (last[0].submission.name, last[0].digits) == (trial.submission.name, trial.digits)
        if alike and len(last) < max_seeds:
            last.append(trial)
        else:
            found.append([trial])
    return found


def _trial_job(group: Sequence[PlannedTrial], track: Track, device: Device, findings: Sequence[Finding]) -> NamedJob:
    first = group[0]
    work = TrialJob(
        code=_code_of(first.submission),
        track=track,
        digits=first.digits,
        seeds=[trial.seed for trial in group],
        fresh_seeds=_fresh_seeds(group),
        device=device,
        findings=list(findings),
    )
    return NamedJob(f"{first.name}{''.join(f',{trial.seed}' for trial in group[1:])}", work)


def _fatal(reply: Reply) -> str | None:
    """How a submission's graph killed the worker, if it did."""
    return FATAL.get(reply.signal) if isinstance(reply, Failed) and reply.signal else None


def _failed(trial: PlannedTrial, track: Track, reason: str) -> Record:
    """The record of a trial whose worker was killed in that way; the CPU's name stands in it, as no GPU's has come."""
    error = SubmissionError(trial.submission.name, "P00", reason)
    where = {"device_name": cpu_name(), "isolation": isolation()}
    return failed_record(trial.submission, track, trial.digits, trial.seed, error, **where)


def _fresh_seeds(group: Sequence[PlannedTrial]) -> list[int] | None:
    """The fresh seeds of trials to be reproduced, which a group has for all or none; other trials draw their own."""
    known = [trial.fresh_seed for trial in group if trial.fresh_seed is not None]
    assert len(known) in (0, len(group))
    return known or None


def _code_of(submission: Submission) -> Code:
    return Code(
        folder=str(submission.folder),
        crossed_with=None if submission.crossed_with is None else str(submission.crossed_with),
        submission=submission.fingerprint,
        harness=harness_fingerprint(),
    )


def _crash(job: str, reply: Reply, num_trials: int = 1) -> Crashed:
    if isinstance(reply, Bug):
        message = f"{reply.message}this is a bug in the harness; please report it with the lines above"
        return Crashed(job, message, ExitCode.BUG, num_trials)
    assert isinstance(reply, Failed), reply
    return Crashed(job, reply.message, reply.exit_code, num_trials)
