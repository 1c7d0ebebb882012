"""How a host says no: the exception that becomes its answer, and what it tells of an error in a submission's code."""

import os
import traceback
from pathlib import Path


class Refused(Exception):
    """An answer that breaks the contract, with the rule and what was wrong."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


def describe(error: BaseException, folder: str) -> str:
    """`submission.py, line 12, in encode: KeyError: 'x'`: the last line of the submission that was running."""
    message = "".join(traceback.format_exception_only(error)).strip().splitlines()[0][:400]
    place = ""
    if isinstance(error, SystemExit):
        message = f"the code called exit ({error.code!r}); remove the call"
    if isinstance(error, ImportError):
        message += "; a submission has the standard library, torch, numpy, harness.protocol and its own files"
    if isinstance(error, SyntaxError):  # its text begins with the file's path, and the traceback has no frame for it
        code = f", `{' '.join(error.text.split())[:80]}`" if error.text else ""
        message = f"{type(error).__name__}: {error.msg}{code}"
        line = f", line {error.lineno}" if error.lineno else ""
        place = f"{Path(error.filename or '').name}{line}: "
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(folder):
            place = f"{os.path.relpath(frame.filename, folder)}, line {frame.lineno}, in {frame.name}: "
    return place + message
