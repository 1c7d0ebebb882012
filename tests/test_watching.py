"""How many jobs run at a time, and how many seeds in one: a trial a core on a CPU, seeds side by side on a GPU."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_records import make_record, make_submission, make_track, with_lengths

from harness.commands import watching
from harness.commands.watching import MAX_SEEDS_A_JOB, watch_trials
from harness.plan import PlannedTrial
from harness.ranking.rulings import Cleared
from harness.records import Audit, Score, Seconds
from harness.run import Finished

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


def test_where_lengths_beyond_training_rank_a_trial_ends_with_their_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, seconds = make_submission(tmp_path, "one"), Seconds(encode=1, train=2, decode=1, total=4)
    record = make_record(one, TRACK, 3, 0, 0.9, seconds=seconds)
    lengths = {str(length): Score(correct=right, total=50) for length, right in ((2, 50), (3, 45), (4, 20), (5, 5))}
    record = with_lengths(record, lengths)
    monkeypatch.setattr(watching, "run_trials", lambda *_, **__: iter([Finished("one d3-s0", record)]))
    watch_trials([PlannedTrial(one, 3, 0, "missing")], TRACK, tmp_path, device="cpu", num_workers=1)
    assert "one d3-s0: exact match 0.900, 0.250 beyond the trained lengths, in 4 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("is_cleared", "told"), [(False, "in review: T50: a token moves"), (True, "exact match 0.900")]
)
def test_a_trial_whose_review_was_cleared_ends_like_one_without_a_finding(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_cleared: bool,
    told: str,
) -> None:
    one = make_submission(tmp_path, "one")
    found = Audit(rule="T50", level="review", seen="a token moves")
    seconds = Seconds(encode=1, train=2, decode=1, total=4)
    record = make_record(one, TRACK, 3, 0, 0.9, audits=[found], seconds=seconds)
    monkeypatch.setattr(watching, "run_trials", lambda *_, **__: iter([Finished("one d3-s0", record)]))
    seen = Cleared(submission="one", fingerprint=one.fingerprint, rule="T50", reason="Seen.", date="2026-11-27")
    watch_trials(
        [PlannedTrial(one, 3, 0, "missing")],
        TRACK,
        tmp_path / "results",
        device="cpu",
        num_workers=1,
        cleared=[seen] if is_cleared else [],
    )
    assert f"one d3-s0: {told}" in capsys.readouterr().err
