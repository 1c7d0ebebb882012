"""A plan shown, or carried out: the common end of `run`, `all` and `cross`."""

from dataclasses import dataclass
from pathlib import Path

from harness.commands.watching import watch_audits, watch_trials
from harness.definitions import Definition, keep_definition
from harness.engines.local import keeping_workers
from harness.engines.messages import Device
from harness.errors import ExitCode, SubmissionError
from harness.files import require_writable
from harness.plan import Plan
from harness.rerun import Rerun
from harness.rules import Finding
from harness.submissions import Submission
from harness.terminal import put
from harness.track import Track


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """How the trials of a track are to be run."""

    device: Device
    num_workers: int | None
    """Jobs at a time; None leaves it to the device."""
    rerun: Rerun | None = None
    dry_run: bool = False
    """Only show the plan."""


def execute(planned: Plan, definition: Definition, results: Path, options: RunOptions) -> ExitCode:
    """Runs the plan, or prints it.

    Raises:
        MachineError: no sandbox and no trust, no such device, or `results` cannot be written.
    """
    if options.dry_run:
        for trial in planned.to_run:
            put(f"{trial.name}: {_refusal(trial.submission, definition.track) or trial.why}")
        return ExitCode.DONE
    if planned.to_run and options.device == "cuda":  # fails here if there is none, before all folders are audited
        from harness.processor import device_of

        device_of(options.device)
    try:
        return _validate_and_train(planned, definition, results, options)
    except KeyboardInterrupt:
        then = "begins again with the first" if options.rerun is Rerun.all else "goes on from there"
        raise KeyboardInterrupt(f"every trial that had finished is saved, and the same command {then}") from None


def _validate_and_train(planned: Plan, definition: Definition, results: Path, options: RunOptions) -> ExitCode:
    """Validates what is due, then runs it; otherwise a record of a submission that breaks a rule would rank."""
    track = definition.track
    if planned.to_run:
        require_writable(results / track.name)
    for folder in {results / track.name / trial.submission.name for trial in planned.to_run}:
        if folder.exists():  # it may be another user's, say, after a run with other rights
            require_writable(folder)
    due = {trial.submission.name: trial.submission for trial in planned.to_run}
    verdicts: dict[str, list[Finding]] = {}
    with keeping_workers():
        code = watch_audits(list(due.values()), verdicts, options.num_workers, track=track)
        trials = [trial for trial in planned.to_run if trial.submission.name in verdicts]
        keep_definition(definition, results / track.name, has_trials=bool(trials))
        trained = watch_trials(
            trials,
            track,
            results,
            device=options.device,
            num_workers=options.num_workers,
            verdicts=verdicts,
            cleared=planned.cleared,
        )
    return max(code, trained, ExitCode.INCOMPLETE if planned.failed else ExitCode.DONE)


def _refusal(submission: Submission, track: Track) -> str | None:
    """Why the audits will refuse the submission on this track, as far as its manifest alone tells."""
    try:
        submission.training(track.training)
    except SubmissionError as error:
        return f"will be refused, {error.rule}: {error.message}"
    return None
