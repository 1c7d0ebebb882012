"""The folders in `submissions/`: found, read and digested, never imported."""

import difflib
import hashlib
import json
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from harness.documents import DocumentError, OneLine, read_yaml
from harness.errors import SubmissionError, UsageError
from harness.hyperparameters import Hyperparameters
from harness.printable import quoted
from harness.track import ModelDefinition, TrainingDefinition

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
MAX_FOLDER_BYTES = 64 * 1024
MAX_FILES = 64
MAX_NAMED = 12
"""How many submissions a message lists at most."""
NEAR = 0.75
"""How alike (`difflib`, 0 to 1) a name must be to the one that was given to be asked about. At difflib's own 0.6, short
names that only share an ending would be."""
MAX_SHOWN_NAME = 60
"""Characters shown of a folder's name that is not a valid one."""
WEB_ADDRESS = r"^https?://[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]{1,300}$"
ENTRY_POINT = r"^([a-z][a-z0-9_]{0,39}/)?[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
"""`module:Class` in the folder itself, or `folder/module:Class` in another folder of `submissions/`."""
EntryPoint = Annotated[
    str, Field(pattern=ENTRY_POINT, description="module:Class, such as submission:Characters, or folder/module:Class")
]
WebAddress = Annotated[str, Field(pattern=WEB_ADDRESS, description="an address that begins with https:// or http://")]
FOR_PEOPLE = frozenset({"README.md", "submission.yaml"})
"""Files that no host is given, so that rewording them makes no record stale."""


class Manifest(BaseModel):
    """The content of `submission.yaml`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    title: Annotated[str, Field(min_length=1, max_length=80), OneLine]
    authors: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=80), OneLine]], Field(min_length=1, max_length=20)
    ]
    summary: Annotated[str, Field(min_length=1, max_length=400), OneLine]
    tokenizer: EntryPoint = "submission:Tokenizer"
    positions: EntryPoint = "submission:PositionalEmbedding"
    reference: WebAddress | None = None
    hyperparameters: Hyperparameters = Hyperparameters()

    @property
    def lenders(self) -> frozenset[str]:
        """The names of the folders that it borrows from."""
        named = (entry_point.rpartition("/")[0] for entry_point in (self.tokenizer, self.positions))
        return frozenset(filter(None, named))


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One of the two classes of a submission, and all that its code may read: the files of the folder it lies in."""

    folder: Path
    entry_point: str
    """`module:Class`, inside the folder."""
    files: Mapping[str, bytes]
    """Contents by relative path, read only once, so that what is digested is what runs."""

    @property
    def fingerprint(self) -> str:
        """Hex digest of the entry point and of the files."""
        return _digest(self.entry_point, self.files)

    @property
    def class_name(self) -> str:
        return self.entry_point.partition(":")[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """A folder that can be read; whether its code keeps the contract is for the audits to say."""

    name: str
    folder: Path
    manifest: Manifest
    tokenizer: Part
    positions: Part
    crossed_with: Path | None = None
    """For a `pair`: the folder whose positions it takes."""

    @property
    def fingerprint(self) -> str:
        """Hex digest of everything in it that can change a score: both parts, and the hyper-parameters."""
        parts = {"tokenizer": self.tokenizer.fingerprint, "positions": self.positions.fingerprint}
        return _digest(json.dumps([parts, self.manifest.hyperparameters.set_values()], sort_keys=True), {})

    @property
    def lenders(self) -> frozenset[str]:
        """The names of the other folders that its parts lie in; for a pair, of both folders."""
        return frozenset(part.folder.name for part in (self.tokenizer, self.positions)) - {self.name}

    @property
    def division(self) -> str:
        return "open" if self.manifest.hyperparameters.set_values() else "closed"

    def dropout(self, frozen: ModelDefinition) -> float:
        """The model's dropout: the track's, unless the submission sets its own."""
        return self.manifest.hyperparameters.dropout_in(frozen)

    def training(self, frozen: TrainingDefinition) -> TrainingDefinition:
        """The track's training definition, overridden by what the submission sets itself.

        Raises:
            SubmissionError: more epochs than the track gives everyone.
        """
        try:
            return self.manifest.hyperparameters.applied_to(frozen)
        except ValueError as error:
            raise SubmissionError(self.name, "T00", str(error)) from error


@dataclass(frozen=True, slots=True)
class Broken:
    """A folder that cannot be read as a submission; it still has a row on the board."""

    name: str
    folder: Path
    error: SubmissionError
    fingerprint: str
    lenders: frozenset[str] = frozenset()
    """The names of the folders that it would borrow from, as far as its manifest tells."""


def discover(root: Path) -> list[Submission | Broken]:
    """Reads every folder in `root/submissions`, in order of name.

    Raises:
        UsageError: there is no `submissions/`, or nothing in it.
    """
    submissions = root / "submissions"
    if not submissions.is_dir():
        raise UsageError(f"no folder {submissions}; run where `submissions/` is, or give its parent with -C DIR")
    folders = sorted(path for path in submissions.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    if not folders:
        raise UsageError(f"{submissions} holds no folder; start one with `harness new NAME`")
    return [read_folder(folder) for folder in folders]


def loose_files(root: Path) -> list[str]:
    """Names in `root/submissions` that are not folders, such as an archive nobody unpacked; a README is fine."""
    beside = [path.name for path in (root / "submissions").iterdir() if not path.is_dir()]
    return sorted(name for name in beside if name != "README.md" and not name.startswith("."))


def same_code(found: Iterable[Submission | Broken]) -> list[list[str]]:
    """Names of submissions, in groups with the same code and settings, which would score the same.

    Whoever runs a class or a competition wants to know about copies. Line ends do not count: an editor may change them.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for entry in found:
        if isinstance(entry, Submission):
            groups[_with_plain_line_ends(entry).fingerprint].append(entry.name)
    return [names for names in groups.values() if len(names) > 1]


def _with_plain_line_ends(submission: Submission) -> Submission:
    tokenizer, positions = (
        replace(part, files={name: content.replace(b"\r\n", b"\n") for name, content in part.files.items()})
        for part in (submission.tokenizer, submission.positions)
    )
    return replace(submission, tokenizer=tokenizer, positions=positions)


def pair(one: Submission, other: Submission) -> Submission:
    """The tokenizer of `one` with the positions of `other`, trained as the track says."""
    manifest = Manifest(
        title=f"{one.name} with {other.name}"[:80],
        authors=list(dict.fromkeys([*one.manifest.authors, *other.manifest.authors]))[:20],
        summary=f"The tokenizer of {one.name} with the positions of {other.name}.",
        tokenizer=one.manifest.tokenizer,
        positions=other.manifest.positions,
    )
    return Submission(
        name=f"{one.name}+{other.name}",
        folder=one.folder,
        manifest=manifest,
        tokenizer=one.tokenizer,
        positions=other.positions,
        crossed_with=other.folder,
    )


def select(found: list[Submission | Broken], names: list[str]) -> list[Submission | Broken]:
    """The entries of `found` that are named, in the order of `found`; all of them if `names` is empty.

    Args:
        names: each a folder's name, with `submissions/` before it or not, or a path that leads to it from here.

    Raises:
        UsageError: a name that no folder has.
    """
    known = {entry.name for entry in found}
    # Not `Path.resolve`, which raises a RuntimeError for a link that leads to itself before Python 3.13.
    by_place = {os.path.realpath(entry.folder): entry.name for entry in found}
    shown = {name: shown_name(folder_named(name)) for name in names}
    wanted = {name: one if one in known else by_place.get(os.path.realpath(name), one) for name, one in shown.items()}
    if unknown := [folder_named(name) for name in names if wanted[name] not in known]:
        ends = Path(unknown[0]).parts[-2:]  # the last may be a file of the folder
        found_near = (name for end in ends for name in difflib.get_close_matches(end, known, n=3, cutoff=NEAR))
        near = list(dict.fromkeys(found_near))
        meant = f"did you mean {', '.join(near)}? " if near else ""
        some = ", ".join(sorted(known)[:MAX_NAMED])
        more = f", and {len(known) - MAX_NAMED} more (`harness list`)" if len(known) > MAX_NAMED else ""
        plural = "s" if len(unknown) > 1 else ""
        raise UsageError(f"no submission{plural} {', '.join(map(quoted, unknown))}; {meant}there are: {some}{more}")
    return [entry for entry in found if not names or entry.name in wanted.values()]


def folder_named(argument: str) -> str:
    """The name of a folder given as a shell completes it: `submissions/mine/` or `./submissions/mine`."""
    return argument.rstrip("/").removeprefix("./").removeprefix("submissions/")


def the_one(found: list[Submission | Broken], name: str) -> Submission:
    """The submission of that name.

    Raises:
        UsageError: no folder has the name, or the one that has it cannot be read.
    """
    (entry,) = select(found, [name])
    if isinstance(entry, Broken):
        raise UsageError(f"{entry.error}; fix it first")
    return entry


def shown_name(folder_name: str) -> str:
    """The folder's name, safe to show.

    A hostile one is quoted, so that it cannot draw on a terminal or a board, and a long one ends in a digest, so that
    no other folder is shown by the same name.
    """
    shown = folder_name if NAME.fullmatch(folder_name) else quoted(folder_name)
    if len(shown) <= MAX_SHOWN_NAME:
        return shown
    return f"{shown[: MAX_SHOWN_NAME - 10]}…{hashlib.sha256(os.fsencode(folder_name)).hexdigest()[:8]}"


def allowed_name(folder_name: str) -> str | None:
    """The allowed name that is nearest to one that is not, if there is one: `my_idea` for `My-Idea`."""
    letters = unicodedata.normalize("NFKD", folder_name).encode("ascii", "ignore").decode()  # é -> e
    near = re.sub(r"[^a-z0-9]+", "_", letters.lower()).strip("_")[:40]
    return near if NAME.fullmatch(near) else None


def read_folder(folder: Path) -> Submission | Broken:
    """The folder as a submission, or what is wrong with it (rule T00)."""
    problems: list[str] = []
    files: dict[str, bytes] = {}
    lenders: frozenset[str] = frozenset()
    if not NAME.fullmatch(folder.name):
        near = allowed_name(folder.name)
        rename = f"rename it, to {near} say" if near else "rename it"
        problems.append(
            f"the folder's name is not a lower-case letter followed by up to 39 of a-z, 0-9 and _; {rename}"
        )
    if folder.is_symlink():
        problems.append("is a symbolic link; put the folder itself into submissions/")
    else:
        files, problems_of_files = _read_files(folder)
        problems += problems_of_files
    if not problems and "submission.yaml" not in files:
        problems.append(_without_manifest(files))
    if not problems:
        try:
            manifest = read_yaml(folder / "submission.yaml", Manifest)
            lenders = manifest.lenders
            tokenizer = _part("tokenizer", manifest.tokenizer, folder, files)
            positions = _part("positions", manifest.positions, folder, files)
            return Submission(
                name=folder.name, folder=folder, manifest=manifest, tokenizer=tokenizer, positions=positions
            )
        except DocumentError as error:
            problems.append(f"submission.yaml: {error}")
    name = shown_name(folder.name)
    return Broken(name, folder, SubmissionError(name, "T00", "; ".join(problems)), _digest("", files), lenders)


def _without_manifest(files: Mapping[str, bytes]) -> str:
    alike = [name for name in files if name.lower().endswith(("submission.yaml", "submission.yml"))]
    notebooks = [name for name in files if name.endswith(".ipynb")]
    remedy = "copy that of another folder, or start with `harness new`"
    if alike:
        folder = alike[0].rpartition("/")[0]
        remedy = (
            f"move everything in {quoted(f'{folder}/')} up into this folder" if folder else f"rename {quoted(alike[0])}"
        )
    elif notebooks:
        remedy = f"start with `harness new` and copy the classes from {quoted(notebooks[0])} into its submission.py"
    return f"holds no submission.yaml; {remedy}"


def _part(key: str, entry_point: str, folder: Path, files: dict[str, bytes]) -> Part:
    """The part that the manifest's `key` names, in the folder itself or in the one it borrows from.

    Raises:
        DocumentError: the other folder does not exist or cannot be read.
    """
    lender, _, own = entry_point.rpartition("/")
    if lender and lender != folder.name:
        folder = folder.parent / lender
        if folder.is_symlink() or not folder.is_dir():
            remedy = "copy it in, or name one of `harness list`"
            raise DocumentError(f"`{key}` borrows from submissions/{lender}, and there is no such folder; {remedy}")
        files, problems = _read_files(folder)
        if problems:
            raise DocumentError(f"`{key}` borrows from submissions/{lender}: {problems[0]}")
    code = {name: content for name, content in files.items() if name not in FOR_PEOPLE}
    return Part(folder=folder, entry_point=own, files=code)


def _digest(heading: str, files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256(f"{heading}/".encode())
    for name, content in sorted(files.items()):
        digest.update(os.fsencode(f"{len(name)}/{name}/{len(content)}/") + content)
    return digest.hexdigest()[:16]


def _read_files(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """The folder's text files by relative path, and what it holds that is not allowed."""
    try:
        return _walked(folder)
    except OSError as error:
        place = os.path.relpath(error.filename, folder) if error.filename else "."
        return {}, [f"{quoted(place[:80])} cannot be read: {error.strerror}; remove it or make it readable"]


def _walked(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    files: dict[str, bytes] = {}
    pending, size = [folder], 0
    while pending:
        for path in sorted(pending.pop().iterdir()):
            name = path.relative_to(folder).as_posix()
            if path.name == "__pycache__" or path.name.startswith("."):
                continue  # left behind by Python, an editor or the system; none of it can be imported
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                return files, [f"{quoted(name)} is not a regular file; only text files and folders are allowed"]
            if path.is_dir():
                pending.append(path)
                continue
            size += path.stat().st_size
            if size > MAX_FOLDER_BYTES:
                return files, [
                    f"holds more than {MAX_FOLDER_BYTES // 1024} KiB, with {quoted(name)}; keep only the code"
                ]
            if len(files) >= MAX_FILES:
                return files, [f"holds more than {MAX_FILES} files, with {quoted(name)}; keep only the code"]
            files[name] = path.read_bytes()
            try:
                files[name].decode("utf-8")
            except UnicodeDecodeError:
                return files, [f"{quoted(name)} is not UTF-8 text; save it as UTF-8, or remove it if it is not text"]
    return files, []
