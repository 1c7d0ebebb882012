"""The folders that a verb works on."""

from pathlib import Path

from harness.submissions import Broken, Submission, discover, loose_files, shown_name
from harness.terminal import say


def discovered(root: Path) -> list[Submission | Broken]:
    """The submissions; mentions what lies beside them and is not one.

    Raises:
        UsageError: there is no `submissions/`, or nothing in it.
    """
    found = discover(root)
    if ignored := loose_files(root):
        say(f"ignored, since a submission is a folder: {', '.join(map(shown_name, ignored))}")
    return found
