"""Shows a grid of tokenizers and positions: a table, a heat map, and the main effects of each part."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from tabulate import tabulate

from harness.board.drawing import THEMES
from harness.board.plots import GridPlot
from harness.board.rendering import content_of, update_plot, update_text
from harness.board.text import NOTHING, listed, markdown, percent, picture, plain
from harness.cross import FOLDER, Grid
from harness.ranking.effects import Effects, main_effects
from harness.ranking.scoring import Row, ranked_lengths
from harness.ranking.standing import State
from harness.ranking.statistics import Estimate
from harness.submissions import Submission
from harness.track import Track

MAX_NAME = 60
MAX_REASON = 200
NOT_RUN = "·"
IMPOSSIBLE = "×"
COMMAND = re.compile(r"^Command: `harness cross --tokenizers (\S+) --positions (\S+) ", re.MULTILINE)
"""Says of a page which grid it shows."""
WITHOUT_RESULT = frozenset(
    {State.FAILED, State.REFUSED, State.REVIEW, State.HACKED, State.UNVERIFIED, State.NO_SANDBOX}
)
"""States in which a trial was made, or was impossible, and its numbers may not be used; the row says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Crossing:
    """A grid with its rows, best tokenizer and best positions first, and their effects."""

    track: Track
    tokenizers: list[Submission]
    """Each by a folder that has it, and by whose name it is known."""
    positions: list[Submission]
    rows: list[list[Row]]
    effects: Effects | None

    @property
    def command(self) -> str:
        """The command that trains and shows this grid, with its folders in the same order."""
        tokenizers, positions = (",".join(one.name for one in axis) for axis in (self.tokenizers, self.positions))
        return f"harness cross --tokenizers {tokenizers} --positions {positions} --track {self.track.name}"


def crossing_of(grid: Grid, track: Track, rows: list[list[Row]]) -> Crossing:
    effects = main_effects([[row.counts if row.is_fresh else None for row in line] for line in rows])
    down, across = range(len(rows)), range(len(rows[0]))
    if effects:
        down = sorted(down, key=lambda i: _descending(effects.rows[i]))
        across = sorted(across, key=lambda j: _descending(effects.columns[j]))
    ordered = effects and replace(
        effects, rows=[effects.rows[i] for i in down], columns=[effects.columns[j] for j in across]
    )
    return Crossing(
        track=track,
        tokenizers=[grid.tokenizers[i] for i in down],
        positions=[grid.positions[j] for j in across],
        rows=[[rows[i][j] for j in across] for i in down],
        effects=ordered,
    )


def render_crossing(crossing: Crossing, root: Path) -> list[Path]:
    """Writes `results/cross/<track>/cross.md` and its heat map; returns the files that differed.

    It writes nothing unless the grid `covers_page`: results of other parts would vanish from there.
    """
    if not covers_page(crossing, root):
        return []
    path = page_path(crossing, root)
    shares = [
        [round(row.score.value, 6) if row.is_fresh and row.score else None for row in line] for line in crossing.rows
    ]
    marks = [["" if row.is_fresh and row.score else _cell(row) for row in line] for line in crossing.rows]
    tokenizers, positions = ([one.name for one in axis] for axis in (crossing.tokenizers, crossing.positions))
    plot = GridPlot(rows=tokenizers, columns=positions, shares=shares, marks=marks)
    plots = {theme: path.with_name(f"cross-{theme.name}.svg") for theme in THEMES}
    differing = [drawing for theme, drawing in plots.items() if update_plot(drawing, plot, theme)]
    return differing + ([path] if update_text(path, page(crossing)) else [])


def covers_page(crossing: Crossing, root: Path) -> bool:
    """Whether the grid has every tokenizer and all positions of the track's page, if there is such a page."""
    shown = COMMAND.search(content_of(page_path(crossing, root)))
    if shown is None:
        return True
    axes = (crossing.tokenizers, crossing.positions)
    return all({one.name for one in axis} >= set(shown[place].split(",")) for place, axis in enumerate(axes, start=1))


def page_path(crossing: Crossing, root: Path) -> Path:
    return root / "results" / FOLDER / crossing.track.name / "cross.md"


def page(crossing: Crossing) -> str:
    track = crossing.track
    parts = [
        f"# {markdown(track.name, MAX_NAME)}: tokenizers crossed with positions",
        markdown(track.summary, 400),
        f"Exact match in per cent, {_problems(track)}, mean over the track's digits ({listed(track.digits)}) and "
        f"seeds ({listed(track.seeds)}). A part has the name of a folder that lends it. {IMPOSSIBLE}: no result, for "
        f"the reason below; {NOT_RUN}: not run, or out of date.",
        f"Command: `{crossing.command}`",
        _grid_table(crossing, "pipe"),
        picture("cross-light.svg", "cross-dark.svg", "The same as a heat map"),
        *_effect_parts(crossing, "pipe"),
    ]
    if failed := failures(crossing):
        parts += ["## Pairs without a result", "\n".join(f"* {markdown(line, 2 * MAX_REASON)}" for line in failed)]
    return "\n\n".join(parts) + "\n"


def _problems(track: Track) -> str:
    if lengths := ranked_lengths(track):
        shortest, longest = lengths
        return f"on {shortest} to {longest} digits"
    return "on fresh problems"


def as_text(crossing: Crossing) -> str:
    """The same for a terminal, which is narrow: its columns give the positions by number."""
    across = "  ".join(f"{number} {one.name}" for number, one in enumerate(crossing.positions, start=1))
    parts = [_grid_table(crossing, "simple"), across, *_effect_parts(crossing, "simple"), *failures(crossing)]
    return "\n\n".join(parts) + "\n"


def failures(crossing: Crossing) -> list[str]:
    """`tokenizer with positions: state, reason`, one line for each pair whose numbers may not be used."""
    return [
        f"{tokenizer.name} with {positions.name}: {row.standing.state}, "
        f"{plain(row.standing.reason or NOTHING, MAX_REASON)}"
        for tokenizer, line in zip(crossing.tokenizers, crossing.rows, strict=True)
        for positions, row in zip(crossing.positions, line, strict=True)
        if row.standing.state in WITHOUT_RESULT
    ]


def _grid_table(crossing: Crossing, style: str) -> str:
    lines = [
        [tokenizer.name, *(_cell(row) for row in line)]
        for tokenizer, line in zip(crossing.tokenizers, crossing.rows, strict=True)
    ]
    numbers = map(str, range(1, len(crossing.positions) + 1))
    labels = numbers if style == "simple" else [one.name for one in crossing.positions]
    headers = ["tokenizer", *labels]
    align = ["left", *["right"] * len(crossing.positions)]
    return tabulate(lines, headers=headers, tablefmt=style, disable_numparse=True, colalign=align)


def _effect_parts(crossing: Crossing, style: str) -> list[str]:
    effects = crossing.effects
    heading = "## " if style == "pipe" else ""
    if effects is None:
        need = "Main effects need two tokenizers and two kinds of positions with results, linked by what they share."
        return [f"{heading}{need}"]
    if len(crossing.track.seeds) == 1:
        seeds = (
            "With one seed the intervals reflect only the luck of the drawn problems, not that of the initial weights."
        )
    else:
        seeds = (
            "Intervals: a bootstrap over seeds and problems, widened by Student's t for the number of seeds; "
            "too narrow where few starts of a pair fail, or few learn."
        )
    return [
        f"{heading}Whose idea is it?",
        _variance_explained(crossing, effects),
        "Main effects, in points of exact match over the mean tokenizer, or the mean kind of positions, of this grid, "
        f"with 95 % intervals. {seeds}",
        *_effect_tables(crossing, effects, style),
    ]


def _variance_explained(crossing: Crossing, effects: Effects) -> str:
    if len(crossing.track.seeds) == 1:
        luck = (
            ", and with one seed the luck of its own initial weights. "
            "What the luck of the problems explains is subtracted"
        )
    else:
        luck = ". What the luck of the seeds explains is subtracted"
    three = (effects.explained_by_rows, effects.explained_by_columns, effects.interplay)
    if all((one.low, one.high) == (0, 1) for one in three):
        luck += ". Luck may be all that these pairs differ by"
    has_gaps = any(not row.is_fresh for line in crossing.rows for row in line)
    gaps = " With pairs missing the three do not add up." if has_gaps else ""
    return (
        f"Mean of the grid: {percent(effects.mean.value)} %. Of the variance over its pairs the tokenizers explain "
        f"{_share(effects.explained_by_rows)}, the positions {_share(effects.explained_by_columns)}; "
        f"{_share(effects.interplay)} is interplay, what a pair is worth beyond its two parts{luck}. All "
        f"three refer to the parts in this grid; other parts would divide the variance differently.{gaps}"
    )


def _effect_tables(crossing: Crossing, effects: Effects, style: str) -> list[str]:
    """A table of the tokenizers and one of the positions."""
    tokenizers = [(one.name, one.tokenizer.class_name) for one in crossing.tokenizers]
    positions = [(one.name, one.positions.class_name) for one in crossing.positions]
    kinds = (("tokenizer", tokenizers, effects.rows), ("positions", positions, effects.columns))
    return [
        tabulate(
            [
                [name, _shown(class_name, style), _points(one)]
                for (name, class_name), one in zip(parts, estimates, strict=True)
            ],
            headers=[kind, "class", "points"],
            tablefmt=style,
            disable_numparse=True,
            colalign=["left", "left", "right"],
        )
        for kind, parts, estimates in kinds
    ]


def _cell(row: Row) -> str:
    if row.is_fresh and row.score:
        return percent(row.score.value)
    return IMPOSSIBLE if row.standing.state in WITHOUT_RESULT else NOT_RUN


def _points(estimate: Estimate | None) -> str:
    if estimate is None:
        return NOTHING
    return f"{100 * estimate.value:+.1f} [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"


def _share(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.0f} % [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def _descending(estimate: Estimate | None) -> float:
    """The key that puts large effects first and missing ones last; rounded, as equal ones may differ in last bits."""
    return -round(estimate.value, 9) if estimate else 2.0


def _shown(label: str, style: str) -> str:
    return markdown(label, MAX_NAME) if style == "pipe" else plain(label, MAX_NAME)
