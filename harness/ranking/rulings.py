"""What maintainers ruled, each with a reason that the board shows: rows that are hacked, reviews that are cleared.

There are two files in `results/`. `hacked.yaml` takes a row, and whatever has its code, out of the ranking.
`cleared.yaml` says that a person looked at what an audit found doubtful, and that it is not a cheat; a broken rule
cannot be cleared.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Generic, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from harness.documents import DocumentError, OneLine, read_yaml
from harness.errors import UsageError
from harness.submissions import NAME, Broken, Submission, read_folder


def _real_date(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise ValueError("is not a calendar date; write it as 2026-01-31") from error
    return text


MAX_BYTES = 1024 * 1024
"""Thousands of rulings."""
Name = Annotated[str, Field(min_length=1, max_length=80), OneLine]
Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Reason = Annotated[str, Field(min_length=1, max_length=300), OneLine]
Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_real_date)]


class Hacked(BaseModel):
    """One marked row; it never ranks while it is marked, nor does whatever has its code."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    submission: Name
    fingerprint: Fingerprint | None = None
    """Marks only this version of the folder; without one, every version is marked."""
    reason: Reason
    date: Day


class Cleared(BaseModel):
    """Clears one rule's review of one version of a folder: its records rank as if the audit had found nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    submission: Name
    fingerprint: Fingerprint
    rule: Annotated[str, Field(pattern=r"^[A-Z][0-9]{2}$", description="a rule's id, such as T50")]
    reason: Reason
    date: Day


Ruling = TypeVar("Ruling", Hacked, Cleared)


class _File(BaseModel, Generic[Ruling]):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rows: list[Ruling]


class Rulings(NamedTuple):
    hacked: Sequence[Hacked] = ()
    cleared: Sequence[Cleared] = ()


NO_RULINGS = Rulings()


def read_rulings(results: Path) -> Rulings:
    """The rulings; none where there are no such files.

    Raises:
        UsageError: a file cannot be used. A board that ignored it would rank what was marked.
    """
    hacked_form = "rows: [{submission: NAME, reason: TEXT, date: 2026-01-31}], fingerprint optional"
    cleared_form = "rows: [{submission: NAME, fingerprint: DIGITS, rule: T50, reason: TEXT, date: 2026-01-31}]"
    return Rulings(
        hacked=_rows(results / "hacked.yaml", _File[Hacked], hacked_form),
        cleared=_rows(results / "cleared.yaml", _File[Cleared], cleared_form),
    )


def _rows(path: Path, model: type[_File[Ruling]], form: str) -> list[Ruling]:
    if not (path.exists() or path.is_symlink()):  # a link that leads nowhere cannot be read, which is an error
        return []
    try:
        return read_yaml(path, model, max_bytes=MAX_BYTES).rows
    except DocumentError as error:
        raise UsageError(f"results/{path.name}: {error}; it is read as `{form}`") from error


def cleared_of(fingerprint: str, rule: str, cleared: Sequence[Cleared]) -> Cleared | None:
    """The ruling that clears the rule's review for this version of a submission, under whatever name."""
    return next((one for one in cleared if (one.fingerprint, one.rule) == (fingerprint, rule)), None)


def marks_of(submissions: Sequence[Submission | Broken], hacked: Sequence[Hacked]) -> dict[str, Hacked]:
    """The marks, by name, of those that are marked themselves, copy one that is, or borrow a part from either.

    A folder that lends a part to a marked submission is not marked, nor are others that borrow the same part.
    """
    if not hacked:
        return {}
    now = _fingerprints(submissions, hacked)
    marks: dict[str, Hacked] = {}
    for entry in submissions:
        folders = {entry.name: entry.fingerprint} | {name: now[name] for name in entry.lenders if name in now}
        found = (mark_of(name, fingerprint, hacked, now) for name, fingerprint in folders.items())
        if mark := next(filter(None, found), None):
            marks[entry.name] = mark
    return marks


def _fingerprints(submissions: Sequence[Submission | Broken], hacked: Sequence[Hacked]) -> dict[str, str]:
    """Fingerprints by name: of those given, of the folders that they borrow from and of the marked ones beside them."""
    beside = {entry.folder.parent for entry in submissions if isinstance(entry, Submission)}
    names = {mark.submission for mark in hacked if NAME.fullmatch(mark.submission)}
    names |= {name for entry in submissions for name in entry.lenders}
    known = {entry.name: entry.fingerprint for entry in submissions}
    folders = [parent / name for parent in beside for name in names.difference(known)]
    return known | {folder.name: read_folder(folder).fingerprint for folder in folders if folder.is_dir()}


def mark_of(name: str, fingerprint: str | None, hacked: Sequence[Hacked], now: Mapping[str, str]) -> Hacked | None:
    """The first mark that applies to this version of the folder, by its name or by its code under another name.

    Args:
        fingerprint: None where the folder is gone.
        now: the fingerprints of the marked folders as they are, by name.
    """
    for mark in hacked:
        if mark.submission == name and mark.fingerprint in (None, fingerprint):
            return mark
        if fingerprint is not None and fingerprint == (mark.fingerprint or now.get(mark.submission)):
            return mark
    return None
