"""Text of strangers made safe to print."""

import json
from typing import Any


def json_text(values: Any) -> str:
    """JSON in ASCII, with no `##[` in its strings."""
    return json.dumps(values, indent=1).replace("##[", "\\u0023#[")


def visible(text: str, *, instead: str = "?", keep: str = "") -> str:
    """The text with `instead` for controls, line ends, direction marks and all else unprintable, but for `keep`.

    GitHub takes `##[` anywhere in a job's output for a command, so that is taken apart.
    """
    shown = "".join(character if character.isprintable() or character in keep else instead for character in text)
    return shown.replace("##[", "# #[")
