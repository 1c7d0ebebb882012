"""`results/hacked.yaml`: rows that a maintainer has marked as hacked, each with a reason that the board shows."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from harness.documents import DocumentError, OneLine, read_yaml
from harness.errors import UsageError


def _real_date(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise ValueError("is no day of the calendar; write it as 2026-01-31") from error
    return text


class Hacked(BaseModel):
    """One row; it never ranks while it is marked, nor does whatever has its code."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    submission: Annotated[str, Field(min_length=1, max_length=80), OneLine]
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = None
    """Only of this version of the folder; of every version if there is none."""
    reason: Annotated[str, Field(min_length=1, max_length=300), OneLine]
    date: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), AfterValidator(_real_date)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rows: list[Hacked]


def read_hacked(results: Path) -> list[Hacked]:
    """What is marked; nothing where there is no such file.

    Raises:
        UsageError: the file cannot be used. A board that passed over it would rank what was marked.
    """
    path = results / "hacked.yaml"
    if not path.exists():
        return []
    try:
        return read_yaml(path, _File).rows
    except DocumentError as error:
        form = "rows: [{submission: NAME, reason: TEXT, date: 2026-01-31}], fingerprint optional"
        raise UsageError(f"results/hacked.yaml: {error}; it is read as `{form}`") from error


def mark_of(name: str, fingerprint: str | None, hacked: Sequence[Hacked], now: Mapping[str, str]) -> Hacked | None:
    """The first mark that means this version of the folder, by its name or by its code under another name.

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
