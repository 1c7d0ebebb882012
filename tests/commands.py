"""Commands as a person types them: `harness` in a process of its own, and git without this machine's settings."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

from harness import terminal
from harness.__main__ import main
from harness.engines.local import Worker, lending
from harness.records import Record, read

IDENTITY = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")


def harness(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", "-C", str(root), *arguments]
    env = {**os.environ, "COLUMNS": "200", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)


IDLE_WORKERS: list[Worker] = []
"""Workers without a job, between the tests that share them."""


def harness_here(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The same command in this process, whose workers are kept for the tests after it.

    Starting a worker and the processes that fork its hosts takes as long as a dozen tiny trials.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    code = typed_here(["-C", str(root), *arguments], stdout, stderr)
    return subprocess.CompletedProcess(["harness", *arguments], code, stdout.getvalue(), stderr.getvalue())


def typed_here(words: list[str], stdout: io.StringIO, stderr: io.StringIO) -> int:
    """Runs `harness` with these words in this process and its folder; returns the exit code."""
    with (
        mock.patch.object(sys, "argv", ["harness", *words]),
        lending(IDLE_WORKERS),
        mock.patch.object(terminal, "_command", terminal._command),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
    raise AssertionError("a command ends with its exit code")


def refused(result: subprocess.CompletedProcess[str], code: int, *expected: str) -> None:
    """One message of one line on stderr, nothing on stdout, no traceback."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for part in expected:
        assert part in result.stderr


def git(folder: Path, *arguments: str) -> str:
    """What it prints, without the end of the last line."""
    env = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    command = ["git", *IDENTITY, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=env).stdout.rstrip("\n")


def record_of(root: Path, name: str, track: str = "smoke", digits: int = 2) -> Record:
    """What the trial of seed 0 left."""
    found = read(root / "results" / track / name / f"d{digits}-s0.json")
    assert isinstance(found, Record), found
    return found
