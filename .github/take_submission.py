"""Takes the one submission that a pull request proposes out of its commit, and nothing else.

    python .github/take_submission.py BASE HEAD --repository CLONE

Run in a checkout of the base commit: CLONE holds both commits and its work tree is never looked at. What the request
changed, from where it left BASE to HEAD, must be regular files of one folder of `submissions/`; they are written to
`./submissions/<name>/` in place of what is there. Anything else is refused with exit 1 and one line for each path.

Two lines go to stdout, as outputs of the workflow's step: `name=…`, and `existing=true` where BASE has the folder
already, so that others may borrow from it, `existing=false` where it is new.

The standard library only: this runs before anything is installed.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
REGULAR = {"100644", "100755"}
BYTE_CODE = (".pyc", ".pyo")
MAX_FILES = 64
MAX_BYTES = 64 * 1024
MAX_REFUSALS = 20


class Refusal(Exception):
    """Why the request cannot be taken; one line each."""


class File(NamedTuple):
    path: str
    blob: str
    size: int


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the one submission that a pull request proposes.")
    parser.add_argument("base")
    parser.add_argument("head")
    parser.add_argument("--repository", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        name = changed_folder(arguments.repository, arguments.base, arguments.head)
        files = files_of(arguments.repository, arguments.head, name)
    except Refusal as refusal:
        sys.exit(str(refusal))
    folder = Path("submissions") / name
    existing = folder.exists()
    write(arguments.repository, files, folder)
    print(f"name={name}\nexisting={'true' if existing else 'false'}")


def changed_folder(repository: Path, base: str, head: str) -> str:
    """The name of the one folder of `submissions/` in which everything lies that differs.

    Raises:
        Refusal: something else differs too, or nothing does, or the two commits have no common past.
    """
    start = where_it_left(repository, base, head)
    listing = git(repository, "diff", "--name-only", "-z", "--no-renames", "--end-of-options", start, head)
    paths = [path for path in listing.decode("utf-8", "surrogateescape").split("\0") if path]
    names: set[str] = set()
    refused: list[str] = []
    for path in paths:
        top, _, rest = path.partition("/")
        name, _, inside = rest.partition("/")
        if top == "submissions" and NAME.fullmatch(name) and inside:
            names.add(name)
        elif top == "submissions" and inside:
            rule = "a lower-case letter and up to 39 of a-z, 0-9 and _"
            refused.append(f"{path!a} is in no folder that can be a submission; its name is to be {rule}")
        else:
            refused.append(f"{path!a} is no file of a folder of submissions/; send the folder only")
    if len(names) > 1:
        refused.append(f"{len(names)} submissions change, {', '.join(sorted(names))}; send one at a time")
    if not paths:
        refused.append("the request changes nothing")
    if refused:
        raise Refusal("\n".join(refused[:MAX_REFUSALS]))
    return names.pop()


def where_it_left(repository: Path, base: str, head: str) -> str:
    """The commit at which `head` left `base`.

    Raises:
        Refusal: the two have no commit in common.
    """
    command = ["git", "-C", str(repository), "merge-base", "--end-of-options", base, head]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode == 1 and not done.stdout:
        raise Refusal(
            f"{head} has no commit in common with {base}; branch off the base branch, and add the folder there"
        )
    done.check_returncode()
    return done.stdout.decode().strip()


def files_of(repository: Path, commit: str, name: str) -> list[File]:
    """The files of `submissions/<name>` in the commit.

    Raises:
        Refusal: a symbolic link or a submodule, a path that leaves the folder, what the harness does not read, too many
            or too large files, or none.
    """
    listing = git(repository, "ls-tree", "-r", "-l", "-z", commit, f"submissions/{name}/")
    files: list[File] = []
    refused: list[str] = []
    for line in listing.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        (mode, kind, blob, size), path = line.partition("\t")[0].split(), line.partition("\t")[2]
        parts = path.split("/")
        if mode not in REGULAR or kind != "blob":
            refused.append(f"{path!a} is not a regular file; symbolic links and submodules are not taken")
        elif any(part in {"", ".", ".."} or not part.isprintable() or len(os.fsencode(part)) > 255 for part in parts):
            refused.append(f"{path!a} is not a name for a file; use letters, digits and _")
        elif any(part.startswith(".") or part == "__pycache__" for part in parts) or path.endswith(BYTE_CODE):
            # Nobody would see it: it may hide a diff, or be run by Python in place of the source beside it.
            refused.append(
                f"{path!a} is hidden or byte code, which the harness never reads; take it out of the request"
            )
        else:
            files.append(File(path.removeprefix(f"submissions/{name}/"), blob, int(size)))
    total = sum(file.size for file in files)
    if len(files) > MAX_FILES or total > MAX_BYTES:
        refused.append(f"{len(files)} files of {total} bytes; {MAX_FILES} files and {MAX_BYTES} bytes are allowed")
    if not files and not refused:
        refused.append(f"submissions/{name} is removed; a maintainer decides about that, not this check")
    if refused:
        raise Refusal("\n".join(refused[:MAX_REFUSALS]))
    return files


def write(repository: Path, files: list[File], folder: Path) -> None:
    """Writes the files into `folder`, in place of whatever is there; none is executable."""
    shutil.rmtree(folder, ignore_errors=True)
    for file in files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(git(repository, "cat-file", "blob", file.blob))


def git(repository: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(repository), *arguments], stdout=subprocess.PIPE, check=True).stdout


if __name__ == "__main__":
    main()
