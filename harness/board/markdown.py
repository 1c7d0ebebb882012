"""Writes `leaderboard.md`."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from tabulate import tabulate

from harness.board.guide import GUIDE, PUBLISHED
from harness.board.plots import Plot
from harness.board.section import Section
from harness.board.text import NOTHING, device_names, listed, markdown, percent, picture, settings, thousands
from harness.ranking.scoring import (
    MIN_SEEDS,
    Reach,
    Result,
    Row,
    SpeedRatios,
    mistakes_of,
    ranked_strata,
    ranking_heading,
    trained_heading,
)
from harness.ranking.standing import Standing, State
from harness.ranking.statistics import Estimate
from harness.records import Drift
from harness.submissions import NAME, Submission
from harness.task import one_digit_problems
from harness.track import Track

MAX_NAME = 60
MAX_TITLE = 80
MAX_REASON = 300
MAX_ANSWER = 60
MISTAKES_SHOWN = 3
NEVER_RUN_NAMED = 12

HEAD = """\
# Leaderboard

Which tokenizer and which positional embedding let a small transformer learn to add? Model, data and training recipe are
the same for everyone; a submission decides only how a problem becomes tokens and how the model is told their positions.
A problem counts when the whole sum is right. Submissions are ranked on *fresh* problems, drawn when the trial starts;
in tracks of length generalisation these are longer than any trained one. This page is written by `harness leaderboard`
from the records in `results/`.
"""

EMPTY = "Nothing has been run yet: `harness all` validates, runs and ranks everything in `submissions/`.\n"


def page(sections: Sequence[Section]) -> str:
    guide = [f"## {heading}\n\n{text}" for heading, text in GUIDE.items()]
    parts = [HEAD, *(_section(section) for section in sections), *guide]
    if not sections:
        parts.insert(1, EMPTY)
    else:
        names = [section.name for section in sections if section.track]
        # GitHub derives a heading's anchor so.
        links = [f"[{name}](#{name.lower().replace(' ', '-')})" for name in (*names, *GUIDE)]
        parts.insert(1, " · ".join(links) + "\n")
    return "\n".join(parts)


def plot_path(track: str, plot: Plot, theme: str) -> str:
    """The plot's path relative to the root, as the page refers to it."""
    return f"results/{track}/{plot.name}-{theme}.svg"


def _section(section: Section) -> str:
    parts = [f"## {markdown(section.name, MAX_NAME)}"]
    if section.notice:
        parts.append(markdown(section.notice, MAX_REASON))
    if section.track:
        parts += _about(section.track, section.rows)
        parts += _ranking(section.track, section.rows)
        parts += _unranked(section.track, section.rows, section.never_run)
        parts += [_picture(section.track, plot) for plot in section.plots]
        parts += _by_length(section.track, section.rows)
        parts += _details(section.track, section.rows)
        parts += _mistakes(section.rows)
    return "\n\n".join(parts) + "\n"


def _about(track: Track, rows: Sequence[Row]) -> list[str]:
    machines = {(trial.environment.device, trial.environment.torch) for row in rows for trial in row.trials}
    measured = "; ".join(f"{markdown(device, 80)} (torch {markdown(torch, 30)})" for device, torch in sorted(machines))
    facts = [
        f"* Trials per row: {len(track.digits) * len(track.seeds)} (digits {listed(track.digits)}; "
        f"seeds {listed(track.seeds)})",
        f"* Problems per trial: {_problems(track)}",
        f"* Measured on: {measured or NOTHING}",
        f"* Command: `harness all --track {track.name}`",
        *_identity(track, rows),
    ]
    return [markdown(track.summary, 400), "\n".join(facts)]


def _identity(track: Track, rows: Sequence[Row]) -> list[str]:
    """What a paper cites for the rows that rank."""
    trials = [trial for row in rows if row.is_fresh for trial in row.trials]
    if not trials:
        return []
    harness = ", ".join(sorted({trial.fingerprints.harness for trial in trials}))
    commits = sorted({trial.environment.commit or "unknown" for trial in trials})
    named = f"commit{'s' if len(commits) > 1 else ''} {markdown(', '.join(commits), 200)}"
    return [f"* To cite: harness {harness}, track {track.fingerprint}; {named}"]


def _problems(track: Track) -> str:
    suites = track.evaluation
    counts = {"fresh": suites.fresh, "test": suites.test, "for each carry chain": suites.carry}
    few = f" ({len(one_digit_problems())} of one digit)" if suites.lengths > len(one_digit_problems()) else ""
    counts |= {f"of each length{few}, and as many fresh ones beyond training": suites.lengths}
    counts["at an evaluation in training"] = suites.curve
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def _ranking(track: Track, rows: Sequence[Row]) -> list[str]:
    """The closed division's table, then the open one's."""
    closed = [row for row in rows if row.division == "closed"]
    opened = [row for row in rows if row.division != "closed"]
    devices = device_names((device for row in rows for device in row.speeds), markdown)
    parts = [_table([_ranking_cells(row, track, devices) for row in closed], track.ranked)] if closed else []
    if opened:
        parts += ["### Open division", _table([_ranking_cells(row, track, devices) for row in opened], track.ranked)]
    if any(row.rank and row.rank.is_provisional for row in rows):
        parts.append(f"† provisional: {len(track.seeds)} of at least {MIN_SEEDS} seeds.")
    if any(row.lacks_fresh_lengths for row in rows):
        parts.append(f"{PUBLISHED}.")
    return parts


def _ranking_cells(row: Row, track: Track, devices: Mapping[str, str]) -> dict[str, str | None]:
    """The cells by heading.

    Args:
        devices: of the whole table, with their short names; speeds are told with theirs where there are several.
    """
    cells: dict[str, str | None] = {"rank": str(row.rank) if row.rank else None, "submission": _submission(row)}
    if len(ranked_strata(track)) > 1:
        cells[ranking_heading(track)] = _interval(row.score) if row.score else None
    for digits in track.digits:
        result = row.results.get(digits)
        cells[trained_heading(track, digits)] = _interval(result.fresh) if result else None
    if track.longest:
        cells["reach"] = _by_digits(row, track, lambda result: _reach(result.reach))
    for work in SpeedRatios._fields:
        cells[f"{work} ×"] = " / ".join(f"{getattr(speed, work):.2f}" for speed in row.speeds.values()) or None
    if len(devices) > 1:
        cells["speeds on"] = " / ".join(devices[device] for device in row.speeds) or None
    cells["sets"] = settings(row.submission) or None
    cells["format"] = ", ".join(markdown(tag, MAX_NAME) for tag in row.tags) or None
    cells["state"] = _state(row)
    return cells


def _by_length(track: Track, rows: Sequence[Row]) -> list[str]:
    """Exact match at every length from the longest trained one; the best checkpoint below the final weights."""
    lines: list[dict[str, str | None]] = []
    has_several = len(track.digits) > 1
    for row in rows:
        for digits, result in row.results.items():
            for weights, lengths in (("final", result.lengths), ("best checkpoint", result.best_lengths)):
                shares = {str(length): _percent(one.value) for length, one in lengths.items() if length >= digits}
                if shares:
                    trained = {"trained to": str(digits) if has_several else None, "weights": weights}
                    lines.append({"submission": _name(row), **trained, **shares})
    return _folded("Exact match by digits of the longer operand", _table(lines, False)) if lines else []


def _details(track: Track, rows: Sequence[Row]) -> list[str]:
    shown = [row for row in rows if row.trials]
    if not shown:
        return []
    return _folded("Details", _table([_details_cells(row, track) for row in shown], False))


def _details_cells(row: Row, track: Track) -> dict[str, str | None]:
    several = f", {' / '.join(map(str, track.digits))} digits" if len(track.digits) > 1 else ""
    trained = f", {listed(track.digits)} digits" if track.longest else ""
    parameters = row.parameters
    return {
        "submission": _name(row),
        "authors": _authors(row),
        "by seed": _by_seed(row, track),
        "test": _mean(row, track, lambda result: result.test),
        "edge": _mean(row, track, lambda result: result.edge),
        f"ids seen{several}": _by_digits(row, track, lambda result: _percent(result.seen)),
        "digit accuracy": _mean(row, track, lambda result: result.digit_accuracy),
        f"longest carry{several or trained}": _by_digits(row, track, lambda result: _percent(result.longest_carry)),
        f"examples to 90 %{several}": _by_digits(row, track, lambda result: thousands(result.examples_to_90)),
        "reach by seed": _by_digits(row, track, lambda result: _seed_reaches(result.seed_reaches)),
        "reach of the best checkpoint": _by_digits(row, track, lambda result: _reach(result.best_reach)),
        "rows trained, moved by, others by": _by_digits(row, track, lambda result: _drift(result.drift))
        if track.longest
        else None,
        "parameters": f"{parameters.model:,}" if parameters else None,
        "of positions": f"{parameters.positions:,}" if parameters else None,
        "division": row.division,
        "sandbox": ", ".join(sorted({trial.isolation for trial in row.trials})),
    }


def _unranked(track: Track, rows: Sequence[Row], never_run: Sequence[Row]) -> list[str]:
    """The rows that are not fresh, a line for each reason; in one short line, those never run; and what was cleared."""
    alike: dict[Standing, list[str]] = {}
    for row in rows:
        if row.standing.state is not State.FRESH:
            alike.setdefault(row.standing, []).append(_name(row))
    lines = [
        f"* {', '.join(names)}: **{standing.state}**, {markdown(standing.reason or NOTHING, MAX_REASON)}"
        for standing, names in alike.items()
    ]
    if len(never_run) > NEVER_RUN_NAMED:
        lines.append(f"* **not run**: {len(never_run)} submissions; `harness run --track {track.name} -n` names them")
    elif never_run:
        lines.append(f"* **not run**: {', '.join(_name(row) for row in never_run)}")
    cleared = [
        f"* {_name(row)}: {markdown(one.rule, MAX_NAME)}, {markdown(one.reason, MAX_REASON)} ({one.date})"
        for row in rows
        for one in row.cleared
    ]
    parts = ["Not ranked:", "\n".join(lines)] if lines else []
    return parts + (["Looked at and cleared by a maintainer:", "\n".join(cleared)] if cleared else [])


def _mistakes(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        if mistakes := mistakes_of(row.trials)[:MISTAKES_SHOWN]:
            line = {
                "submission": _name(row),
                "problem": "<br>".join(markdown(mistake.prompt, MAX_ANSWER) for mistake in mistakes),
                "sum": "<br>".join(markdown(mistake.answer, MAX_ANSWER) for mistake in mistakes),
                "answered": "<br>".join(markdown(mistake.got, MAX_ANSWER) or "(nothing)" for mistake in mistakes),
            }
            lines.append(line)
    return _folded("Mistakes", _table(lines, False)) if lines else []


def _picture(track: Track, plot: Plot) -> str:
    light, dark = (plot_path(track.name, plot, theme) for theme in ("light", "dark"))
    return picture(light, dark, plot.description)


def _folded(title: str, content: str) -> list[str]:
    return [f"<details><summary>{title}</summary>", content, "</details>"]


def _table(lines: Sequence[dict[str, str | None]], is_ranked: bool) -> str:
    """A Markdown table; a column without any entry is left out, and so is `rank` where there are no ranks."""
    frame = pd.DataFrame(lines).dropna(axis="columns", how="all")
    if not is_ranked:
        frame = frame.drop(columns="rank", errors="ignore")
    left = {"submission", "authors", "by seed", "state", "weights", "format", "division", "sandbox", "sets"}
    return tabulate(
        frame.fillna(NOTHING).to_numpy().tolist(),
        headers=list(frame.columns),
        tablefmt="pipe",
        disable_numparse=True,
        colalign=["left" if column in left else "right" for column in frame.columns],
    )


def _state(row: Row) -> str:
    """The state, with the mark that `PUBLISHED` explains; for a hacked row, with the reason."""
    mark = "‡" if row.lacks_fresh_lengths else ""
    if row.standing.state is State.HACKED:
        return f"hacked{mark}: {markdown(row.standing.reason or NOTHING, MAX_REASON)}"
    return f"{row.standing.state}{mark}"


def _submission(row: Row) -> str:
    if not isinstance(row.submission, Submission):
        return _name(row)
    return f"{_name(row)}<br>{markdown(row.submission.manifest.title, MAX_TITLE)}"


def _authors(row: Row) -> str | None:
    if not isinstance(row.submission, Submission):
        return None
    return markdown(", ".join(row.submission.manifest.authors), MAX_TITLE) or None


def _name(row: Row) -> str:
    """The name, linked to its folder; one that breaks the rules could write the link's address, and gets no link."""
    if row.submission and NAME.fullmatch(row.name):
        return f"[{row.name}](submissions/{row.name})"
    return markdown(row.name, MAX_NAME)


def _mean(row: Row, track: Track, value: Callable[[Result], float | None]) -> str | None:
    """The mean over the track's numbers of digits; None while one is missing."""
    values = [value(row.results[digits]) for digits in track.digits if digits in row.results]
    known = [one for one in values if one is not None]
    return _percent(sum(known) / len(known)) if len(known) == len(track.digits) else None


def _by_digits(row: Row, track: Track, text: Callable[[Result], str | None]) -> str | None:
    texts = [text(row.results[digits]) if digits in row.results else None for digits in track.digits]
    return " / ".join(one or NOTHING for one in texts) if any(texts) else None


def _reach(reach: Reach | None) -> str | None:
    return f"{reach.value} <sub>{reach.low}–{reach.high}</sub>" if reach else None


def _drift(drift: Drift | None) -> str | None:
    """`10 of 14, 0.146, 0.0038`"""
    if drift is None:
        return None
    moved = (NOTHING if by is None else f"{by:.2g}" for by in (drift.touched, drift.untouched))
    return ", ".join([f"{drift.touched_rows} of {drift.rows}", *moved])


def _by_seed(row: Row, track: Track) -> str | None:
    """The ranking number of each seed where lengths rank, else each seed's `fresh` at each number of digits."""
    if track.longest:
        return _seed_shares(row.counts.shares.mean(axis=1).tolist()) if row.counts else None
    return _by_digits(row, track, lambda result: _seed_shares(result.seed_shares))


def _seed_shares(shares: Sequence[float]) -> str | None:
    return ", ".join(str(_percent(share)) for share in shares) if len(shares) > 1 else None


def _seed_reaches(reaches: Sequence[int]) -> str | None:
    return listed(reaches) if len(reaches) > 1 else None


def _interval(estimate: Estimate) -> str:
    return f"{_percent(estimate.value)} <sub>{_percent(estimate.low)}–{_percent(estimate.high)}</sub>"


def _percent(share: float | None) -> str | None:
    return None if share is None else markdown(percent(share), 10)
