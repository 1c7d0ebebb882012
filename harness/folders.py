"""Starts new submissions: copies the template, or another submission, into a folder of its own."""

import re
import shutil
from pathlib import Path

from harness.errors import MachineError, UsageError
from harness.submissions import NAME

TEMPLATE = Path(__file__).parent / "template"


def start_submission(root: Path, name: str, like: str | None) -> Path:
    """A folder that validates and trains as it stands.

    Raises:
        UsageError: the name is not one, is taken, or there is no submission `like`.
        MachineError: the folder cannot be written.
    """
    target = root / "submissions" / name
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a submission; take a lower-case letter and up to 39 of a-z, 0-9 and _"
        )
    if target.exists():
        raise UsageError(f"{target} is there already; choose another name, or edit it")
    source = TEMPLATE if like is None else root / "submissions" / like
    if not (source / "submission.yaml").is_file():
        raise UsageError(f"no submission {like!r} in {root / 'submissions'}; `harness list` names them")
    try:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        manifest = target / "submission.yaml"
        titled = re.sub(
            r"^title:.*$",
            f"title: {name.replace('_', ' ').capitalize()}",
            manifest.read_text(encoding="utf-8"),
            flags=re.M,
        )
        manifest.write_text(titled, encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{target} could not be written: {error.strerror}; make {root} writable") from error
    return target
