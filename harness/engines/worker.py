"""A worker: reads jobs on stdin, does them one after the other, and reports on stdout how they go.

`start.py` loads it. It is a process of its own, so that the command line need not load torch, several trials run side
by side, and Ctrl-C can end a trial at any point. It ends itself after an unforeseen error. On a CPU every worker
computes with one thread: then results do not depend on how many run, and two workers with one thread finish more trials
than one with two.
"""

import os
import resource
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import torch

from harness.audits import audit
from harness.decoy import check_decoy
from harness.engines.messages import (
    Audited,
    AuditJob,
    Bug,
    Code,
    Done,
    Failed,
    Probed,
    ProbeJob,
    Progressed,
    Recorded,
    Reply,
    Request,
    TrialJob,
    line_of,
    request_in,
)
from harness.errors import ChangedError, ExitCode, HarnessError, SubmissionError
from harness.fingerprint import harness_fingerprint
from harness.host.budget import AUDIT_BUDGET_S, TRIAL_BUDGET_S, budget
from harness.host.sandbox import isolation
from harness.outcome import audit_of
from harness.processor import device_name, device_of, set_up_processor
from harness.provenance import commit_and_changes, failed_record
from harness.published import check_published_layouts
from harness.records import Record
from harness.rules import Finding, gate, gates
from harness.submissions import Broken, Submission, pair, read_folder
from harness.trial import Progress, run_job

OUT_OF_MEMORY = "a worker used up its share of the machine's memory; run again with a smaller -j, or with more memory"
OUT_OF_GPU_MEMORY = "the GPU has no more memory; run again with a smaller -j, or when nothing else uses it"


def main() -> None:
    """Does the jobs that come on stdin until it ends; stdout belongs to the messages from here on."""
    # Whatever else is printed goes to stderr.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    # A GPU's first steps run uncaptured, to see whether they can be captured; torch takes that for a mistake.
    warnings.filterwarnings("ignore", "This instance was constructed with capturable=True", UserWarning)
    set_up_processor()
    # Computed and cached here, so that they describe the code that this process has loaded, not what the files hold
    # when its first trial is over.
    harness_fingerprint()
    commit_and_changes()
    for line in sys.stdin:
        request = request_in(line)
        try:
            do(request, events)
        except HarnessError as error:
            _send(events, Failed(message=str(error), exit_code=error.exit_code))
        except torch.OutOfMemoryError:
            _send(events, Failed(message=OUT_OF_GPU_MEMORY, exit_code=ExitCode.INCOMPLETE))
            _send(events, Done(is_last=True))  # a recording may be broken off, and then nothing can be relied on
            return
        except Exception as error:
            if not _is_out_of_memory(error):
                # What this process still holds, a GPU's context above all, may be broken: the next job gets another.
                _send(events, Bug(message=traceback.format_exc()))
                return
            _send(events, Failed(message=OUT_OF_MEMORY, exit_code=ExitCode.INCOMPLETE))
        _send(events, Done())


def do(request: Request, events: TextIO) -> None:
    """Does one job and sends all its messages but `Done`."""
    job = request.job
    is_on_cpu = isinstance(job, AuditJob) or device_of(job.device).type == "cpu"
    limit_memory(request.memory if is_on_cpu else None)
    submission = _submission_of(job.code)
    if isinstance(job, AuditJob):
        _send(events, Audited(findings=_audit(job, submission)))
        return
    if isinstance(job, ProbeJob):
        _send(events, _probe(job, submission, events))
        return
    with budget("the trial", TRIAL_BUDGET_S):
        for record in _trials(job, submission, events):
            _send(events, Recorded(record=record))


def _audit(job: AuditJob, submission: Submission) -> list[Finding]:
    with budget("the audit", AUDIT_BUDGET_S):
        findings = audit(submission, job.track)
    if job.decoy and not gates(findings):
        with budget("the trial on the decoy task", TRIAL_BUDGET_S):
            findings += _decoy_findings(submission)
    return findings


def _decoy_findings(submission: Submission) -> list[Finding]:
    """The decoy's findings; a contract broken in its trials is a finding too, beside those of the audits."""
    try:
        return check_decoy(submission, np.random.default_rng())
    except SubmissionError as error:
        return [gate(error.rule, error.message)]


def limit_memory(num_bytes: int | None) -> None:
    """Limits the private memory that this process can write to (RLIMIT_DATA); None: up to the hard limit.

    A submission's graph runs here, and one product of tensors of allowed sizes can make torch take any amount of memory
    on the way. At the limit torch raises an error, which names the submission's line; without one, the system kills a
    process. The address space is not limited, since libraries map far more of it than they use, and there is no limit
    on a GPU, whose driver does the same in ways that differ between versions.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if num_bytes is None or (hard != resource.RLIM_INFINITY and num_bytes > hard):
        num_bytes = hard
    resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, hard))


def _is_out_of_memory(error: Exception) -> bool:
    """Whether the harness's own work ran out of memory; in a submission's graph that is a SubmissionError."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def _submission_of(code: Code) -> Submission:
    """The submission that `code` names.

    Raises:
        ChangedError: the submission, or the harness, is not what the job was planned with.
    """
    submission = _read(Path(code.folder))
    if code.crossed_with is not None:
        submission = pair(submission, _read(Path(code.crossed_with)))
    if harness_fingerprint() != code.harness:
        raise ChangedError("the harness's own code changed while this command ran; start it again")
    if submission.fingerprint != code.submission:
        raise ChangedError("its code changed after this command had read it; start it again, to validate what is there")
    return submission


def _read(folder: Path) -> Submission:
    if not folder.exists():
        raise ChangedError(f"submissions/{folder.name} is gone; put it back, or run without it")
    submission = read_folder(folder)
    if isinstance(submission, Broken):
        raise ChangedError(f"its folder cannot be read any more: {submission.error.message}")
    return submission


def _trials(job: TrialJob, submission: Submission, events: TextIO) -> Iterator[Record]:
    """The job's records as they come, a failed one for every trial that the submission broke.

    Seeds that are tried again one by one share the job's budget: with a budget for each, a submission that keeps the
    harness waiting could hold up the worker as many times as long as the job has seeds.
    """
    if broken := gates(job.findings):
        error = SubmissionError(submission.name, broken[0].rule, broken[0].message)
        yield from (_failed(job, submission, seed, error) for seed in job.seeds)
        return
    try:
        records = _train(job, submission, events)
    except SubmissionError as error:
        if len(job.seeds) == 1:
            yield _failed(job, submission, job.seeds[0], error)
            return
        for index, seed in enumerate(job.seeds):  # each alone, so that one that cannot be finished takes none with it
            fresh_seeds = job.fresh_seeds and [job.fresh_seeds[index]]
            alone = job.model_copy(update={"seeds": [seed], "fresh_seeds": fresh_seeds})
            yield from _trials(alone, submission, events)
        return
    yield from (_with_audits(record, job.findings) for record in records)


def _train(job: TrialJob, submission: Submission, events: TextIO) -> list[Record]:
    """The records of all seeds of the job, trained together.

    Raises:
        SubmissionError: the submission broke its contract with one of the seeds.
    """
    if job.track.longest or len(job.seeds) > 1:
        for finding in check_published_layouts(submission, job.track, job.digits, job.seeds):
            raise SubmissionError(submission.name, finding.rule, finding.message)
    device, report = device_of(job.device), _reporting_to(events)
    return run_job(submission, job.track, job.digits, job.seeds, device, report, job.fresh_seeds)


def _probe(job: ProbeJob, submission: Submission, events: TextIO) -> Probed:
    from harness.probe import probe  # scikit-learn takes a second or two to import, and no other job needs it

    with budget("the trial", TRIAL_BUDGET_S):
        device, report = device_of(job.device), _reporting_to(events)
        return Probed(found=probe(submission, job.track, job.digits, job.seed, device, report))


def _reporting_to(events: TextIO) -> Callable[[Progress], None]:
    return lambda progress: _send(events, Progressed(**progress._asdict()))


def _failed(job: TrialJob, submission: Submission, seed: int, error: SubmissionError) -> Record:
    machine = {"device_name": device_name(device_of(job.device)), "isolation": isolation()}
    return failed_record(submission, job.track, job.digits, seed, error, **machine)


def _with_audits(record: Record, findings: Sequence[Finding]) -> Record:
    """The record with what the audits found before the trial, unless the trial found it too.

    A gate among that would have failed the trial.
    """
    known = {audit.rule for audit in record.audits}
    others = [each for each in findings if each.rule not in known]
    found = [audit_of(finding) for finding in others]
    return record.model_copy(update={"audits": [*record.audits, *found]}).sealed()


def _send(events: TextIO, reply: Reply) -> None:
    events.write(line_of(reply))
