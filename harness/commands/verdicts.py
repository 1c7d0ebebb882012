"""How the audits' findings are shown: to people, to programs, to a workflow."""

import re
from collections.abc import Mapping, Sequence

from harness.printable import json_text, visible
from harness.rules import Finding, gates


def printed(verdicts: Mapping[str, Sequence[Finding]], output: str, copies: Sequence[Sequence[str]] = ()) -> str:
    """The findings as `text`, `json` or `github` annotations; one line each, by name; in text tags come first.

    Args:
        copies: names of submissions that have the same code, group by group; shown only in `json`.
    """
    rows = [(name, *finding) for name in sorted(verdicts) for finding in verdicts[name]]
    if output == "json":
        keys = ("submission", "rule", "level", "message")
        verdict = {name: not gates(found) for name, found in sorted(verdicts.items())}
        findings = [dict(zip(keys, row, strict=True)) for row in rows]
        return json_text({"valid": verdict, "findings": findings, "same_code": copies}) + "\n"
    if output == "github":
        return "".join(_annotation(*row) for row in rows)
    # What asks for no action comes first: a terminal still shows the end. Of a refused folder it is left out.
    rows = [row for row in rows if row[2] != "tag" or not gates(verdicts[row[0]])]
    rows.sort(key=lambda row: row[2] != "tag")
    return "".join(f"submissions/{name}: {rule} ({level}): {visible(message)}\n" for name, rule, level, message in rows)


def _annotation(name: str, rule: str, level: str, message: str) -> str:
    """A workflow command; nothing that a submission put into its name or the message can leave its field."""
    kind = {"gate": "error", "review": "warning"}.get(level, "notice")
    lender = re.match(r"in the borrowed submissions/([a-z0-9_]+):", message)
    place = re.search(r"([\w./-]+\.(?:py|yaml))(?::|,) lines? (\d+)\b", message)
    named, line = (place[1], f",line={place[2]}") if place else ("submission.yaml", "")
    file = _escaped(f"submissions/{lender[1] if lender else name}/{named}").replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} file={file}{line},title={rule}::{_escaped(message)}\n"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
