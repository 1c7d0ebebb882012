"""A track: the frozen definition of a benchmark. All that affects a number and is not code is in its file."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from harness.documents import DocumentError, OneLine, read_yaml
from harness.errors import TrackError, UsageError

BUILT_IN = Path(__file__).parent / "tracks"

Count = Annotated[int, Field(ge=0, le=1_000_000)]
Probability = Annotated[float, Field(ge=0, lt=1)]


def _distinct(values: list[int]) -> list[int]:
    if len(set(values)) < len(values):
        raise ValueError("names one twice; a trial is stored once")
    return values


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelDefinition(_Part):
    """The frozen transformer: a causal, post-norm encoder with ReLU, equivalent to `torch.nn.TransformerEncoder`."""

    d_model: Annotated[int, Field(ge=4, le=1024)] = 128
    num_heads: Annotated[int, Field(ge=1, le=64)] = 16
    num_layers: Annotated[int, Field(ge=1, le=32)] = 8
    feedforward: Annotated[int, Field(ge=1, le=4096)] = 64
    dropout: Probability = 0.0

    @property
    def head_dim(self) -> int:
        return self.d_model // self.num_heads

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.d_model % self.num_heads or self.head_dim % 2:
            raise ValueError(
                f"d_model {self.d_model} over num_heads {self.num_heads} is not an even whole number; "
                "halves of a head are rotated, so choose d_model a multiple of 2 * num_heads"
            )
        return self


class TrainingDefinition(_Part):
    """How a submission is trained: by AdamW, otherwise with torch's defaults, on the problems in their order."""

    problems: Annotated[int, Field(ge=1, le=1_000_000)]
    """Training problems of one epoch; every epoch sees the same ones in the same order."""
    epochs: Annotated[int, Field(ge=1, le=1000)]
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 64
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 8e-4
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    warmup_steps: Count = 0
    """Steps over which the learning rate rises linearly to `learning_rate`."""
    cooldown_steps: Count = 0
    """Steps at the end over which it falls linearly towards 0; none in the notebook's recipe."""
    averaging: Probability = 0.0
    """Decay of the moving average of the weights. A model is judged by this average, at every point of its curve and at
    the end; with 0 it is judged by its last weights."""

    @property
    def num_steps(self) -> int:
        return self.problems // self.batch_size * self.epochs

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        if self.warmup_steps + self.cooldown_steps > self.num_steps:
            raise ValueError(
                f"warmup_steps {self.warmup_steps} and cooldown_steps {self.cooldown_steps} are more than the "
                f"{self.num_steps} steps that there are (problems / batch_size * epochs); choose fewer"
            )
        return self

    @model_validator(mode="after")
    def _whole_batches(self) -> Self:
        if self.problems % self.batch_size:
            nearest = max(1, self.problems // self.batch_size) * self.batch_size
            raise ValueError(
                f"problems {self.problems} is no multiple of batch_size {self.batch_size}; "
                f"every step has the same shape, so choose {nearest}, say"
            )
        return self


class EvaluationDefinition(_Part):
    """How many problems each suite of a trial holds."""

    fresh: Annotated[int, Field(ge=1, le=1_000_000)]
    test: Annotated[int, Field(ge=1, le=1_000_000)]
    carry: Count = 0
    """Problems for each longest carry chain, 0 to the number of digits."""
    lengths: Count = 0
    """Problems for each number of digits from 2 to `longest`; of one digit there are 100, and all are asked."""
    validation: Count = 0
    """Problems for each number of digits beyond those trained, by which the best checkpoint is chosen."""
    curve: Annotated[int, Field(ge=1, le=1_000_000)] = 512
    """Problems, the first of `test`, on which the learning curve is measured."""
    curve_points: Annotated[int, Field(ge=1, le=1000)] = 16
    """Evaluations of the learning curve: one every `num_steps // curve_points` steps, one before the first, and one
    after the last, so that there may be a few more."""


class Track(_Part):
    """A frozen benchmark definition."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    summary: Annotated[str, Field(max_length=400), OneLine]
    ranked: bool = True
    """Whether the board gives ranks; `smoke` only shows that everything works."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """Seeds the problems; each of `seeds` seeds the weights, dropout and random positions of a trial."""
    digits: Annotated[
        list[Annotated[int, Field(ge=1, le=50)]], Field(min_length=1, max_length=50), AfterValidator(_distinct)
    ]
    """Digits per operand; the model is trained separately for each number."""
    longest: Annotated[int, Field(ge=1, le=100)] | None = None
    """Length generalisation: trains on operand lengths uniform in 1 to `digits`, tests on every length up to this."""
    seeds: Annotated[
        list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1, max_length=100), AfterValidator(_distinct)
    ]
    model: ModelDefinition = ModelDefinition()
    training: TrainingDefinition
    evaluation: EvaluationDefinition

    @model_validator(mode="after")
    def _lengths_are_measured(self) -> Self:
        if self.longest is not None and self.longest < max(self.digits):
            raise ValueError(
                f"longest {self.longest} is below digits {max(self.digits)}; test at least what is trained"
            )
        counts = self.evaluation.lengths, self.evaluation.validation
        if any((self.longest is None) != (count == 0) for count in counts):
            keys = "`longest`, `evaluation.lengths` and `evaluation.validation`"
            raise ValueError(f"{keys} go together: set all three for length generalisation, or none")
        return self

    @property
    def fingerprint(self) -> str:
        """Hex digest of everything in the definition that can affect the numbers of one trial.

        `digits` and `seeds` only say which trials there are: adding one leaves the records of the others valid.
        """
        values = self.model_dump(mode="json", exclude={"name", "summary", "ranked", "digits", "seeds"})
        if self.longest is not None:  # how `encoding.encode` pads longer prompts is part of what these tracks measure
            values["longer_prompts"] = "no wider than operands of their lengths need"
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def lengths_beyond(self, digits: int) -> range:
        """The numbers of digits that a trial at `digits` is tested on without having been trained on."""
        return range(digits + 1, (self.longest or 0) + 1)

    def max_digits(self, digits: int) -> int:
        """The largest number of digits that a trial at `digits` meets, in training or test."""
        return max(digits, self.longest or 0)


def built_in_names() -> list[str]:
    return sorted(path.stem for path in BUILT_IN.glob("*.yaml"))


def load_track(name_or_path: str) -> Track:
    """The track of that name, or the one that the YAML file at that path defines.

    Raises:
        UsageError: there is neither.
        TrackError: the file does not define a track; the message names the lines.
    """
    if name_or_path in built_in_names():
        return _read(BUILT_IN / f"{name_or_path}.yaml")
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        raise UsageError(
            f"no track {name_or_path!r}; built in: {', '.join(built_in_names())}; or give the path of a .yaml file"
        )
    if not path.is_file():
        raise UsageError(f"no track file at {name_or_path}; built in: {', '.join(built_in_names())}")
    track = _read(path)
    if track.name in built_in_names() and track != _read(BUILT_IN / f"{track.name}.yaml"):
        raise TrackError(f"{path}: the name {track.name!r} is taken by a built-in track; choose another `name`")
    return track


def _read(path: Path) -> Track:
    try:
        return read_yaml(path, Track)
    except DocumentError as error:
        raise TrackError(f"{path}: {error}") from error
