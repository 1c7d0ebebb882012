"""What a person at the terminal sees: results on stdout (`put`), everything else on stderr (`say`)."""

import os
import shlex
import sys
from pathlib import Path
from typing import TextIO

from rich.console import Console

from harness.printable import visible


class _Messages(Console):
    def on_broken_pipe(self) -> None:
        """The reader is gone (`2>&1 | head`): the work goes on silently, and its records are kept."""
        self.quiet = True
        _ignore(sys.stderr)


messages = _Messages(stderr=True)
_command = "harness"


def replace_closed_streams() -> None:
    """Opens /dev/null for every standard stream that was closed (`2>&-`).

    Otherwise what this process opens next would get the stream's number, and what it starts would take it for that.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode)  # noqa: SIM115, it stays open
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def ignore_stdout() -> None:
    """From here on what is printed to stdout, and what is still in its buffer, goes nowhere."""
    _ignore(sys.stdout)


def _ignore(stream: TextIO) -> None:
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


def work_in(directory: Path) -> None:
    """From here on, commands quoted in messages carry `-C DIR`, as this one did."""
    global _command
    _command = f"harness -C {shlex.quote(str(directory))}"


def to_be_typed(text: str) -> str:
    """The text with its commands, such as `harness run NAME`, as they work from where the person is."""
    return text.replace("`harness ", f"`{_command} ")


def say(line: str, style: str = "") -> None:
    """Prints a message to stderr; no text of strangers in it can style it, or steer the terminal."""
    line = visible(to_be_typed(line), keep="\n")
    messages.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def put(text: str, end: str = "\n") -> None:
    """Prints a result to stdout; no text of strangers in it can steer the terminal, or the workflow that runs this."""
    print(visible(text, keep="\n"), end=end, flush=True)
