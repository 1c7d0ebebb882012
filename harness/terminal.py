"""What the harness says to the person who called it. Results go to stdout, everything else here, to stderr."""

from rich.console import Console

messages = Console(stderr=True)


def say(line: str, style: str = "") -> None:
    """Prints the line as it is: a submission's text in it cannot style it."""
    messages.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def counted(number: int, noun: str) -> str:
    """`1 trial`, `3 trials`"""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
