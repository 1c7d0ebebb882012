"""Writes `leaderboard.html`: a board to sort and search, and below it what every submission's trials left behind.

It is one file that loads nothing: the template escapes strangers' text, and the page's own policy (CSP) lets no script
run but the one whose digest it names.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jinja2
from markdown_it import MarkdownIt

from harness.board.drawing import DARK, LIGHT
from harness.board.guide import GUIDE
from harness.board.section import Section
from harness.board.text import NOTHING, device_labels, percent, plain, settings, thousands
from harness.ranking.scoring import (
    MIN_SEEDS,
    Result,
    Row,
    Speed,
    mistakes_of,
    ranked_strata,
    ranking_heading,
    trained_heading,
)
from harness.ranking.statistics import Estimate
from harness.records import Mistake, Record, Score
from harness.submissions import Broken, Submission
from harness.track import Track

FOLDER = Path(__file__).parent / "page"
MAX_TEXT = 300
MAX_ANSWER = 60
MISTAKES_SHOWN = 10
"""At each number of digits."""
SPEEDS = {
    "encode": "their texts through the sandbox",
    "train": "in a training step",
    "score": "their known answers in one pass",
    "decode": "their answers generated token by token",
}
CHART_WIDTH, CHART_HEIGHT = 260, 90
"""Of the plotting area of a chart, in its own units; labels stand outside it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """`key` is what a click on the column's head sorts by: a number, or the text itself."""

    text: str
    key: float | str | None = None
    bar: Estimate | None = None

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


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart, with `points` as SVG writes them."""

    label: str
    points: str
    is_beside: bool = False
    """Whether it only accompanies the result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """Shares from 0 to 1 over a range that starts at `first` and ends at `last`."""

    title: str
    first: str
    last: str
    lines: list[Line]


class Piece(NamedTuple):
    """A piece of an answer."""

    text: str
    is_wrong: bool


class Wrong(NamedTuple):
    """A problem that was answered wrongly: `answer` is its sum, `pieces` are what came instead."""

    prompt: str
    answer: str
    pieces: list[Piece]


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """All that is known about one submission on one track."""

    anchor: str
    name: str
    title: str
    authors: str
    summary: str
    reference: str | None
    why: str
    """What keeps the row from ranking, if anything does."""
    facts: list[str]
    charts: list[Chart]
    carry: list[tuple[str, list[tuple[str, str]]]]
    """By number of digits: every length of the longest carry chain, with the exact match on its problems."""
    trials: list[list[str]]
    mistakes: list[tuple[str, list[Wrong]]]
    """By number of digits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A section of the page."""

    name: str
    notice: str | None
    summary: str
    never_run: list[str]
    columns: list[Column]
    rows: list[list[Cell]]
    legend: str
    has_authors: bool
    """Whether rows name their authors: not where all have the same."""
    cards: list[Card]


AFTER_CLOSED = 1_000_000
"""Added to the places of the open division, so that sorting by rank keeps the two divisions apart."""
LEGEND = f"= shared rank; † provisional: fewer than {MIN_SEEDS} seeds; open: the open division ranks by itself"
TRIAL_HEADINGS = ("trial", "fresh", "test", "edge", "loss at the end", "s", "device", "sandbox", "commit", "fresh seed")


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
        trial_headings=TRIAL_HEADINGS,
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
        nothing = {"columns": [], "rows": [], "legend": "", "has_authors": False, "cards": []}
        name, notice = plain(section.name, MAX_TEXT), plain(section.notice or "", MAX_TEXT)
        return Table(name=name, notice=notice, summary="", never_run=[], **nothing)
    cards = [_card(row, track) for row in section.rows]
    columns = _columns(track, section.rows)
    return Table(
        name=section.name,
        notice=section.notice,
        summary=plain(track.summary, MAX_TEXT),
        never_run=[plain(row.name, MAX_TEXT) for row in section.never_run],
        columns=columns,
        rows=[[column.cell(row) for column in columns] for row in section.rows],
        legend=LEGEND if track.ranked else "",
        has_authors=len({card.authors for card in cards}) > 1,
        cards=cards,
    )


def _columns(track: Track, rows: Sequence[Row]) -> list[Column]:
    columns: list[Column] = []
    if track.ranked:
        columns.append(Column("rank", LEGEND, _rank))
    columns += [
        Column("submission", "", _name, is_number=False),
        Column("state", "only fresh rows rank", _state, is_number=False),
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
            f"{work} ×{label}",
            f"examples a second, {SPEEDS[work]}, as a ratio to the reference, on {plain(device, 60)}",
            _speed(device, work),
        )
        for device, label in device_labels((device for row in rows for device in row.speeds), plain).items()
        for work in Speed._fields
    ]
    columns.append(Column("division", "open: sets hyper-parameters itself", _division, is_number=False))
    return columns


def _details(track: Track) -> list[Column]:
    """What lies behind the score: at the last number of digits that the track lists."""
    last = track.digits[-1]
    columns: list[Column] = []
    if track.longest:
        columns.append(
            Column(
                "reach",
                "largest length up to which every length has 90 %, of the final weights",
                _of_result(last, lambda result: _number(result.reach and result.reach.value, "{:.0f}")),
            )
        )
    return [
        *columns,
        Column(
            "ids seen",
            f"fresh problems with the same ids as a trained one, at {last} digits",
            _of_result(last, lambda result: _share(result.seen)),
        ),
        Column(
            "digit accuracy",
            f"answer tokens right, each given the right ones before it, at {last} digits",
            _of_result(last, lambda result: _share(result.digit_accuracy)),
        ),
        Column(
            "longest carry",
            f"problems whose carry runs through every column, at {last} digits",
            _of_result(last, lambda result: _share(result.longest_carry)),
        ),
        Column(
            "edge",
            f"zeros, powers of ten, nines, at {last} digits",
            _of_result(last, lambda result: _share(result.edge)),
        ),
        Column(
            "examples to 90 %",
            f"training examples at {last} digits",
            _of_result(last, lambda result: _thousands(result.examples_to_90)),
        ),
    ]


def _of_result(digits: int, cell: Callable[[Result], Cell]) -> Callable[[Row], Cell]:
    return lambda row: cell(row.results[digits]) if digits in row.results else Cell(NOTHING)


def _of_length(digits: int, length: int) -> Callable[[Row], Cell]:
    return _of_result(digits, lambda result: _bar(result.lengths.get(length)))


def _speed(device: str, work: str) -> Callable[[Row], Cell]:
    return lambda row: _number(getattr(row.speeds[device], work), "{:.2f}") if device in row.speeds else Cell(NOTHING)


def _name(row: Row) -> Cell:
    name = plain(row.name, MAX_TEXT)
    return Cell(name, name)


def _rank(row: Row) -> Cell:
    if row.rank is None:
        return Cell(NOTHING)
    if row.division == "open":
        return Cell(f"open {row.rank}", AFTER_CLOSED + row.rank.place)
    return Cell(str(row.rank), row.rank.place)


def _division(row: Row) -> Cell:
    return Cell(NOTHING if isinstance(row.submission, Broken) else row.division)


def _state(row: Row) -> Cell:
    return Cell(row.standing.state.value, row.standing.state.value)


def _bar(estimate: Estimate | None) -> Cell:
    return Cell(percent(estimate.value), estimate.value, estimate) if estimate else Cell(NOTHING)


def _share(share: float | None) -> Cell:
    return Cell(NOTHING) if share is None else Cell(percent(share), share)


def _thousands(count: float | None) -> Cell:
    return Cell(thousands(count) or NOTHING, None if count is None else count / 1000)


def _number(value: float | None, form: str) -> Cell:
    return Cell(NOTHING) if value is None else Cell(form.format(value), value)


def _card(row: Row, track: Track) -> Card:
    manifest = row.submission.manifest if isinstance(row.submission, Submission) else None
    by_digits = {digits: [trial for trial in row.trials if trial.digits == digits] for digits in track.digits}
    known = {digits: trials for digits, trials in by_digits.items() if trials}
    charts = [_curves(f"exact match in training, {digits} digits", trials) for digits, trials in known.items()]
    charts += [_lengths(result, digits) for digits, result in row.results.items() if result.lengths]
    return Card(
        anchor=f"{track.name}-{plain(row.name, MAX_TEXT)}",
        name=plain(row.name, MAX_TEXT),
        title=plain(manifest.title, MAX_TEXT) if manifest else "",
        authors=plain(", ".join(manifest.authors), MAX_TEXT) if manifest else "",
        summary=plain(manifest.summary, MAX_TEXT) if manifest else "",
        reference=manifest.reference if manifest else None,
        why=_why(row),
        facts=_facts(row),
        charts=[chart for chart in charts if chart.lines],
        carry=[(f"{digits} digits", _carry(trials)) for digits, trials in known.items()],
        trials=[_trial(trial) for trials in known.values() for trial in trials],
        mistakes=[(f"{digits} digits", found) for digits, trials in known.items() if (found := _mistakes(trials))],
    )


def _why(row: Row) -> str:
    return f"{row.standing.state}: {plain(row.standing.reason, MAX_TEXT)}" if row.standing.reason else ""


def _facts(row: Row) -> list[str]:
    facts = [_why(row)]
    if sets := settings(row.submission):
        facts.append(f"sets {sets}")
    if parameters := row.parameters:
        facts.append(f"{parameters.model:,} parameters in the model, {parameters.positions:,} in the positions")
    facts += [f"{one.rule} cleared by a maintainer: {plain(one.reason, MAX_TEXT)} ({one.date})" for one in row.cleared]
    facts += [plain(tag, MAX_TEXT) for tag in row.tags]
    return [fact for fact in facts if fact]


def _curves(title: str, trials: Sequence[Record]) -> Chart:
    """One line per seed, over the training examples."""
    last = max((point.examples for trial in trials for point in trial.curve), default=0)
    lines = [
        Line(f"seed {trial.seed}", _points((point.examples / last, point.accuracy) for point in trial.curve))
        for trial in trials
        if trial.curve and last
    ]
    return Chart(title=title, first="0", last=f"{last:,} examples", lines=lines)


def _lengths(result: Result, digits: int) -> Chart:
    lengths = sorted(result.lengths)
    span = max(1, lengths[-1] - lengths[0])
    best = result.best_lengths
    weights = {"final weights": result.lengths, "best checkpoint (thin)": best}
    lines = [
        Line(label, _points(((length - lengths[0]) / span, found[length].value) for length in lengths), found is best)
        for label, found in weights.items()
        if len(found) == len(lengths)
    ]
    beside = "; thin: the best checkpoint" if len(lines) > 1 else ""
    title = f"exact match by digits of the longer operand, trained up to {digits}{beside}"
    return Chart(title=title, first=str(lengths[0]), last=str(lengths[-1]), lines=lines)


def _points(shares: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{CHART_WIDTH * x:.1f},{CHART_HEIGHT * (1 - y):.1f}" for x, y in shares)


def _carry(trials: Sequence[Record]) -> list[tuple[str, str]]:
    """Shares by longest chain, over the problems of all seeds together."""
    scores: dict[str, list[Score]] = {}
    for trial in trials:
        for chain, score in trial.suites.carry.items() if trial.suites else ():
            scores.setdefault(chain, []).append(score)
    return [
        (chain, percent(sum(one.correct for one in found) / max(1, sum(one.total for one in found))))
        for chain, found in sorted(scores.items(), key=lambda item: int(item[0]))
    ]


def _trial(trial: Record) -> list[str]:
    suites, environment = trial.suites, trial.environment
    scores = (
        [f"{score.correct} of {score.total}" for score in (suites.fresh, suites.test, suites.edge)] if suites else []
    )
    loss = trial.curve[-1].loss if trial.curve else None
    changed = " (changed)" if environment.dirty else ""
    return [
        f"{trial.digits} digits, seed {trial.seed}",
        *scores,
        NOTHING if loss is None else f"{loss:.4f}",
        NOTHING if trial.seconds is None else f"{trial.seconds.total:.0f}",
        plain(f"{environment.device}, torch {environment.torch}", MAX_TEXT),
        trial.isolation,
        f"{plain(environment.commit or NOTHING, 40)}{changed}",
        str(trial.fresh_seed),
    ]


def _mistakes(trials: Sequence[Record]) -> list[Wrong]:
    return [
        Wrong(plain(one.prompt, MAX_ANSWER), plain(one.answer, MAX_ANSWER), _marked(one))
        for one in mistakes_of(trials)[:MISTAKES_SHOWN]
    ]


def _marked(mistake: Mistake) -> list[Piece]:
    """The answer in pieces, with those marked that differ from the sum at their place: `115` for `125` -> 1, *1*, 5.

    Places count from the right, as those of a number do.
    """
    got, answer = plain(mistake.got, MAX_ANSWER), plain(mistake.answer, MAX_ANSWER)
    if not got:
        return [Piece("(nothing)", True)]
    aligned = answer.rjust(len(got))[-len(got) :]
    pieces: list[Piece] = []
    for character, expected in zip(got, aligned, strict=True):
        is_wrong = character != expected
        if pieces and pieces[-1].is_wrong is is_wrong:
            pieces[-1] = Piece(pieces[-1].text + character, is_wrong)
        else:
            pieces.append(Piece(character, is_wrong))
    return pieces
