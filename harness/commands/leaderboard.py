"""`harness leaderboard`: renders the board, or tells whether it is up to date."""

from pathlib import Path

from harness.board.rendering import render
from harness.errors import ExitCode
from harness.terminal import put, say


def render_board(root: Path, *, check: bool) -> ExitCode:
    """Tells each page that was written, or with `check` each that would be."""
    differing = [path.relative_to(root) for path in render(root, check=check)]
    if not (root / "results").is_dir():
        say(f"there is no folder {root / 'results'}, so the board has no results; `harness run` fills it", "yellow")
    if not differing:
        say("leaderboard.md is up to date")
    for path in differing:
        put(f"{'differs' if check else 'wrote'} {path}")
    if check and differing:
        say("the board does not match the records; run `harness leaderboard`", "red")
        return ExitCode.NEGATIVE
    return ExitCode.DONE
