"""Claims: one process at a time, whatever becomes of it, and the work of runs at the same time done once."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from bad_folders import TINY, descendants, is_worker, make_submission, write_folder, write_tiny
from commands import harness
from made_records import make_record

from harness.claims import Claims
from harness.errors import MachineError
from harness.fingerprint import harness_fingerprint
from harness.plan import PlannedTrial
from harness.records import read, record_path, save
from harness.run import Elsewhere, Finished, run_trials

CLAIMING = """
import sys
from pathlib import Path
from harness.claims import Claims
with Claims(Path(sys.argv[1])) as claims:
    print(*(claims.take(name) for name in sys.argv[2:]), flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(folder: Path, *names: str) -> Iterator[tuple[subprocess.Popen[str], list[bool]]]:
    """A process that claims `names`, and keeps what it got until it ends; with what it got."""
    command = [sys.executable, "-c", CLAIMING, str(folder), *names]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, [word == "True" for word in process.stdout.readline().split()]


def test_what_one_process_has_claimed_no_other_can(tmp_path: Path) -> None:
    with Claims(tmp_path) as claims:
        assert claims.take("one d3")
        with another_process(tmp_path, "one d3", "other d3") as (_, got):
            assert got == [False, True]
            assert not claims.take("other d3")
            assert claims.take("one d3")  # again


def test_a_process_that_is_killed_gives_up_its_claims(tmp_path: Path) -> None:
    with Claims(tmp_path) as claims:
        with another_process(tmp_path, "one d3") as (process, got):
            assert got == [True]
            assert not claims.take("one d3")
            process.kill()
            process.wait()
        assert claims.take("one d3")


def test_who_opened_the_file_before_another_run_ended_claims_for_all_to_see(tmp_path: Path) -> None:
    with Claims(tmp_path) as claims:
        with another_process(tmp_path, "other d3"):
            pass
        assert claims.take("one d3")
        with another_process(tmp_path, "one d3", "other d3") as (_, got):
            assert got == [False, True]


def test_on_a_disk_without_locks_everything_can_be_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mock: there is no such disk here."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", no_locks)
    with Claims(tmp_path) as claims:
        assert claims.take("one d3")


def test_a_claim_that_is_given_up_is_free(tmp_path: Path) -> None:
    with Claims(tmp_path) as claims:
        assert claims.take("a")
        assert claims.take("b")
        claims.release("a")
        with another_process(tmp_path, "a", "b") as (_, got):
            assert got == [True, False]


@pytest.mark.usefixtures("shared_workers")
def test_what_another_run_has_begun_or_recorded_is_left_to_it(tmp_path: Path) -> None:
    names = ("claimed", "recorded", "stale", "of other code", "ours")
    submissions = {name: make_submission(tmp_path, name.replace(" ", "_")) for name in names}
    results = tmp_path / "results"
    records = {name: make_record(submissions[name], TINY, 1, 0, 0.5) for name in names[1:4]}
    for name, record in records.items():
        harness = "other code" if name == "of other code" else harness_fingerprint()
        fingerprints = record.fingerprints.model_copy(update={"harness": harness})
        records[name] = record.model_copy(update={"fingerprints": fingerprints}).sealed()
        save(records[name], results)
    replaces = {"stale": records["stale"].digest}
    trials = [PlannedTrial(submissions[name], 1, 0, "missing", replaces=replaces.get(name)) for name in names]
    with another_process(results / TINY.name, "claimed d1-s0") as (_, got):
        assert got == [True]
        events = list(run_trials(trials, TINY, results, device="cpu", num_workers=1, max_seeds=1, verdicts={}))
    ended = {event.record.submission for event in events if isinstance(event, Finished)}
    assert ended == {"stale", "of_other_code", "ours"}
    *_, claimed, recorded = events
    assert claimed == Elsewhere(trials[0], None)
    assert recorded == Elsewhere(trials[1], records["recorded"])


@pytest.mark.usefixtures("shared_workers")
def test_of_seeds_that_train_side_by_side_only_those_are_left_that_another_run_has(tmp_path: Path) -> None:
    """A mock: on a CPU seeds do not train side by side, but one job may hold several."""
    submission, results = make_submission(tmp_path), tmp_path / "results"
    recorded = make_record(submission, TINY, 1, 1, 0.5)
    fingerprints = recorded.fingerprints.model_copy(update={"harness": harness_fingerprint()})
    recorded = recorded.model_copy(update={"fingerprints": fingerprints}).sealed()
    save(recorded, results)
    trials = [PlannedTrial(submission, 1, seed, "missing") for seed in range(4)]
    with another_process(results / TINY.name, trials[0].name) as (_, got):
        assert got == [True]
        events = list(run_trials(trials, TINY, results, device="cpu", num_workers=1, max_seeds=4, verdicts={}))
    assert [event.record.seed for event in events if isinstance(event, Finished)] == [2, 3]
    assert events[-2:] == [Elsewhere(trials[0], None), Elsewhere(trials[1], recorded)]
    assert read(record_path(results, TINY.name, submission.name, 1, 1)) == recorded


@pytest.mark.usefixtures("shared_workers")
def test_a_trial_is_claimed_as_long_as_it_runs(tmp_path: Path) -> None:
    trials = [PlannedTrial(make_submission(tmp_path, name), 1, 0, "missing") for name in ("a", "b")]
    results = tmp_path / "results"
    seen: dict[str, list[bool]] = {}
    for event in run_trials(trials, TINY, results, device="cpu", num_workers=1, max_seeds=1, verdicts={}):
        state = f"{'ended' if isinstance(event, Finished) else 'running'} {event.job}"  # type: ignore[union-attr]
        if state not in seen:
            with another_process(results / TINY.name, "a d1-s0", "b d1-s0") as (_, seen[state]):
                pass
    assert seen == {
        "running a d1-s0": [False, True],
        "ended a d1-s0": [True, True],
        "running b d1-s0": [True, False],
        "ended b d1-s0": [True, True],
    }


def test_when_a_record_cannot_be_saved_the_workers_end_before_the_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MachineError("no room")

    monkeypatch.setattr("harness.run.save", full)
    trials = [PlannedTrial(make_submission(tmp_path, name), 1, 0, "missing") for name in ("a", "b")]
    before = descendants(os.getpid())
    try:
        list(run_trials(trials, TINY, tmp_path, device="cpu", num_workers=1, max_seeds=1, verdicts={}))
    except MachineError:  # while what was raised still holds its frames
        assert {child for child in descendants(os.getpid()) - before if is_worker(child)} == set()
        with another_process(tmp_path / TINY.name, "a d1-s0", "b d1-s0") as (_, got):
            assert got == [True, True]
    else:
        pytest.fail("nothing was saved")


def test_two_runs_at_the_same_time_train_each_trial_once(tmp_path: Path) -> None:
    track = write_tiny(tmp_path / "tiny.yaml")
    for name in ("a", "b"):
        write_folder(tmp_path, name, top=f"NAME = {name!r}")
    with ThreadPoolExecutor(2) as pool:
        commands = [("run", "-j", "1", "-t", str(track), "--device", "cpu")] * 2
        runs = list(pool.map(lambda command: harness(tmp_path, *command), commands))
    assert {run.returncode for run in runs} <= {0, 3}
    lines = [line for run in runs for line in run.stderr.splitlines()]
    assert sorted(line.split()[1] for line in lines if line.endswith(" s")) == ["a", "b"], lines
