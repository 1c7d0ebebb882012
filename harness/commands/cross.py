"""`harness cross`: trains every pair of a grid, and reports what tokenizers and positions each explain."""

from dataclasses import dataclass
from pathlib import Path

from harness.board.crossing import as_text, covers_page, crossing_of, page_path, render_crossing
from harness.commands.discovery import discovered
from harness.commands.execution import RunOptions, execute
from harness.cross import FOLDER, grid_of, plan_cross, rows_of_cross
from harness.definitions import find_track
from harness.errors import ExitCode, UsageError
from harness.fingerprint import harness_fingerprint
from harness.printable import counted
from harness.submissions import Broken
from harness.terminal import put, say


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The folders whose tokenizers and whose positions are crossed: those named, or all where none is."""

    tokenizers: list[str]
    positions: list[str]
    everything: bool
    """Whether all may be trained though neither list names any."""


def cross_folders(root: Path, choice: Choice, track: str, options: RunOptions) -> ExitCode:
    """Trains the pairs that are missing, and prints and writes the page of the grid; a dry run shows the plan alone.

    Args:
        track: a name or a path, as `find_track` takes it.

    Raises:
        UsageError: there is no such grid, or it is that of all folders and nobody asked for that.
    """
    results, harness = root / "results", harness_fingerprint()
    definition = find_track(track, results / FOLDER, results)
    loaded = definition.track
    found = discovered(root)
    grid = grid_of(found, choice.tokenizers, choice.positions)
    for entry in found if not (choice.tokenizers and choice.positions) else []:
        if isinstance(entry, Broken):
            say(f"not in the grid: {entry.error}", "red")
    planned = plan_cross(grid, found, loaded, results, harness, options.rerun)
    is_asked_for = choice.tokenizers or choice.positions or choice.everything or options.dry_run
    if planned.to_run and not is_asked_for:
        raise UsageError(
            f"the pairs of all folders take {counted(len(planned.to_run), 'trial')}: choose some with --tokenizers and "
            "--positions, see them with -n, or train every one with --all"
        )
    say(
        f"{counted(len(grid.tokenizers), 'tokenizer')} × {len(grid.positions)} positions; "
        + planned.summary(loaded.name, dry_run=options.dry_run)
    )
    code = execute(planned, definition, results / FOLDER, options)
    if options.dry_run:
        return code
    crossing = crossing_of(grid, loaded, rows_of_cross(grid, found, loaded, results, harness))
    put(as_text(crossing), end="")
    for path in render_crossing(crossing, root):
        say(f"wrote {path.relative_to(root)}")
    if not covers_page(crossing, root):
        kept = page_path(crossing, root).relative_to(root)
        say(f"{kept} shows a grid with other parts and stays as it is; delete it to have this grid there", "yellow")
    return code
