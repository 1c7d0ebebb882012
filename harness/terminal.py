"""Messages to the person at the terminal. Results go to stdout; everything else goes through here, to stderr."""

import os
import sys

from rich.console import Console


class _Messages(Console):
    def on_broken_pipe(self) -> None:
        """The reader is gone (`2>&1 | head`): the work goes on silently, and its records are kept."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


messages = _Messages(stderr=True)


def say(line: str, style: str = "") -> None:
    """Prints the line; text in it that comes from a submission or a record can neither style it nor move the cursor."""
    shown = "".join(character if character.isprintable() or character == "\n" else "?" for character in line)
    messages.print(shown.replace("##[", "# #["), style=style, markup=False, highlight=False, soft_wrap=True)


def counted(number: int, noun: str) -> str:
    """`1 trial`, `3 trials`"""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
