"""What the plots of a track show; the drawing lies elsewhere, since an unchanged plot is not drawn again."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from harness.board.text import percent, plain
from harness.printable import counted
from harness.ranking.scoring import Row
from harness.ranking.statistics import Estimate
from harness.track import Track

FORMAT = 12
"""Raise it when the drawing changes: plots are drawn anew only where their digest differs."""
MAX_LABEL = 28


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One submission; `estimates` stand in the order of the plot's axis."""

    place: int
    """By score, from 0; it gives the same colour in every plot."""
    label: str
    is_open: bool
    estimates: list[Estimate]
    best: list[float]
    """Shares of the best checkpoint, at each place of the axis; empty where there is none."""
    seed_shares: list[list[float]]
    """What each estimate is the mean of; empty where there is one seed, or the plot shows no seeds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AccuracyPlot:
    """Exact match against the number of digits, best submission first."""

    name = "accuracy"

    digits: list[int]
    series: list[Series]
    trained_to: int | None
    """In a length track: the digits of the training that is drawn, the one that went furthest."""

    @property
    def description(self) -> str:
        where = (
            counted(self.digits[0], "digit")
            if len(self.digits) == 1
            else f"{self.digits[0]} to {self.digits[-1]} digits"
        )
        after = f" after training on 1 to {self.trained_to}" if self.trained_to else ""
        told = self.trained_to + 1 if self.trained_to and self.trained_to < self.digits[-1] else self.digits[-1]
        place = self.digits.index(told)
        best = ", ".join(f"{one.label} {percent(one.estimates[place].value)} %" for one in self.series[:3])
        return f"Exact match at {where}{after}, submissions: {len(self.series)}; at {counted(told, 'digit')}: {best}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ThroughputPlot:
    """Mean exact match against the speed of training, one panel per device."""

    name = "throughput"

    panels: dict[str, list[tuple[float, Series]]]

    @property
    def description(self) -> str:
        points = [point for panel in self.panels.values() for point in panel]
        speed, fastest = max(points, key=lambda point: point[0])
        return (
            f"Mean exact match against training speed, submissions: {len(points)}; the fastest is {fastest.label} at "
            f"{speed:.2f} times the reference with {percent(fastest.estimates[0].value)} %"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GridPlot:
    """Exact match of every tokenizer (down) with every kind of positions (across); None where there is none."""

    name = "cross"

    rows: list[str]
    columns: list[str]
    shares: list[list[float | None]]
    marks: list[list[str]]
    """What stands where there is no share."""

    @property
    def description(self) -> str:
        return f"Exact match of {len(self.rows)} tokenizers with {len(self.columns)} kinds of positions"


Plot = AccuracyPlot | ThroughputPlot | GridPlot


def plots_of(track: Track, rows: Sequence[Row]) -> list[Plot]:
    """The plots that the complete rows give; none without such a row."""
    complete = [row for row in rows if row.is_fresh and row.score]
    plots: list[Plot] = []
    if complete:
        plots.append(_accuracy_plot(track, complete))
    panels: dict[str, list[tuple[float, Series]]] = {}
    for place, row in enumerate(complete):
        for device, speed in row.speeds.items():
            ratio = round(speed.train, 4)
            if row.score and ratio > 0:  # the axis is logarithmic
                panels.setdefault(device, []).append((ratio, _series(place, row, [row.score])))
    if panels:
        plots.append(ThroughputPlot(panels=dict(sorted(panels.items()))))
    return plots


def digest(plot: Plot, theme: str) -> str:
    """A digest that changes with what is shown, not with the version of matplotlib that draws it."""
    values = json.dumps([FORMAT, plot.name, theme, asdict(plot)], sort_keys=True)
    return f"plotted-data:{hashlib.sha256(values.encode()).hexdigest()[:16]}"


def _accuracy_plot(track: Track, complete: Sequence[Row]) -> AccuracyPlot:
    if track.longest is None:
        digits = sorted(track.digits)
        series = [
            _series(
                place,
                row,
                [row.results[number].fresh for number in digits],
                seed_shares=[row.results[number].seed_shares for number in digits],
            )
            for place, row in enumerate(complete)
        ]
        return AccuracyPlot(digits=digits, series=series, trained_to=None)
    trained = max(track.digits)
    digits = list(range(1, track.longest + 1))
    series = [
        _series(
            place,
            row,
            [row.results[trained].lengths[length] for length in digits],
            best=[estimate.value for estimate in row.results[trained].best_lengths.values()],
        )
        for place, row in enumerate(complete)
        if len(row.results[trained].lengths) == len(digits)
    ]
    return AccuracyPlot(digits=digits, series=series, trained_to=trained)


def _series(
    place: int,
    row: Row,
    estimates: Sequence[Estimate],
    *,
    best: Sequence[float] = (),
    seed_shares: Sequence[Sequence[float]] = (),
) -> Series:
    return Series(
        place=place,
        label=plain(row.name, MAX_LABEL),
        is_open=row.division == "open",
        estimates=[Estimate(*(round(value, 6) for value in one)) for one in estimates],
        best=[round(share, 6) for share in best],
        seed_shares=[[round(share, 6) for share in shares] for shares in seed_shares if len(shares) > 1],
    )
