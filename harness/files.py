"""Files that are written whole or not at all."""

import os
import tempfile
from itertools import count
from pathlib import Path

from harness.errors import MachineError


def write_atomically(path: Path, text: str) -> None:
    """Writes `path` and makes its folder; nobody sees half a file, and a full disk destroys nothing that was there.

    Raises:
        MachineError: the disk is full, or the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, text)
    except OSError as error:
        remedy = "make room, or make the folder one that you may write"
        raise MachineError(f"{path} could not be written: {error.strerror}; {remedy}") from error


def require_writable(folder: Path) -> None:
    """Makes the folder and tries to write in it, so that no training ends in a record that cannot be kept.

    Raises:
        MachineError: the folder cannot be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        remedy = "make it a folder that you may write, or work elsewhere with -C DIR"
        raise MachineError(f"{folder} cannot be written: {error.strerror}; {remedy}") from error


def replace(path: Path, text: str) -> None:
    """Writes a file beside `path` and renames it, so that a reader sees the old file or the new one.

    That holds after a power cut too.

    Raises:
        OSError: the file cannot be written; then nothing is left beside `path`.
    """
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())  # else a power cut after the renaming may leave an empty file
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def free_name(path: Path) -> Path:
    """The first of `path`, `path-2`, `path-3` … that does not exist yet."""
    names = (path if number == 1 else path.with_name(f"{path.name}-{number}") for number in count(1))
    return next(name for name in names if not name.exists())
