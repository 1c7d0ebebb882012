"""How the audits' findings are shown: to people, to programs, to a workflow; and which folders a change touched."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import UsageError
from harness.submissions import Broken, Submission

Findings = Mapping[str, Sequence[tuple[str, str, str]]]
"""(rule, level, message) by submission."""


def printed(verdicts: Findings, output: str) -> str:
    """The findings as `text`, `json` or `github` annotations; one line each, none for valid submissions."""
    rows = [(name, *finding) for name, findings in verdicts.items() for finding in findings]
    if output == "json":
        keys = ("submission", "rule", "level", "message")
        verdict = {name: not any(level == "gate" for _, level, _ in found) for name, found in verdicts.items()}
        return (
            json.dumps({"valid": verdict, "findings": [dict(zip(keys, row, strict=True)) for row in rows]}, indent=1)
            + "\n"
        )
    if output == "github":
        return "".join(_annotation(*row) for row in rows)
    return "".join(f"submissions/{name}: {rule} ({level}): {message}\n" for name, rule, level, message in rows)


def changed_since(root: Path, ref: str, found: Sequence[Submission | Broken]) -> list[Submission | Broken]:
    """Those whose folders differ from the commit where this branch left `ref`, uncommitted changes included.

    Raises:
        UsageError: not a git checkout, or no such ref.
    """
    command = [
        "git",
        "-C",
        str(root),
        "diff",
        "--name-only",
        "--relative",
        "--merge-base",
        "--end-of-options",
        ref,
        "--",
    ]
    untracked = ["git", "-C", str(root), "ls-files", "--others", "--exclude-standard", "--", "submissions"]
    lines: list[str] = []
    for listing in ([*command, "submissions"], untracked):
        try:
            lines += subprocess.run(listing, capture_output=True, text=True, check=True).stdout.splitlines()
        except subprocess.CalledProcessError as error:
            reason = error.stderr.strip().splitlines()[0] if error.stderr.strip() else "git failed"
            raise UsageError(f"--changed {ref}: {reason}; name a commit or branch of this checkout") from error
    folders = {line.split("/")[1] for line in lines if line.startswith("submissions/")}
    return [entry for entry in found if entry.name in folders]


def _annotation(name: str, rule: str, level: str, message: str) -> str:
    """A workflow command; whatever a submission put into the message stays inside its one line."""
    kind = {"gate": "error", "review": "warning"}.get(level, "notice")
    escaped = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{kind} file=submissions/{name}/submission.yaml,title={rule}::{escaped}\n"
