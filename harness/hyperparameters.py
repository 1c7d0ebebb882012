"""What a submission may set itself, without seeing more problems than the track gives everyone."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from harness.track import ModelDefinition, TrainingDefinition


class Hyperparameters(BaseModel):
    """What a submission may set itself; setting any of these puts it into the open division."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    epochs: Annotated[int, Field(ge=1, le=1000)] | None = None
    """At most the track's; a submission never sees more problems than the track gives. The cool-down takes as many
    steps as the track says, counted from the end, so with few epochs and a long cool-down the learning rate never
    reaches its maximum."""
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """May be more than a short track has, `smoke` say, where the learning rate then never reaches its maximum."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None

    def set_values(self) -> dict[str, float]:
        return self.model_dump(exclude_none=True)

    def dropout_in(self, frozen: ModelDefinition) -> float:
        """The model's dropout: the track's, unless it is set here."""
        return frozen.dropout if self.dropout is None else self.dropout

    def applied_to(self, frozen: TrainingDefinition) -> TrainingDefinition:
        """The track's training definition, overridden by what is set here.

        Raises:
            ValueError: more epochs than the track gives everyone.
        """
        if (self.epochs or 0) > frozen.epochs:
            got = f"hyperparameters.epochs is {self.epochs}, the track has {frozen.epochs}"
            everyone = "nobody sees more problems than the track gives everyone"
            raise ValueError(f"{got}; {everyone}: write {frozen.epochs} or less, or leave it out")
        return frozen.model_copy(update=self.model_dump(exclude_none=True, exclude={"dropout"}))
