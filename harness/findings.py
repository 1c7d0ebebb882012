"""How the audits' findings are shown: to people, to programs, to a workflow; and which folders a change touched."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.documents import visible
from harness.errors import UsageError
from harness.rules import Found, gates
from harness.submissions import Broken, Submission, shown_name


def printed(verdicts: Mapping[str, Sequence[Found]], output: str) -> str:
    """The findings as `text`, `json` or `github` annotations; one line each, by name; as text the tags of all first."""
    rows = [(name, *finding) for name in sorted(verdicts) for finding in verdicts[name]]
    if output == "json":
        keys = ("submission", "rule", "level", "message")
        verdict = {name: not gates(found) for name, found in sorted(verdicts.items())}
        return (
            json.dumps({"valid": verdict, "findings": [dict(zip(keys, row, strict=True)) for row in rows]}, indent=1)
            + "\n"
        )
    if output == "github":
        return "".join(_annotation(*row) for row in rows)
    rows.sort(key=lambda row: row[2] != "tag")  # what asks for nothing first: the end is what a terminal still shows
    return "".join(f"submissions/{name}: {rule} ({level}): {visible(message)}\n" for name, rule, level, message in rows)


def changed_since(root: Path, ref: str, found: Sequence[Submission | Broken]) -> list[Submission | Broken]:
    """Those whose folders, or folders they borrow from, differ from the commit where this branch left `ref`.

    Uncommitted changes are included.

    Raises:
        UsageError: not a git checkout, no such ref, or no git.
    """
    differing = ["diff", "--name-only", "-z", "--no-renames", "--relative", "--merge-base", "--end-of-options", ref]
    untracked = ["ls-files", "-z", "--others", "--exclude-standard"]
    paths: list[str] = []
    for listing in (differing, untracked):
        try:
            git = ["git", "-C", str(root), *listing, "--", "submissions"]
            paths += os.fsdecode(subprocess.run(git, capture_output=True, check=True).stdout).split("\0")
        except FileNotFoundError as error:
            raise UsageError(f"--changed {ref}: there is no git here; name the submissions instead") from error
        except subprocess.CalledProcessError as error:
            reason = visible((os.fsdecode(error.stderr).strip().splitlines() or ["git failed"])[0])
            raise UsageError(f"--changed {ref}: {reason}; name a commit or branch of this checkout") from error
    folders = {shown_name(path.split("/")[1]) for path in paths if path.startswith("submissions/")}
    return [entry for entry in found if folders & _folders_of(entry)]


def _folders_of(entry: Submission | Broken) -> set[str]:
    borrowed = {entry.tokenizer.folder.name, entry.positions.folder.name} if isinstance(entry, Submission) else set()
    return {entry.name, *borrowed}


def _annotation(name: str, rule: str, level: str, message: str) -> str:
    """A workflow command; whatever a submission put into its name or the message stays where it belongs."""
    kind = {"gate": "error", "review": "warning"}.get(level, "notice")
    file = _escaped(f"submissions/{name}/submission.yaml").replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} file={file},title={rule}::{_escaped(message)}\n"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
