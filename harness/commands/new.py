"""Starts new submissions: copies the template, or another submission, into a folder of its own."""

import shutil
from pathlib import Path

import yaml

from harness.errors import MachineError, UsageError
from harness.printable import quoted
from harness.submissions import NAME, Broken, Submission, allowed_name, discover, folder_named, select

TEMPLATE = Path(__file__).parents[1] / "template"


def start_submission(root: Path, name: str, like: str | None) -> Path:
    """A folder that validates and trains as it stands.

    Args:
        name: of the folder, with `submissions/` before it or not.

    Raises:
        UsageError: the name is not allowed or is taken, there is no submission `like`, or `root` is among submissions.
        MachineError: the folder cannot be written.
    """
    name = folder_named(name)
    target = root / "submissions" / name
    if outer := _submissions_around(root):
        place = "itself" if outer == root else "inside"
        raise UsageError(f"{root} is {place} a folder of submissions; run in {outer.parent}, or name that with -C")
    if not NAME.fullmatch(name):
        near = allowed_name(name)
        raise UsageError(
            f"{quoted(name)} is not a name for a submission; use a lower-case letter and up to 39 of a-z, 0-9 and _"
            + (f"; {near} would do" if near else "")
        )
    source = TEMPLATE
    if like is not None:
        (original,) = select(discover(root), [like])
        if isinstance(original, Broken):
            raise UsageError(f"{original.error}; fix it, or start from another")
        source = original.folder
    try:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        manifest = target / "submission.yaml"
        mine = _in_my_name(manifest.read_text(encoding="utf-8"), name.replace("_", " ").capitalize())
        manifest.write_text(mine, encoding="utf-8")
    except FileExistsError as error:  # of the folder itself: whoever made it, it is left alone
        raise UsageError(f"{target} already exists; choose another name, or edit it") from error
    except OSError as error:
        # Nothing stood there before; half a copy would only be in the way of the next attempt.
        shutil.rmtree(target, ignore_errors=True)
        # copytree goes on after a file that it cannot copy, and lists all such at the end, as (source, target, why).
        why = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror
        remedy = f"make room, or make {root} a folder that you may write"
        raise MachineError(f"{target} could not be written: {why}; {remedy}") from error
    return target


def borrowed_parts(submission: Submission) -> list[str]:
    """How to make each part that lies in another folder one's own, one line for each."""
    lines: list[str] = []
    for key, part in (("tokenizer", submission.tokenizer), ("positions", submission.positions)):
        if part.folder == submission.folder:
            continue
        module = part.entry_point.partition(":")[0].replace(".", "/")
        lines.append(
            f"its {key}, {part.class_name}, is borrowed from submissions/{part.folder.name}/: to change it, copy "
            f"{module}.py from there to {key}.py here and write `{key}: {key}:{part.class_name}` in submission.yaml"
        )
    return lines


def _submissions_around(root: Path) -> Path | None:
    """The folder of submissions that `root` is or lies in, if any; a new one there would be part of another's code."""
    if root.name == "submissions" and not (root / "submissions").is_dir():
        return root
    outer = (folder for folder in root.parents if folder.name == "submissions")
    return next((folder for folder in outer if any(folder.glob("*/submission.yaml"))), None)


def _in_my_name(manifest: str, title: str) -> str:
    """The manifest with another title and the template's authors, all else as it is; either may span several lines."""
    authors = yaml.safe_load((TEMPLATE / "submission.yaml").read_text(encoding="utf-8"))["authors"]
    for key, text in (("title", title), ("authors", f"[{', '.join(authors)}]")):
        document = yaml.compose(manifest, yaml.SafeLoader)
        assert isinstance(document, yaml.MappingNode)
        value = next(value for name, value in document.value if name.value == key)
        end = "\n" if manifest[: value.end_mark.index].endswith("\n") else ""
        indent = "" if value.start_mark.column else "  "  # for a list whose dashes stand at the margin
        manifest = manifest[: value.start_mark.index] + indent + text + end + manifest[value.end_mark.index :]
    return manifest
