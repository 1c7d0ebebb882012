"""Submissions that are the template of `harness new` with something of it replaced: the bad input of the tests."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from harness.commands.new import TEMPLATE
from harness.errors import SubmissionError
from harness.host.client import Host, Role
from harness.submissions import Submission, read_folder
from harness.track import Track

CODE = (TEMPLATE / "submission.py").read_text(encoding="utf-8")
MANIFEST = (TEMPLATE / "submission.yaml").read_text(encoding="utf-8")
ENCODE = "return [CHARACTERS.index(character) for character in text]"
PLACES = {
    "encode": ENCODE,
    "decode": 'return "".join(CHARACTERS[token_id] for token_id in token_ids if token_id < len(CHARACTERS))',
    "forward": "return Terms(embedding=self.table[None, :length])",
    "init": '"""`max_digits`: the most digits of an operand, for formats that need a width; characters do not."""',
}

TINY = Track.model_validate(
    {
        "name": "tiny",
        "summary": "A few steps of a model of a few weights: everything that a trial does, in a second.",
        "ranked": False,
        "seed": 1,
        "digits": [1],
        "seeds": [0],
        "model": {"d_model": 16, "num_heads": 2, "num_layers": 1, "feedforward": 16},
        "training": {"problems": 32, "epochs": 1, "batch_size": 16},
        "evaluation": {"fresh": 8, "test": 8, "curve": 8, "curve_points": 1},
    }
)


def write_tiny(path: Path, **changes: object) -> Path:
    """That track with `changes`, as a file at `path`."""
    path.write_text(yaml.safe_dump({**TINY.model_dump(mode="json", exclude_none=True), **changes}), encoding="utf-8")
    return path


def write_folder(root: Path, name: str, *, top: str = "", manifest: str = MANIFEST, **bodies: str) -> Path:
    """Writes `root/submissions/<name>`.

    Args:
        top: lines to stand before the template's.
        bodies: by a name of `PLACES`, the lines that replace that one.
    """
    code = CODE
    for place, body in bodies.items():
        assert code.count(PLACES[place]) == 1, f"the template changed: {place}"
        code = code.replace(PLACES[place], body.replace("\n", "\n        "))
    folder = root / "submissions" / name
    folder.mkdir(parents=True)
    (folder / "submission.py").write_text(f"{top}\n{code}", encoding="utf-8")
    (folder / "submission.yaml").write_text(manifest, encoding="utf-8")
    return folder


def make_submission(root: Path, name: str = "entry", *, top: str = "", **bodies: str) -> Submission:
    found = read_folder(write_folder(root, name, top=top, **bodies))
    assert isinstance(found, Submission), found
    return found


def is_running(process_id: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def descendants(process_id: int) -> set[int]:
    """Every process below `process_id` at this moment."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            below.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    pending = [process_id]
    while pending:
        children = below.get(pending.pop(), [])
        found.update(children)
        pending += children
    return found


def is_worker(process_id: int) -> bool:
    try:
        return b"harness.engines.start" in Path(f"/proc/{process_id}/cmdline").read_bytes()
    except OSError:  # it has ended since it was listed
        return False


def worker_below(process_id: int, *, with_hosts: bool, within_s: float = 120.0) -> int:
    """The first worker that appears below `process_id`; `with_hosts`: once it has started a process of its own."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        for worker in filter(is_worker, descendants(process_id)):
            if not with_hosts or descendants(worker):
                return worker
        time.sleep(0.01)
    raise AssertionError(f"no worker within {within_s:g} s")


def left_running(process_ids: Iterable[int], within_s: float = 10.0) -> set[int]:
    """Those that are still there after `within_s` seconds; returns as soon as there is none."""
    deadline = time.monotonic() + within_s
    left = set(process_ids) - {os.getpid()}
    while left and time.monotonic() < deadline:
        left = {process_id for process_id in left if is_running(process_id)}
        time.sleep(0.05)
    return left


def error_of(submission: Submission, *, role: Role = "answers", deadline_s: float | None = None) -> SubmissionError:
    """The one error that describing the vocabulary and encoding ends in."""
    with pytest.raises(SubmissionError) as caught, Host(submission, role, max_digits=2, deadline_s=deadline_s) as host:
        host.encode(["7+8=", "12"], host.describe())
    assert caught.value.submission == submission.name
    return caught.value
