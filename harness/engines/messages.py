"""What the command line and a worker say to each other: one message a line, as JSON."""

import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from harness.errors import ExitCode
from harness.probe_report import ProbeReport
from harness.records import Record
from harness.rules import Finding
from harness.track import Track

Device = Literal["auto", "cpu", "cuda"]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Code(_Message):
    """The code that a job runs, and its fingerprints when the job was planned.

    Folders are text, since for a path pydantic calls Python, and swallows a Ctrl-C that comes up in there.
    """

    folder: str
    crossed_with: str | None = None
    """The folder whose positions the tokenizer of `folder` is crossed with."""
    submission: str
    harness: str


class AuditJob(_Message):
    kind: Literal["audit"] = "audit"
    code: Code
    track: Track | None = None
    """Of the trials that are to be run, if any."""
    decoy: bool = False
    """Whether to train on addition and on the decoy task as well (rule T97)."""


class TrialJob(_Message):
    """Trials of one submission at one number of digits, one for each seed."""

    kind: Literal["trial"] = "trial"
    code: Code
    track: Track
    digits: int
    seeds: list[int]
    fresh_seeds: list[int] | None = None
    """Only for trials that are to be reproduced; others draw their own."""
    device: Device
    findings: list[Finding] = []
    """What the audits found: a gate among them fails the trials; the records keep the others."""


class ProbeJob(_Message):
    """Trains the trial of one seed again, and looks into its model."""

    kind: Literal["probe"] = "probe"
    code: Code
    track: Track
    digits: int
    seed: int
    device: Device


class Request(_Message):
    job: Annotated[AuditJob | TrialJob | ProbeJob, Field(discriminator="kind")]
    memory: int | None
    """Bytes that the worker may take; None: as many as there are."""


class Progressed(_Message):
    """See `trial.Progress`."""

    kind: Literal["progress"] = "progress"
    phase: str
    step: int
    num_steps: int
    examples_per_second: float
    loss: float | None
    accuracy: float | None


class Audited(_Message):
    kind: Literal["findings"] = "findings"
    findings: list[Finding]


class Recorded(_Message):
    kind: Literal["record"] = "record"
    record: Record


class Probed(_Message):
    kind: Literal["probed"] = "probed"
    found: ProbeReport


class Failed(_Message):
    """The job ended early, for a reason that the message gives in full."""

    kind: Literal["error"] = "error"
    message: str
    exit_code: ExitCode
    signal: int | None = None
    """The signal that killed the worker, if one did."""


class Bug(_Message):
    """The job, and its worker with it, ended in an unforeseen error."""

    kind: Literal["bug"] = "bug"
    message: str
    """A traceback."""


class Done(_Message):
    """Nothing more follows about this job."""

    kind: Literal["done"] = "done"
    is_last: bool = False
    """The worker ends after this message and takes no further job."""


Reply = Annotated[Progressed | Audited | Recorded | Probed | Failed | Bug | Done, Field(discriminator="kind")]
_REPLIES: TypeAdapter[Reply] = TypeAdapter(Reply)


def line_of(message: _Message) -> str:
    """The message in ASCII alone: a path that is not UTF-8 has characters that UTF-8 cannot write."""
    return json.dumps(message.model_dump(mode="json")) + "\n"


def request_in(line: str) -> Request:
    return Request.model_validate(json.loads(line))


def reply_in(line: bytes | str) -> Reply:
    return _REPLIES.validate_python(json.loads(line))
