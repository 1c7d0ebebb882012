"""What `leaderboard.html` tells of one submission on one track, below the table: curves, carries, trials, mistakes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.board.text import NOTHING, percent, plain, settings
from harness.printable import counted
from harness.ranking.scoring import Result, Row, mistakes_of
from harness.records import Mistake, Record, Score
from harness.submissions import Submission
from harness.track import Track

MAX_TEXT = 300
MAX_ANSWER = 60
MISTAKES_SHOWN = 10
"""At each number of digits."""
CHART_WIDTH, CHART_HEIGHT = 260, 90
"""Of the plotting area of a chart, in its own units; labels stand outside it."""


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
    trials: list[dict[str, str]]
    """What is told of each, by heading."""
    mistakes: list[tuple[str, list[Wrong]]]
    """By number of digits."""


def card_of(row: Row, track: Track) -> Card:
    """The card of one row of that track's table."""
    manifest = row.submission.manifest if isinstance(row.submission, Submission) else None
    by_digits = {digits: [trial for trial in row.trials if trial.digits == digits] for digits in track.digits}
    known = {digits: trials for digits, trials in by_digits.items() if trials}
    charts = [
        _curves(f"exact match in training, {counted(digits, 'digit')}", trials) for digits, trials in known.items()
    ]
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
        carry=[(counted(digits, "digit"), _carry(trials)) for digits, trials in known.items()],
        trials=[_trial(trial) for trials in known.values() for trial in trials],
        mistakes=[
            (counted(digits, "digit"), found) for digits, trials in known.items() if (found := _mistakes(trials))
        ],
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
    # What is drawn later covers what was drawn before.
    weights = {"best checkpoint (thin)": best, "final weights": result.lengths}
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


def _trial(trial: Record) -> dict[str, str]:
    suites, environment = trial.suites, trial.environment
    scores = {"fresh": suites.fresh, "test": suites.test, "edge": suites.edge} if suites else {}
    shown = {name: f"{score.correct} of {score.total}" for name, score in scores.items()}
    loss = trial.curve[-1].loss if trial.curve else None
    changed = " (changed)" if environment.dirty else ""
    return {
        "trial": f"{counted(trial.digits, 'digit')}, seed {trial.seed}",
        **{name: shown.get(name, NOTHING) for name in ("fresh", "test", "edge")},
        "loss at the end": NOTHING if loss is None else f"{loss:.4f}",
        "s": NOTHING if trial.seconds is None else f"{trial.seconds.total:.0f}",
        "device": plain(f"{environment.device}, torch {environment.torch}", MAX_TEXT),
        "sandbox": trial.isolation,
        "commit": f"{plain(environment.commit or NOTHING, 40)}{changed}",
        "fresh seed": str(trial.fresh_seed),
    }


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
