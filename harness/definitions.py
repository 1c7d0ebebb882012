"""Where a track's definition is found: in the package, in a user's file, or kept beside the records made with it."""

import difflib
import re
from pathlib import Path
from typing import NamedTuple

from harness.errors import HarnessError, TrackError, UsageError
from harness.files import write_atomically
from harness.printable import quoted
from harness.submissions import NEAR
from harness.track import BUILT_IN, Track, built_in_names, load_track

KEPT = "track.yaml"


class Definition(NamedTuple):
    """A track, and the content of its file when it was read: the file may change or go while trials run."""

    track: Track
    content: bytes


def find_track(name_or_path: str, *results: Path) -> Definition:
    """The track's definition; one that is not built in is also found by name, once `results` keep its definition.

    Raises:
        UsageError: there is no such track, or the definition kept under that name is of another.
        TrackError: the file does not define a track.
    """
    may_be_kept = re.fullmatch("[a-z][a-z0-9_-]{0,39}", name_or_path) and name_or_path not in built_in_names()
    places = [folder / name_or_path / KEPT for folder in results if may_be_kept]
    kept = next((path for path in places if path.is_file()), None)
    try:
        found = _definition(name_or_path if kept is None else str(kept))
    except UsageError as error:
        own = {file.parent.name for folder in results for file in folder.glob(f"[!.]*/{KEPT}")}
        named = f"; with results here: {', '.join(sorted(map(quoted, own)))}" if own else ""
        near = difflib.get_close_matches(name_or_path, {*built_in_names(), *own}, n=1, cutoff=NEAR)
        meant = f"; did you mean {quoted(near[0])}?" if near else ""
        raise UsageError(f"{error}{named}{meant}") from error
    if kept is not None and found.track.name != name_or_path:
        other = found.track.name
        raise UsageError(f"{kept} defines a track of another name, {other}; give the path of the one you mean")
    return found


def _definition(name_or_path: str) -> Definition:
    """Both from the same spelling, as it was given: `quick/` and `./quick` are no names of a built-in track."""
    is_built_in = name_or_path in built_in_names()
    file = BUILT_IN / f"{name_or_path}.yaml" if is_built_in else Path(name_or_path)
    return Definition(load_track(name_or_path), file.read_bytes())


def argument_for(track: Track, results: Path) -> str:
    """What `--track` takes to find the track: its name, or FILE as long as no results keep its definition."""
    is_found = track.name in built_in_names() or (results / track.name / KEPT).is_file()
    return track.name if is_found else "FILE"


def track_of_records(results: Path, name: str) -> Track:
    """The built-in track of that name, or the definition that was kept beside its records.

    Raises:
        HarnessError: there is none, or it cannot be read.
    """
    if name in built_in_names():
        return load_track(name)
    kept = results / name / KEPT
    if not kept.is_file():
        remedy = f"`harness run --track FILE`, with the file that defines {name}, puts it back"
        raise HarnessError(f"no track has this name, and no definition stands at results/{name}/{KEPT}; {remedy}")
    track = load_track(str(kept))
    if track.name != name:
        remedy = f"rename the folder, or put the file that defines {name} there"
        raise HarnessError(f"results/{name}/{KEPT} defines a track of another name, {track.name}; {remedy}")
    return track


def keep_definition(definition: Definition, folder: Path, *, has_trials: bool) -> None:
    """Keeps the definition of a track that is not built in beside its records, which can then be read without its file.

    If no trials are to come, it replaces a stored definition only if the two have the same fingerprint (the summary,
    digits or seeds were edited), and a missing one only if there are records.
    """
    (track, content), kept = definition, folder / KEPT
    if track.name in built_in_names() or (kept.is_file() and kept.read_bytes() == content):
        return
    is_known = kept.is_file() or any(folder.glob("*/*.json"))
    if has_trials or (is_known and _fits(kept, track)):
        write_atomically(kept, content.decode())


def _fits(kept: Path, track: Track) -> bool:
    """Whether both definitions have the same fingerprint; a stored one that is missing or cannot be read fits any."""
    try:
        return load_track(str(kept)).fingerprint == track.fingerprint
    except (TrackError, UsageError):
        return True
