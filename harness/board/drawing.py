"""Draws the plots of a track as SVG, for a light and for a dark page."""

import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from harness.board.contrast import ink_on
from harness.board.labels import annotate, spread
from harness.board.plots import MAX_LABEL, AccuracyPlot, GridPlot, Plot, Series, ThroughputPlot, digest
from harness.board.text import percent, plain
from harness.printable import counted
from harness.ranking.scoring import REACHED

WIDTH = 9.0
"""Inches; GitHub's page is about as wide."""
LINE_OF_TEXT = 0.19
LIMITS = -0.03, 1.04
RIGHT = 1.1
"""Where the column of numbers beside bars ends; at the end of a bar they would read as the label of its last dot."""
MAX_NAMED = 20
"""How many of the best points of a scatter plot are named, beside those that no better one matches in speed."""
NARROWEST = 0.1
"""Least extent of the speed axis to either side of the reference, so that mere noise does not fill it."""
SHARES = (0, 0.2, 0.4, 0.6, 0.8, 1)
FEW_SHARES = 2
"""With no more of them than this above 0, an axis gets ticks of its own."""
PANELS_ACROSS = 4
"""With this many, each panel is wide enough for the longest label above it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Theme:
    """Colours on a transparent background; the series' follow Okabe and Ito (2008), who chose for the colour-blind."""

    name: str
    text: str
    muted: str
    grid: str
    series: tuple[str, ...]
    ground: str
    """The page's own colour on GitHub."""


LIGHT = Theme(
    name="light",
    text="#1f2328",
    muted="#6e7781",
    grid="#d1d9e0",
    series=("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B07D00", "#3A3A3A"),
    ground="#ffffff",
)
DARK = Theme(
    name="dark",
    text="#f0f6fc",
    muted="#9198a1",
    grid="#3d444d",
    series=("#56B4E9", "#E69F00", "#2BC59A", "#CC79A7", "#F0E442", "#F0F6FC"),
    ground="#0d1117",
)
THEMES = (LIGHT, DARK)
MARKERS = "osD^vP<>X"
"""As many submissions are told apart; those beyond the palette take its colours again, with dotted lines."""
FAINTEST = -0.07
"""The share at which a cell of a heat map would have the page's own colour, which is that of a cell without any."""

SEAL = "<!-- as-drawn:"


def draw(plot: Plot, theme: Theme) -> str:
    """The plot as SVG text that carries its digest, sealed by one of the text."""
    settings: dict[Any, Any] = {
        "font.family": "sans-serif",
        # The first is matplotlib's own, so that a label is measured alike everywhere; the others are for the reader's
        # machine, which supplies the letters, since the file holds text, not outlines.
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
        "font.size": 9,
        "svg.fonttype": "none",
        "svg.hashsalt": "harness",
        "text.parse_math": False,  # a name with two dollar signs is not a formula
        "text.color": theme.text,
        "axes.labelcolor": theme.text,
        "axes.edgecolor": theme.grid,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "grid.color": theme.grid,
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
    }
    file = io.StringIO()
    with mpl.rc_context(settings):
        figure = _figure_of(plot, theme)
        metadata = {"Date": None, "Creator": None, "Description": digest(plot, theme.name)}
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    text = "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"
    if isinstance(plot, ThroughputPlot):
        text = text.replace("</metadata>", f"</metadata>\n <style>{_halo(theme)}</style>", 1)
    return text + _seal(text)


def _halo(theme: Theme) -> str:
    """A style by which no interval strikes through a label; matplotlib's own way would turn the text into outlines."""
    return f"text{{paint-order:stroke;stroke:{theme.ground};stroke-width:3px;stroke-linejoin:round}}"


def is_drawing_of(plot: Plot, theme: Theme, content: str) -> bool:
    """Whether the file's content is what some version of matplotlib drew for the plot, and nobody edited it."""
    text, mark, seal = content.rpartition(SEAL)
    return digest(plot, theme.name) in text and mark + seal == _seal(text)


def _seal(text: str) -> str:
    return f"{SEAL}{hashlib.sha256(text.encode()).hexdigest()[:16]} -->\n"


def _figure_of(plot: Plot, theme: Theme) -> Figure:
    if isinstance(plot, ThroughputPlot):
        return _scatter(plot, theme)
    return _heat_map(plot, theme) if isinstance(plot, GridPlot) else _accuracy(plot, theme)


def _accuracy(plot: AccuracyPlot, theme: Theme) -> Figure:
    if plot.trained_to:
        return _small_multiples(plot, theme, plot.trained_to)
    return _bars(plot, theme) if len(plot.digits) == 1 else _lines(plot, theme)


def _bars(plot: AccuracyPlot, theme: Theme) -> Figure:
    """One horizontal bar per submission, with its interval: a line over a single number of digits would be a dot."""
    series = sorted(plot.series, key=lambda one: -one.estimates[0].value)
    figure, axes = _figure(1.0 + 1.35 * LINE_OF_TEXT * len(series))
    for place, one in enumerate(series):
        estimate = one.estimates[0]
        face = "none" if one.is_open else theme.series[0]
        axes.barh(place, estimate.value, height=0.62, facecolor=face, edgecolor=theme.series[0], alpha=0.85)
        axes.plot([estimate.low, estimate.high], [place, place], color=theme.text, linewidth=1.4, solid_capstyle="butt")
        shares = one.seed_shares[0] if one.seed_shares else []
        axes.plot(
            shares,
            [place] * len(shares),
            "o",
            markersize=3.6,
            markerfacecolor=theme.ground,
            markeredgecolor=theme.text,
            markeredgewidth=0.7,
        )
        axes.text(RIGHT, place, f"{percent(estimate.value)} %", va="center", ha="right", fontsize=8, color=theme.text)
    axes.set_yticks(range(len(series)), [_label(one) for one in series], color=theme.text)
    axes.set_ylim(len(series) - 0.4, -0.6)
    axes.set_xlim(0, RIGHT)
    axes.spines["bottom"].set_bounds(0, 1)
    axes.set_xticks(SHARES)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
    axes.grid(axis="x")
    axes.tick_params(length=0)
    axes.set_xlabel(f"exact match at {counted(plot.digits[0], 'digit')}, with its 95 % interval{_says_seeds(plot)}")
    return figure


def _lines(plot: AccuracyPlot, theme: Theme) -> Figure:
    """One line per submission, named at its end; the first are marked, the others grey, or none could be told apart.

    Each seed is a dot beside the line of the mean, instead of an interval, which with three seeds would cover the plot
    from top to bottom.
    """
    height = max(4.2, 1.2 + LINE_OF_TEXT * len(plot.series))
    figure, axes = _figure(height)
    styles = [_style(theme, one.place) for one in plot.series]
    for one, (colour, marker, dashes) in reversed(list(zip(plot.series, styles, strict=True))):
        values = [estimate.value for estimate in one.estimates]
        axes.plot(
            plot.digits,
            values,
            color=colour,
            marker=marker,
            markersize=4.5 if marker else 0,
            markerfacecolor="none" if one.is_open else colour,
            linewidth=1.8 if marker else 0.9,
            linestyle="--" if one.is_open else dashes,
        )
        if marker and one.seed_shares:
            for digits, shares in zip(plot.digits, one.seed_shares, strict=True):
                axes.plot(
                    [digits] * len(shares), shares, "o", markersize=3.6, markeredgewidth=0, color=colour, alpha=0.8
                )
        elif marker and len(plot.digits) <= 8:
            axes.vlines(
                plot.digits, [e.low for e in one.estimates], [e.high for e in one.estimates], color=colour, lw=1
            )
    _name_line_ends(axes, plot, theme, LINE_OF_TEXT / (0.8 * height))
    _share_axis(axes)
    # Up to the last point only, so that the names stand on clear ground.
    axes.hlines(SHARES, *axes.spines["bottom"].get_bounds(), color=theme.grid, linewidth=0.6, zorder=0)
    repeated = "; dotted: second use of a colour" if any(dashes == ":" for _, _, dashes in styles) else ""
    axes.set_xlabel(f"digits per operand{_says_seeds(plot)}{repeated}")
    axes.set_xticks(plot.digits)
    return figure


def _small_multiples(plot: AccuracyPlot, theme: Theme, trained_to: int) -> Figure:
    """One panel per submission, best first: beyond the trained lengths most curves lie on top of each other at 0."""
    first, last = plot.digits[0], plot.digits[-1]
    across = min(PANELS_ACROSS, len(plot.series))
    down = math.ceil(len(plot.series) / across)
    figure = Figure(figsize=(WIDTH, 0.8 + 1.3 * down), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).flatten()
    best = np.max([[estimate.value for estimate in one.estimates] for one in plot.series], axis=0)
    for axes, one in zip(panels, plot.series, strict=False):
        value, low, high = zip(*one.estimates, strict=True)
        axes.axvspan(first, trained_to, color=theme.muted, alpha=0.13, linewidth=0)
        axes.axhline(REACHED, color=theme.muted, linewidth=0.6, linestyle=":")
        axes.plot(plot.digits, best, color=theme.muted, linewidth=0.8)
        axes.fill_between(plot.digits, low, high, color=theme.series[0], alpha=0.25, linewidth=0)
        style = "--" if one.is_open else "-"
        if one.best:
            axes.plot(plot.digits, one.best, color=theme.series[1], linewidth=0.9)
        axes.plot(plot.digits, value, color=theme.series[0], linewidth=1.8, linestyle=style)
        axes.set_title(_label(one), loc="left", fontsize=7, color=theme.text)
        axes.set_xticks(sorted({first, trained_to, last}))
        axes.set_yticks((0, 1), ("0 %", "100 %"))
        axes.set_ylim(*LIMITS)
        axes.tick_params(length=0)
    for axes in panels[len(plot.series) :]:
        axes.set_visible(False)
    for axes in panels[len(plot.series) - across : len(plot.series)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel(
        f"digits of the longer operand, after training on 1 to {trained_to} (shaded); blue: the mean of the seeds with "
        "its 95 % interval\n(dashed: open division), orange: the best checkpoint, grey: the best of all at each "
        "length, dotted: 90 %",
        fontsize=8,
        color=theme.text,
    )
    figure.supylabel("exact match", fontsize=8, color=theme.text)
    return figure


def _says_seeds(plot: AccuracyPlot) -> str:
    return "; dots: seeds" if any(one.seed_shares for one in plot.series) else ""


def _name_line_ends(axes: Axes, plot: AccuracyPlot, theme: Theme, line: float) -> None:
    """Names each line beside its end, after its marker; `line` is a line of text as a share of the axes' height.

    Those that end at 0 share one bracket, since a fan of lines from one point cannot be followed.
    """
    axes.set_ylim(*LIMITS)
    first, last = plot.digits[0], plot.digits[-1]
    span = last - first
    axes.set_xlim(first - 0.03 * span, last + 0.45 * span)
    axes.spines["bottom"].set_bounds(first - 0.03 * span, last + 0.02 * span)
    end, bracket, key, name = (last + part * span for part in (0.015, 0.035, 0.065, 0.085))
    order = sorted(plot.series, key=lambda one: (one.estimates[-1].value, -one.place))
    gap = min(line, 1 / max(1, len(order) - 1)) * (LIMITS[1] - LIMITS[0])
    places = spread([one.estimates[-1].value for one in order], gap, *LIMITS).tolist()
    for one, y in zip(order, places, strict=True):
        colour, marker, _ = _style(theme, one.place)
        face = "none" if one.is_open else colour
        axes.plot(key, y, marker, markersize=4.5, color=colour, markerfacecolor=face, clip_on=False)
        axes.text(name, y, _label(one), va="center", fontsize=8, color=colour)
        if value := one.estimates[-1].value:
            axes.plot([end, key - 0.015 * span], [value, y], color=colour, linewidth=0.6)
    if at_zero := [y for one, y in zip(order, places, strict=True) if one.estimates[-1].value == 0]:
        ends = {"color": theme.muted, "linewidth": 0.6, "clip_on": False}
        axes.plot([end, bracket], [0, 0], **ends)
        axes.plot([bracket, bracket], [min(0, *at_zero), max(0, *at_zero)], **ends)


def _scatter(plot: ThroughputPlot, theme: Theme) -> Figure:
    heights = [max(2.4, 1.6 + 0.8 * LINE_OF_TEXT * len(points)) for points in plot.panels.values()]
    figure = Figure(figsize=(WIDTH, max(4.0, sum(heights))), layout="constrained")
    panels = figure.subplots(len(heights), squeeze=False, height_ratios=heights)[:, 0]
    for axes, (device, points) in zip(panels, plot.panels.items(), strict=True):
        ratios = [ratio for ratio, _ in points]
        if max(ratios) > 4 * min(ratios):
            axes.set_xscale("log")
        axes.margins(x=0.12)
        axes.axvline(1, color=theme.muted, linewidth=0.8, linestyle=":")
        highest = max(one.estimates[0].high for _, one in points)
        for ratio, one in points:
            colour, marker, _ = _style(theme, one.place)
            estimate = one.estimates[0]
            face = "none" if one.is_open else colour
            axes.vlines(ratio, estimate.low, estimate.high, color=colour, linewidth=1)
            axes.plot(ratio, estimate.value, marker or "o", markersize=5, color=colour, markerfacecolor=face)
        slowest, fastest = axes.get_xlim()
        axes.set_xlim(min(slowest, 1 - NARROWEST), max(fastest, 1 + NARROWEST))
        _share_axis(axes)
        if highest < FEW_SHARES * SHARES[1]:
            axes.yaxis.set_major_locator(MaxNLocator(FEW_SHARES + 2))
        axes.grid(axis="y")
        axes.set_ylim(-0.08 * highest, 1.12 * highest)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}×"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        others = f"; grey: below the best {len(MARKERS)}" if len(points) > len(MARKERS) else ""
        unnamed = f"; named: the best {MAX_NAMED} and the fastest" if len(points) > MAX_NAMED else ""
        axes.set_xlabel(
            f"training examples a second, as a ratio to the reference ({plain(device, 60)})\n"
            f"vertical lines: 95 % intervals, dotted: the reference{others}{unnamed}"
        )
    for axes, points in zip(figure.axes, plot.panels.values(), strict=True):
        named = _named(points)
        spots = [(ratio, one.estimates[0].value) for ratio, one in named]
        colours = [_style(theme, one.place)[0] for _, one in named]
        annotate(axes, spots, [_label(one) for _, one in named], colours)
    return figure


def _named(points: Sequence[tuple[float, Series]]) -> list[tuple[float, Series]]:
    """The points to name: the best, and those that no better one matches in speed.

    With a name at each of sixty points, none could be read.
    """

    def is_beaten(ratio: float, one: Series) -> bool:
        return any(speed >= ratio and other.estimates[0].value > one.estimates[0].value for speed, other in points)

    best = sorted(one.place for _, one in points)[:MAX_NAMED]
    return [(ratio, one) for ratio, one in points if one.place in best or not is_beaten(ratio, one)]


def _heat_map(plot: GridPlot, theme: Theme) -> Figure:
    """A cell's background ranges from the page's own to the first colour of the theme; its number stands in it."""
    figure, axes = _figure(1.6 + 0.32 * len(plot.rows))
    shades = LinearSegmentedColormap.from_list("share", [theme.ground, theme.series[0]])
    shares = np.array([[np.nan if share is None else share for share in line] for line in plot.shares])
    grounds = axes.imshow(shares, cmap=shades, vmin=FAINTEST, vmax=1, aspect="auto").to_rgba(shares)
    for row, (line, marks) in enumerate(zip(plot.shares, plot.marks, strict=True)):
        for column, (share, mark) in enumerate(zip(line, marks, strict=True)):
            if share is None:
                text, ink = mark, theme.muted
            else:
                text, ink = percent(share), ink_on(grounds[row, column].tolist())
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=ink)
    axes.set_yticks(range(len(plot.rows)), [plain(label, MAX_LABEL) for label in plot.rows], color=theme.text)
    labels = [plain(label, MAX_LABEL) for label in plot.columns]
    axes.set_xticks(range(len(plot.columns)), labels, color=theme.text, rotation=35, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.set_xlabel(
        "exact match in per cent; rows: whose tokenizer, columns: whose positional embedding", color=theme.text
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _share_axis(axes: Axes) -> None:
    axes.set_yticks(SHARES)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
    axes.set_ylabel("exact match")
    axes.tick_params(length=0)


def _style(theme: Theme, place: int) -> tuple[str, str, str]:
    """Colour, marker and dashes of the submission at `place` from the top; beyond the markers, grey and no marker."""
    if place >= len(MARKERS):
        return theme.muted, "", "-"
    dashes = "-" if place < len(theme.series) else ":"
    return theme.series[place % len(theme.series)], MARKERS[place], dashes


def _label(one: Series) -> str:
    return f"{one.label} (open)" if one.is_open else one.label
