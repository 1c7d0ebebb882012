"""A plan shown, or carried out: the common end of `run`, `all` and `cross`."""

from dataclasses import dataclass
from pathlib import Path

from harness.commands.watching import validate_and_train
from harness.definitions import Definition
from harness.engines.messages import Device
from harness.errors import ExitCode, SubmissionError
from harness.plan import Plan
from harness.rerun import Rerun
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
        return validate_and_train(
            planned,
            definition.track,
            definition.file,
            results,
            device=options.device,
            num_workers=options.num_workers,
        )
    except KeyboardInterrupt:
        then = "begins again with the first" if options.rerun is Rerun.all else "goes on from there"
        raise KeyboardInterrupt(f"every trial that had finished is saved, and the same command {then}") from None


def _refusal(submission: Submission, track: Track) -> str | None:
    """Why the audits will refuse the submission on this track, as far as its manifest alone tells."""
    try:
        submission.training(track.training)
    except SubmissionError as error:
        return f"will be refused, {error.rule}: {error.message}"
    return None
