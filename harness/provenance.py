"""Where a record comes from: which submission, track and code, which device, versions and commit. Never loads torch."""

import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.errors import SubmissionError
from harness.fingerprint import harness_fingerprint
from harness.records import Environment, Fingerprints, Record
from harness.submissions import Submission
from harness.track import Track

CPU_NUMBERS = {"cpu family": "family", "model": "model", "CPU implementer": "implementer", "CPU part": "part"}
"""Fields of /proc/cpuinfo that tell a processor's model, on x86 and on Arm, and what they are called here."""


def identity(
    submission: Submission,
    track: Track,
    digits: int,
    seed: int,
    *,
    device_name: str,
    isolation: str,
    products: str | None = None,
) -> dict[str, Any]:
    """The fields of a record that are known before its trial runs."""
    return {
        "submission": submission.name,
        "track": track.name,
        "digits": digits,
        "seed": seed,
        "division": submission.division,
        "isolation": isolation,
        "settings": submission.manifest.hyperparameters.set_values(),
        "fingerprints": fingerprints_of(submission, track),
        "environment": _environment(device_name, products),
    }


def fingerprints_of(submission: Submission, track: Track) -> Fingerprints:
    """Of the code that is here now, by which a record of it is known."""
    return Fingerprints(submission=submission.fingerprint, track=track.fingerprint, harness=harness_fingerprint())


def failed_record(
    submission: Submission,
    track: Track,
    digits: int,
    seed: int,
    error: SubmissionError,
    *,
    device_name: str,
    isolation: str,
) -> Record:
    """The record of a trial that could not be finished because of its submission."""
    reason = f"{error.rule}: {error.message}"[:1000]
    known = identity(submission, track, digits, seed, device_name=device_name, isolation=isolation)
    return Record(**known, status="failed", reason=reason, fresh_seed=0).sealed()


def _environment(device_name: str, products: str | None) -> Environment:
    commit, dirty = commit_and_changes()
    return Environment(
        device=device_name,
        products=products,
        torch=metadata.version("torch"),
        python=platform.python_version(),
        commit=commit,
        dirty=dirty,
    )


def may_be_one_device(one: str, other: str) -> bool:
    """Whether both names may be one device's: records from before models were told have the shorter one."""
    shorter, longer = sorted((one, other), key=len)
    return one == other or longer.startswith(f"{shorter} (")


def cpu_name() -> str:
    """`CPU: AMD EPYC (family 25, model 1)`, or the architecture where the system does not name the processor.

    A hosted machine often hides all but the product line, whose generations round differently.
    """
    if sys.platform != "linux":
        return f"CPU: {platform.machine()}"
    first, *_ = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    numbers = ", ".join(f"{what} {fields[key]}" for key, what in CPU_NUMBERS.items() if key in fields)
    return f"CPU: {fields.get('model name', platform.machine())}" + (f" ({numbers})" if numbers else "")


@cache
def commit_and_changes() -> tuple[str | None, bool | None]:
    """Commit of the harness and whether its code was changed since; None where git does not track it.

    Git does not, for example, if it is installed into an environment that lies in some other checkout.
    """
    folder = Path(__file__).parent
    try:
        _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        # Untracked files too, whatever the user's settings show of them.
        return commit, bool(_git(folder, "status", "--porcelain", "--untracked-files", "--", "."))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(folder: Path, *arguments: str) -> str:
    # Without locks, which `git status` takes to refresh the index: a commit made at the same time would fail.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=True).stdout.strip()
