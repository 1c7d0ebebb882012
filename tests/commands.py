"""Commands as a person types them: `harness` in a process of its own, and git without this machine's settings."""

import os
import subprocess
import sys
from pathlib import Path

from harness.records import Record, read

IDENTITY = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")


def harness(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", "-C", str(root), *arguments]
    env = {**os.environ, "COLUMNS": "200", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)


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
