"""Writes `leaderboard.html`: a board to sort and search, and below it a card for every submission (`card.py`).

It is one file that loads nothing: the template escapes strangers' text, and the page's own policy (CSP) lets no script
run but the one whose digest it names.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import jinja2
from markdown_it import MarkdownIt

from harness.board.card import CHART_HEIGHT, CHART_WIDTH, MAX_TEXT, Card, card_of
from harness.board.drawing import DARK, LIGHT
from harness.board.guide import GUIDE, PUBLISHED
from harness.board.section import Section
from harness.board.text import NOTHING, percent, plain, thousands
from harness.printable import counted
from harness.ranking.scoring import (
    MIN_SEEDS,
    Result,
    Row,
    SpeedRatios,
    ranked_strata,
    ranking_heading,
    trained_heading,
)
from harness.ranking.statistics import Estimate
from harness.track import Track

FOLDER = Path(__file__).parent / "page"
SPEEDS = {
    "encode": "their texts through the sandbox",
    "train": "in a training step",
    "score": "their known answers in one pass",
    "decode": "their answers generated token by token",
}


class Length(NamedTuple):
    """The share of right answers, in [0, 1], where the longer operand has so many digits."""

    digits: int
    share: float
    is_trained: bool

    def __str__(self) -> str:
        return f"{self.digits}: {percent(self.share)}"


@dataclass(frozen=True, slots=True)
class Cell:
    """`key` is what a click on the column's head sorts by: a number, or the text itself."""

    text: str
    key: float | str | None = None
    bar: Estimate | None = None
    lengths: tuple[Length, ...] = ()
    """Drawn as a bar each, side by side."""

    @property
    def interval(self) -> str:
        """`93.3–95.3`; empty without a bar."""
        return f"{percent(self.bar.low)}–{percent(self.bar.high)}" if self.bar else ""


@dataclass(frozen=True, slots=True)
class Column:
    heading: str
    help: str
    cell: Callable[[Row], Cell]
    """What a row has in this column."""
    is_number: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A section of the page; of a track that cannot be shown, name and notice alone."""

    name: str
    notice: str | None
    summary: str = ""
    never_run: list[str] = field(default_factory=list[str])
    columns: list[Column] = field(default_factory=list[Column])
    rows: list[list[Cell]] = field(default_factory=list[list[Cell]])
    legend: str = ""
    has_authors: bool = False
    """Whether rows name their authors: not where all have the same."""
    cards: list[Card] = field(default_factory=list[Card])


AFTER_CLOSED = 1_000_000
"""Added to the places of the open division, so that sorting by rank keeps the two divisions apart."""
LEGEND = f"= shared rank; † provisional: fewer than {MIN_SEEDS} seeds; open: the open division ranks by itself"


def html_page(sections: Sequence[Section]) -> str:
    """The whole page; the same bytes for the same records."""
    loader = jinja2.FileSystemLoader(FOLDER)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in ("board.css", "board.js"))
    colours = "".join(
        f"{opening}:root{{--text:{theme.text};--muted:{theme.muted};--grid:{theme.grid};--one:{theme.series[0]};"
        f"--two:{theme.series[1]}}}{closing}"
        for theme, opening, closing in ((LIGHT, "", ""), (DARK, "@media(prefers-color-scheme:dark){", "}"))
    )
    style = f"{colours}\n{style}"
    template = environment.get_template("board.html.jinja")
    return template.render(
        tables=[_table(section) for section in sections],
        guide={heading: MarkdownIt().render(text) for heading, text in GUIDE.items()},
        chart_width=CHART_WIDTH,
        chart_height=CHART_HEIGHT,
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; base-uri 'none'; "
        "form-action 'none'",
    )


def _source(text: str) -> str:
    """How a policy names an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _table(section: Section) -> Table:
    track = section.track
    if track is None:
        return Table(name=plain(section.name, MAX_TEXT), notice=plain(section.notice or "", MAX_TEXT))
    cards = [card_of(row, track) for row in section.rows]
    columns = _columns(track, section.rows)
    legend = [LEGEND] if track.ranked else []
    legend += [
        f"speeds on {number}: {plain(device, MAX_TEXT)}" for device, number in _numbered_devices(section.rows).items()
    ]
    if any(row.lacks_fresh_lengths for row in section.rows):
        legend.append(PUBLISHED)
    return Table(
        name=section.name,
        notice=section.notice,
        summary=plain(track.summary, MAX_TEXT),
        never_run=[plain(row.name, MAX_TEXT) for row in section.never_run],
        columns=columns,
        rows=[[column.cell(row) for column in columns] for row in section.rows],
        legend="; ".join(legend),
        has_authors=len({card.authors for card in cards}) > 1,
        cards=cards,
    )


def _columns(track: Track, rows: Sequence[Row]) -> list[Column]:
    columns: list[Column] = []
    if track.ranked:
        columns.append(Column("rank", LEGEND, _rank))
    columns += [
        Column("submission", "", _name, is_number=False),
        Column("state", "only fresh rows rank; open: sets hyper-parameters itself", _state, is_number=False),
    ]
    if len(ranked_strata(track)) > 1:
        columns.append(Column(ranking_heading(track), "exact match; decides the rank", lambda row: _bar(row.score)))
    columns += [
        Column(
            f"{length} digits",
            "exact match on fresh problems of the first length beyond training, with its 95 % interval",
            _of_length(digits, length),
        )
        for digits in track.digits
        for length in track.lengths_beyond(digits)[:1]
    ]
    columns += [
        Column(
            trained_heading(track, digits),
            "exact match on fresh problems, with its 95 % interval",
            _of_result(digits, lambda result: _bar(result.fresh)),
        )
        for digits in track.digits
    ]
    columns += _details(track)
    columns += [
        Column(
            f"{work} ×",
            f"examples a second, {SPEEDS[work]}, as a ratio to the reference on the same device",
            _speed(work),
        )
        for work in SpeedRatios._fields
    ]
    if devices := _numbered_devices(rows):
        told = "ratios of different devices, which are named below the table, are not comparable"
        columns.append(Column("speeds on", told, _devices(devices), is_number=False))
    return columns


def _details(track: Track) -> list[Column]:
    """What lies behind the score: at the last number of digits that the track lists."""
    digits = track.digits[-1]
    last = counted(digits, "digit")
    columns: list[Column] = []
    if track.longest:
        every = f"exact match at every number of digits from 1 to {track.longest}; grey: trained, up to {digits}"
        columns.append(Column("by digits", every, _of_result(digits, lambda result: _lengths(result, digits))))
        columns.append(
            Column(
                "reach",
                "largest length up to which every length has 90 %, of the final weights",
                _of_result(digits, lambda result: _number(result.reach and result.reach.value, "{:.0f}")),
            )
        )
    return [
        *columns,
        Column(
            "ids seen",
            f"fresh problems with the same ids as a trained one, at {last}",
            _of_result(digits, lambda result: _share(result.seen)),
        ),
        Column(
            "digit accuracy",
            f"answer tokens right, each given the right ones before it, at {last}",
            _of_result(digits, lambda result: _share(result.digit_accuracy)),
        ),
        Column(
            "longest carry",
            f"problems whose carry runs through every column, at {last}",
            _of_result(digits, lambda result: _share(result.longest_carry)),
        ),
        Column(
            "edge",
            f"zeros, powers of ten, nines, at {last}",
            _of_result(digits, lambda result: _share(result.edge)),
        ),
        Column(
            "examples to 90 %",
            f"training examples at {last}",
            _of_result(digits, lambda result: _thousands(result.examples_to_90)),
        ),
    ]


def _of_result(digits: int, cell: Callable[[Result], Cell]) -> Callable[[Row], Cell]:
    return lambda row: cell(row.results[digits]) if digits in row.results else Cell(NOTHING)


def _of_length(digits: int, length: int) -> Callable[[Row], Cell]:
    return _of_result(digits, lambda result: _bar(result.lengths.get(length)))


def _speed(work: str) -> Callable[[Row], Cell]:
    """By device, where a row has several; sorted by the first."""

    def cell(row: Row) -> Cell:
        ratios = [getattr(speed, work) for speed in row.speeds.values()]
        return Cell(" / ".join(f"{ratio:.2f}" for ratio in ratios), ratios[0]) if ratios else Cell(NOTHING)

    return cell


def _numbered_devices(rows: Sequence[Row]) -> dict[str, str]:
    """By the name of a device, the number that stands for it in the table; empty unless there are several."""
    devices = sorted({device for row in rows for device in row.speeds})
    return {device: str(number) for number, device in enumerate(devices, 1)} if len(devices) > 1 else {}


def _devices(numbered: Mapping[str, str]) -> Callable[[Row], Cell]:
    return lambda row: Cell(" / ".join(numbered[device] for device in row.speeds) or NOTHING)


def _name(row: Row) -> Cell:
    name = plain(row.name, MAX_TEXT)
    return Cell(name, name)


def _rank(row: Row) -> Cell:
    if row.rank is None:
        return Cell(NOTHING)
    if row.division == "open":
        return Cell(f"open {row.rank}", AFTER_CLOSED + row.rank.place)
    return Cell(str(row.rank), row.rank.place)


def _state(row: Row) -> Cell:
    """`fresh`, or `stale‡, open`."""
    mark = "‡" if row.lacks_fresh_lengths else ""
    division = ", open" if row.division == "open" else ""
    state = row.standing.state.value
    return Cell(f"{state}{mark}{division}", state)


def _bar(estimate: Estimate | None) -> Cell:
    return Cell(percent(estimate.value), estimate.value, estimate) if estimate else Cell(NOTHING)


def _lengths(result: Result, trained: int) -> Cell:
    """Sorted by the mean over all lengths."""
    if not result.lengths:
        return Cell(NOTHING)
    found = {digits: result.lengths[digits].value for digits in sorted(result.lengths)}
    bars = tuple(Length(digits, share, digits <= trained) for digits, share in found.items())
    return Cell("", sum(found.values()) / len(found), lengths=bars)


def _share(share: float | None) -> Cell:
    return Cell(NOTHING) if share is None else Cell(percent(share), share)


def _thousands(count: float | None) -> Cell:
    return Cell(thousands(count) or NOTHING, None if count is None else count / 1000)


def _number(value: float | None, form: str) -> Cell:
    return Cell(NOTHING) if value is None else Cell(form.format(value), value)
