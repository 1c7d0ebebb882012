"""What the board says about one track, before it is written in any format."""

from dataclasses import dataclass, field

from harness.board.plots import Plot
from harness.ranking.scoring import Row
from harness.track import Track


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A track with its rows and plots, or the reason why they cannot be shown."""

    name: str
    notice: str | None = None
    track: Track | None = None
    rows: list[Row] = field(default_factory=list)
    """Of the submissions that have been run on the track."""
    never_run: list[Row] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
