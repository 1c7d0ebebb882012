"""How many jobs run at a time, and how many seeds in one: a trial a core on a CPU, seeds side by side on a GPU."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_records import make_submission, make_track

from harness.commands import watching
from harness.commands.watching import MAX_SEEDS_A_JOB, watch_trials
from harness.plan import PlannedTrial

TRACK = make_track(digits=[3], seeds=[0])


@pytest.mark.parametrize(
    ("device", "has_gpu", "asked", "jobs", "seeds"),
    [
        ("cpu", True, None, 6, 1),
        ("cpu", True, 3, 3, 1),
        ("auto", False, None, 6, 1),
        ("auto", True, None, 2, MAX_SEEDS_A_JOB),
        ("cuda", False, None, 2, MAX_SEEDS_A_JOB),
        ("cuda", True, 5, 5, MAX_SEEDS_A_JOB),
    ],
)
def test_jobs_and_seeds_of_a_job_follow_the_device(
    device: Any,
    has_gpu: bool,
    asked: int | None,
    jobs: int,
    seeds: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With nothing run: most of these machines are not this one."""
    given: dict[str, Any] = {}

    def run_trials(*_: object, **arguments: Any) -> Iterator[None]:
        given.update(arguments)
        return iter(())

    monkeypatch.setattr(watching, "run_trials", run_trials)
    monkeypatch.setattr(watching, "_has_gpu", lambda: has_gpu)
    monkeypatch.setattr(watching, "num_cores", lambda: 6)
    trials = [PlannedTrial(make_submission(tmp_path, "one"), 3, 0, "missing")]
    watch_trials(trials, TRACK, tmp_path / "results", device=device, num_workers=asked)
    assert (given["num_workers"], given["max_seeds"]) == (jobs, seeds)


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_gpu_that_the_environment_hides_is_none(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching.metadata, "version", lambda name: "2.13.0+cu130")
    monkeypatch.setattr(Path, "exists", lambda path: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert watching._has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert not watching._has_gpu()
