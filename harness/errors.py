"""The errors that the harness raises and the command line prints, and the exit codes they lead to."""

from enum import IntEnum
from pathlib import Path

from harness.printable import visible


class ExitCode(IntEnum):
    """What `harness` returns to the shell; of several codes the largest, which is the gravest."""

    DONE = 0
    NEGATIVE = 1  # a verdict: invalid, `--check` differs, worse, not reproduced
    USAGE = 2  # a wrong flag, an unknown name, nothing selected
    INCOMPLETE = 3  # a trial failed, or another run is training it; the rest is saved
    ENVIRONMENT = 4  # no such device, no room on the disk
    BUG = 70  # ours: please report it
    INTERRUPTED = 130  # Ctrl-C; what finished is saved
    UNREAD = 141  # whoever read stdout has closed it, as `head` does when it has enough


class HarnessError(Exception):
    """A message for the person at the terminal: what was wrong, what was got, what is allowed, what to do."""

    exit_code = ExitCode.USAGE


class UsageError(HarnessError):
    """A name, a path or a flag that cannot be right."""


class TrackError(HarnessError):
    """A track file that cannot be used, or a problem set that cannot be drawn from it."""


class SubmissionError(HarnessError):
    """A submission broke the rule `rule`; `submission` is the folder's name.

    Strangers can influence the message, so it is reduced to one line without control characters, which can neither draw
    on a terminal nor give a command to a workflow.
    """

    exit_code = ExitCode.NEGATIVE

    def __init__(self, submission: str, rule: str, message: str) -> None:
        message = visible(message, instead=" ")
        super().__init__(f"submissions/{submission}: {rule}: {message}")
        self.submission = submission
        self.rule = rule
        self.message = message


class HostError(SubmissionError):
    """A submission's process died, hung, flooded its output or broke the wire format."""


class RecordError(HarnessError):
    """A record that cannot be believed: truncated, of another format, or edited by hand."""

    exit_code = ExitCode.NEGATIVE

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class MachineError(HarnessError):
    """This machine cannot do what was asked: no such device, a full disk, a folder without write permission."""

    exit_code = ExitCode.ENVIRONMENT


class ChangedError(HarnessError):
    """Code was edited while a command was using it: what would run is not what the command had read."""

    exit_code = ExitCode.INCOMPLETE


class EngineError(HarnessError):
    """A host or its zygote failed in a way no submission can cause: a bug of ours, or a lack of memory."""

    exit_code = ExitCode.BUG
