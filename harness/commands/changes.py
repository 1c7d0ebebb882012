"""Which submissions a change touched, according to git."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.errors import UsageError
from harness.printable import visible
from harness.submissions import FOR_PEOPLE, Broken, Submission, shown_name


def changed_since(root: Path, ref: str, found: Sequence[Submission | Broken]) -> list[Submission | Broken]:
    """Those whose folders, or folders they borrow from, differ from the commit where this branch left `ref`.

    Uncommitted changes are included, except for files that .gitignore hides.

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
            remedy = "name a commit or branch of this checkout"
            if "no merge base" in reason:
                remedy += "; if it is a shallow one, fetch more of its history (fetch-depth: 0)"
            if subprocess.run(["git", "-C", str(root), "rev-parse"], capture_output=True).returncode != 0:
                reason, remedy = f"{root} is not a git checkout", "name the submissions instead"
            raise UsageError(f"--changed {ref}: {reason}; {remedy}") from error
    changed = [Path(path).parts[1:] for path in paths if path.startswith("submissions/")]
    folders = {shown_name(parts[0]) for parts in changed}
    lenders = {shown_name(parts[0]) for parts in changed if "/".join(parts[1:]) not in FOR_PEOPLE}
    return [entry for entry in found if entry.name in folders or lenders & entry.lenders]
