"""From the folders and the records to the files of the board; what has not changed is not touched."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

from harness.board.drawing import THEMES, Theme, draw, is_drawing_of
from harness.board.html import html_page
from harness.board.markdown import page, plot_path
from harness.board.plots import Plot, plots_of
from harness.board.section import Section
from harness.definitions import track_of_records
from harness.errors import HarnessError, RecordError, UsageError
from harness.files import write_atomically
from harness.fingerprint import harness_fingerprint
from harness.printable import quoted
from harness.ranking.rulings import Hacked, Rulings, read_rulings
from harness.ranking.scoring import rows_of
from harness.ranking.standing import State
from harness.records import Record, read_all
from harness.submissions import Broken, Submission, discover

FIRST = ("quick", "quick-seeds", "quick-length", "standard", "notebook", "length")
"""The default track comes first: whoever has just run something for the first time looks for it."""
LAST = ("smoke",)


def render(root: Path, *, check: bool = False) -> list[Path]:
    """Writes `leaderboard.md`, `leaderboard.html` and the plots; returns the files that differed.

    With `check` nothing is written.

    Raises:
        UsageError: there is no submission, or `results/hacked.yaml` or `cleared.yaml` cannot be used.
        MachineError: a file could not be written.
    """
    sections = sections_of(root)
    differing = [
        path
        for section in sections
        for plot in section.plots
        for theme in THEMES
        if update_plot(path := root / plot_path(section.name, plot, theme.name), plot, theme, check=check)
    ]
    texts = {"leaderboard.html": html_page(sections), "leaderboard.md": page(sections)}
    differing += [root / name for name, text in texts.items() if update_text(root / name, text, check=check)]
    return differing


def update_plot(path: Path, plot: Plot, theme: Theme, *, check: bool = False) -> bool:
    """Draws the plot anew if the file shows another or was edited; returns whether the file differed."""
    differs = not is_drawing_of(plot, theme, content_of(path))
    if differs and not check:
        write_atomically(path, draw(plot, theme))
    return differs


def update_text(path: Path, text: str, *, check: bool = False) -> bool:
    """Writes the text if the file holds another; returns whether the file differed."""
    differs = content_of(path) != text
    if differs and not check:
        write_atomically(path, text)
    return differs


def sections_of(root: Path) -> list[Section]:
    """A section for every track that has records, in the order of the page.

    Raises:
        UsageError: there is no submission, or a mark in `results/hacked.yaml` refers to nothing that exists.
    """
    submissions, results = discover(root), root / "results"
    rulings = read_rulings(results)
    found = {name: list(read_all(results, name)) for name in _track_names(results)}
    sections = [_section(results, name, submissions, records, rulings) for name, records in found.items()]
    known = {row.name for section in sections for row in (*section.rows, *section.never_run)}
    known |= {submission.name for submission in submissions}
    if unknown := [mark.submission for mark in rulings.hacked if mark.submission not in known]:
        names = ", ".join(map(ascii, unknown))
        raise UsageError(f"results/hacked.yaml marks {names}, which no folder and no record has; correct the name")
    _require_known_versions(rulings.hacked, submissions, chain.from_iterable(found.values()))
    return sections


def _require_known_versions(
    hacked: Sequence[Hacked], submissions: Sequence[Submission | Broken], records: Iterable[Record | RecordError]
) -> None:
    """Refuses a mark whose fingerprint no folder and no record has: what it should mark would rank.

    Raises:
        UsageError: there is such a mark.
    """
    marked = {mark.fingerprint: mark.submission for mark in hacked if mark.fingerprint}
    known = {submission.fingerprint for submission in submissions}
    known |= {record.fingerprints.submission for record in records if isinstance(record, Record)}
    if unknown := [
        f"{quoted(name)} at {fingerprint}" for fingerprint, name in marked.items() if fingerprint not in known
    ]:
        raise UsageError(
            f"results/hacked.yaml marks {', '.join(unknown)}, a fingerprint that no folder and no record has; "
            "correct it, leave it out to mark every version, or take away the mark of a version that is gone"
        )


def _track_names(results: Path) -> list[str]:
    """Folders that hold records, in the order of their sections."""
    names = {path.parents[1].name for path in results.glob("[!.]*/*/*.json")}
    custom = sorted(names.difference(FIRST, LAST))
    return [name for name in (*FIRST, *custom, *LAST) if name in names]


def _section(
    results: Path,
    name: str,
    submissions: Sequence[Submission | Broken],
    found: Sequence[Record | RecordError],
    rulings: Rulings,
) -> Section:
    try:
        track = track_of_records(results, name)
    except HarnessError as error:
        # The page must be the same wherever the root lies.
        reason = str(error).replace(str(results), "results")
        return Section(name=name, notice=f"Its records ({len(found)}) cannot be shown: {reason}")
    rows = rows_of(track, submissions, found, harness_fingerprint(), rulings)
    never_run = [row for row in rows if row.standing.state is State.NOT_RUN]
    run = [row for row in rows if row.standing.state is not State.NOT_RUN]
    return Section(name=name, track=track, rows=run, never_run=never_run, plots=plots_of(track, run))


def content_of(path: Path) -> str:
    """The file's text; empty where there is no file (a device, say, to which a link leads), or no text in it."""
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else ""
    except (OSError, UnicodeDecodeError):
        return ""
