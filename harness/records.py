"""Records: one JSON file per trial, written aside and then renamed, and believed only if its digest matches."""

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path
from stat import S_ISREG
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from harness.errors import MachineError, RecordError
from harness.files import free_name, replace
from harness.printable import visible
from harness.rules import Level

# History of the format, newest first:
# 2: throughput of encoding and of scoring.
# 1: the first.
FORMAT = 2

MAX_BYTES = 16 * 1024 * 1024
"""A record takes tens of kilobytes; a file that is much larger is none, and would only fill the memory."""

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=10**15)]
"""The bound is more than any trial counts, and small enough for whatever computes with a count or plots it."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Measured = Annotated[float, Field(ge=0, le=10**9)]
"""Seconds, rates and ratios; bounded for the same reason."""
NumberKey = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,2})$")]
"""A number as JSON has it for a key: a string."""


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not isfinite(value) else value


Finite = Annotated[float | None, BeforeValidator(_finite)]
"""Null if it was not finite, because the training diverged."""


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Score(_Stored):
    """The number of exact matches in one suite."""

    correct: Count
    total: Count


class Suites(_Stored):
    fresh: Score
    test: Score
    edge: Score
    carry: dict[NumberKey, Score] = {}
    """By longest carry chain, "0" to the number of digits."""
    lengths: dict[NumberKey, Score] = {}
    """By digits of the longer operand; only in a track that measures length generalisation."""
    fresh_lengths: dict[NumberKey, Score] = {}
    """As `lengths`, beyond the trained ones, on problems drawn when the trial started."""

    def by_length(self) -> dict[NumberKey, Score]:
        """By digits of the longer operand: beyond the trained lengths on the fresh problems.

        Everyone knows those of `lengths`, and could look them up.
        """
        return self.lengths | self.fresh_lengths


class CurvePoint(_Stored):
    step: Count
    examples: Count
    """Training examples so far, repeats of later epochs included."""
    loss: float | None
    """Mean cross-entropy (nats per token) since the last point; null at step 0 and where it was not finite."""
    accuracy: Share
    """Share of the first problems of `test` whose answer ids are all predicted right, each given the right ones before.

    Where several ids spell one number, that is not the exact match of texts that `suites` counts.
    """
    digit_accuracy: Share
    """Share of answer tokens predicted right, each given the right ones before it."""
    lengths: dict[NumberKey, Share] = {}
    """Exact match on the validation problems of each length beyond the trained ones."""


class Checkpoint(_Stored):
    """The weights at the curve point with the highest mean accuracy beyond the trained lengths, the last if tied."""

    step: Count
    validation_accuracy: Share
    lengths: dict[NumberKey, Score]
    """As `suites.lengths`, but for these weights."""


class Drift(_Stored):
    """How far the rows of the largest positional table moved.

    Root mean square, over all numbers of those rows, of the weights that the model is judged by less the initial ones.
    Null if there are no such rows, or if the training diverged.
    """

    rows: Count
    touched_rows: Count
    """Rows that received a gradient in some step."""
    touched: Finite
    untouched: Finite
    """Nothing but weight decay moves these rows: every step shrinks them by the share learning_rate * weight_decay."""


class Mistake(_Stored):
    prompt: str
    answer: str
    got: str


class Throughput(_Stored):
    """Examples per second, and their ratio to the built-in reference, whose measurements alternate with them.

    `encode` measures texts that go through the host, on the machine's CPU whatever the device; its reference is a
    character tokenizer in the harness's own process. With two or three digits there are few distinct answers, and their
    time is that of one short request. `train` measures a training step; `score` teacher-forced passes, which score most
    of a suite; `decode` answers generated token by token.
    """

    encode_examples_per_second: Measured
    train_examples_per_second: Measured
    score_examples_per_second: Measured
    decode_examples_per_second: Measured
    encode_ratio: Measured
    train_ratio: Measured
    score_ratio: Measured
    decode_ratio: Measured


class Seconds(_Stored):
    """Wall-clock time; seeds that ran side by side share theirs evenly.

    `encode` is everything before the first step; the time for measuring the throughput is in `total` only.
    """

    encode: Measured
    train: Measured
    decode: Measured
    total: Measured


class Parameters(_Stored):
    model: Count
    positions: Count
    """Numbers that are trained; buffers, which rule P30 counts too, are not in it."""


class Fingerprints(_Stored):
    submission: str
    track: str
    harness: str


class Environment(_Stored):
    device: str
    """The GPU's name, or `CPU: ` with the processor's, and its generation where the system tells it."""
    products: str | None = None
    """What multiplies matrices in float32: `oneDNN` or torch's `default` on a CPU, or `CUDA`; null if nothing did."""
    torch: str
    python: str
    commit: str | None
    """Of the harness's own repository; null where git does not track the harness."""
    dirty: bool | None
    """Whether a file in the harness's folder was changed or added since that commit; null where `commit` is."""


class Audit(_Stored):
    """What an audit found, before the trial or inside it; a `gate` or a `review` keeps the record from the ranking."""

    rule: str
    level: Level
    seen: str


class Record(_Stored):
    """What is known about one trial. `digest` covers all other fields, so that an edit by hand is noticed."""

    format: Literal[2] = FORMAT
    submission: str
    track: str
    digits: Annotated[int, Field(ge=1)]
    seed: Seed
    status: Literal["ok", "failed"]
    reason: str | None = None
    """Why a trial failed; null when it did not."""
    division: Literal["closed", "open"]
    isolation: Literal["strong", "medium", "none"]
    fingerprints: Fingerprints
    fresh_seed: Seed
    environment: Environment
    settings: dict[str, float] = {}
    """Hyper-parameters that the submission sets itself; setting any puts it into the open division."""
    parameters: Parameters | None = None
    suites: Suites | None = None
    best: Checkpoint | None = None
    """Only in a track that measures length generalisation; `suites` are scored with the final weights."""
    drift: Drift | None = None
    """Only for positions that have a table."""
    seen: Share | None = None
    """Share of the problems of `fresh` whose prompt and answer ids equal those of a trained problem."""
    digit_accuracy: Share | None = None
    """At the end of training, on the first problems of `test`."""
    curve: list[CurvePoint] = []
    examples_to_90: Count | None = None
    """Training examples at the first curve point with an accuracy of 0.9 or more; null if there is none."""
    mistakes: list[Mistake] = []
    audits: list[Audit] = []
    """The tag of rule T80, and whatever else was found."""
    throughput: Throughput | None = None
    seconds: Seconds | None = None
    peak_memory_bytes: Count | None = None
    """Total of all seeds that trained side by side; on a GPU with what libraries keep for each stream once used."""
    digest: str = ""

    @property
    def trial(self) -> str:
        return trial_name(self.submission, self.digits, self.seed)

    def beyond(self) -> float | None:
        """Mean exact match over the lengths beyond the trained ones, by which length tracks rank; None on others."""
        lengths = self.suites.by_length() if self.suites else {}
        shares = [score.correct / score.total for n, score in lengths.items() if int(n) > self.digits and score.total]
        return sum(shares) / len(shares) if shares else None

    def sealed(self) -> "Record":
        return self.model_copy(update={"digest": digest_of(self.model_dump(mode="json"))})

    def as_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def trial_name(submission: str, digits: int, seed: int) -> str:
    """`columns d9-s0`"""
    return f"{submission} d{digits}-s{seed}"


def record_path(results: Path, track: str, submission: str, digits: int, seed: int) -> Path:
    return results / track / submission / f"d{digits}-s{seed}.json"


def save(record: Record, results: Path) -> Path:
    """Writes the sealed record; a reader sees the old file or the new one, never half of one.

    A file in its place that cannot be believed is kept beside it, as `….set-aside`, `….set-aside-2` …

    Raises:
        MachineError: the disk is full, or the folder cannot be written to; it says where the record is instead.
    """
    path = record_path(results, record.track, record.submission, record.digits, record.seed)
    text = record.sealed().as_json()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and isinstance(read(path), RecordError):
            path.rename(free_name(path.with_suffix(".json.set-aside")))
        replace(path, text)
    except OSError as error:
        raise MachineError(f"{path} could not be written: {error.strerror}; {_rescued(text, path)}") from error
    return path


def _rescued(text: str, path: Path) -> str:
    """What became of a record that its own folder does not take: it may be minutes of training."""
    try:
        aside = free_name(Path(tempfile.gettempdir()) / f"harness-{path.parent.name}-{path.name}")
        replace(aside, text)
    except OSError:
        return "the trial's result is lost, run it again"
    return f"the trial's result is in {aside}: make room, and move it there"


def read(path: Path) -> Record | RecordError:
    """The record at `path`, or why it cannot be believed (returned, not raised: a bad file must not hide good ones)."""
    try:
        if not S_ISREG(path.lstat().st_mode):
            return RecordError(path, "is a link, a folder or a device, not a file; remove it and run the trial again")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            remedy = "delete it and run the trial again"
            return RecordError(path, f"is larger than {MAX_BYTES // 1024**2} MiB, so it is no record; {remedy}")
        values: Any = json.loads(content.decode("utf-8"))
        if not _is_mapping(values):
            return RecordError(path, f"holds {type(values).__name__}, not a record; delete it and run the trial again")
        if values.get("format") != FORMAT:
            return RecordError(
                path, f"has format {values.get('format')!r:.40}, this harness reads {FORMAT}; run the trial again"
            )
        record = Record.model_validate(values)
        record.as_json().encode()  # half a surrogate pair is valid JSON, but not text that a board could show
        digest = digest_of(values)  # a NaN is refused, which JSON does not have and Python's reader takes
    except OSError as error:
        return RecordError(path, f"cannot be read: {error.strerror}; make it readable, or run the trial again")
    except ValidationError as error:
        first = error.errors()[0]
        place = visible(".".join(str(part) for part in first["loc"]))[:60]
        return RecordError(path, f"`{place}`: {first['msg']}; run the trial again")
    except (ValueError, RecursionError):
        return RecordError(path, "is truncated or not JSON; run the trial again")
    if record.digest != digest:
        return RecordError(path, "was edited after it was written: its digest does not match; run the trial again")
    if path.parts[-3:] != record_path(Path(), record.track, record.submission, record.digits, record.seed).parts:
        return RecordError(path, "belongs to another trial than its path says; move it back or delete it")
    return record


def read_trials(
    results: Path, track: str, submission: str, digits: Sequence[int], seeds: Sequence[int]
) -> Iterator[tuple[int, int, Record | RecordError | None]]:
    """The digits and seed of every trial of a submission, with its record, or None if there is none."""
    for number in digits:
        for seed in seeds:
            path = record_path(results, track, submission, number, seed)
            yield number, seed, read(path) if path.exists() else None


def read_all(results: Path, track: str) -> Iterator[Record | RecordError]:
    """Everything under `results/<track>`, in the order of the paths.

    Raises:
        PermissionError: a folder cannot be read; a glob would silently skip it, and its row with it.
    """
    folder = results / track
    for submission in sorted(folder.iterdir()) if folder.is_dir() else []:
        for path in sorted(submission.iterdir()) if submission.is_dir() else []:
            if path.suffix == ".json":
                yield read(path)


def digest_of(values: dict[str, Any]) -> str:
    """The digest that a record with these values must hold: of all but `digest`, in whatever order.

    Raises:
        ValueError: a number is not finite, which JSON cannot tell.
    """
    rest = {key: value for key, value in values.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]


def _is_mapping(values: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(values, dict)
