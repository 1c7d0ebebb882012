"""The local engine: jobs in processes of their own, whose deaths cost one job each."""

import io
import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
from bad_folders import TINY, descendants, left_running, make_submission

from harness.engines import local, worker
from harness.engines.local import Event, Job, keeping_workers, memory_of_a_worker, run
from harness.errors import ExitCode
from harness.fingerprint import harness_fingerprint
from harness.records import Record
from harness.submissions import Submission

BROADCAST = """one = torch.ones(96, 1, 1, 65536, device=layout.device)
other = torch.ones(1, 96, 65536, 1, device=layout.device)
return Terms(embedding=self.table[None, :layout.shape[1]] + 0 * torch.matmul(one, other).mean())"""
"""A product of 96 * 96 numbers, for which torch lays out 2.4 GB."""


def place(submission: Submission) -> dict[str, object]:
    planned = {"submission": submission.fingerprint, "harness": harness_fingerprint()}
    return {"folder": str(submission.folder), "planned": planned}


def audit_job(submission: Submission) -> Job:
    return Job(submission.name, {"kind": "audit", "also_at": [], "decoy": False, **place(submission)})


def trial_job(
    submission: Submission,
    *,
    device: str = "cpu",
    findings: tuple[tuple[str, str, str], ...] = (),
    seeds: tuple[int, ...] = (0,),
) -> Job:
    payload = {"kind": "trial", **place(submission), "track": TINY.model_dump(mode="json")}
    drawn: dict[str, object] = {"digits": 1, "seeds": list(seeds), "fresh_seeds": None}
    return Job(submission.name, {**payload, **drawn, "device": device, "findings": findings})


def last_of(events: list[Event]) -> dict[str, Event]:
    return {event.job.name: event for event in events}


def test_a_dead_worker_costs_its_own_job_and_no_other(tmp_path: Path) -> None:
    """Killed from outside, as by a machine that runs out of memory: no submission could reach it."""
    hanging = make_submission(tmp_path, "hanging", encode="while True: pass")
    honest = make_submission(tmp_path, "honest")
    before = descendants(os.getpid())
    events = run(
        [trial_job(hanging), trial_job(honest, findings=(("T10", "gate", "does not come back"),))], num_workers=1
    )
    assert next(events).values["phase"] == "encode"
    (worker,) = [child for child in descendants(os.getpid()) - before if is_worker(child)]
    os.kill(worker, signal.SIGKILL)
    ended = last_of(list(events))
    assert ended["hanging"].kind == "error"
    assert ended["hanging"].values["exit_code"] == ExitCode.BUG
    assert "the worker ended with code -9" in ended["hanging"].values["message"]
    assert ended["honest"].values["record"]["reason"] == "T10: does not come back"


def test_a_worker_with_an_unforeseen_error_is_replaced_and_the_next_job_has_a_new_one(tmp_path: Path) -> None:
    """A GPU whose context broke in one trial would fail every later one of the same process."""
    honest = make_submission(tmp_path, "honest")
    jobs = [audit_job(honest), Job("no_kind", place(honest)), Job("again", audit_job(honest).payload)]
    before, workers, kinds = descendants(os.getpid()), [], []
    for event in run(jobs, num_workers=1):
        workers.append({child for child in descendants(os.getpid()) - before if is_worker(child)})
        kinds.append(event.kind)
    assert kinds == ["findings", "bug", "findings"]
    assert [len(found) for found in workers] == [1, 1, 1]
    assert workers[0] == workers[1] != workers[2]


def test_workers_that_are_kept_do_the_jobs_of_the_next_run_no_more_of_them_than_it_wants(tmp_path: Path) -> None:
    """The folder is gone, so that a job is an error at once."""
    jobs = [audit_job(make_submission(tmp_path, name)) for name in ("one", "two")]
    shutil.rmtree(tmp_path / "submissions")
    before = descendants(os.getpid())

    def workers() -> set[int]:
        return {child for child in descendants(os.getpid()) - before if is_worker(child)}

    with keeping_workers():
        assert [event.kind for event in run(jobs, num_workers=2)] == ["error", "error"]
        first = workers()
        assert [event.kind for event in run(jobs, num_workers=1)] == ["error", "error"]
        assert len(first) == 2
        assert workers() < first
    assert workers() == set()
    assert [event.kind for event in run(jobs, num_workers=1)] == ["error", "error"]
    assert workers() == set()


def test_a_seed_that_cannot_be_finished_takes_none_of_its_neighbours_with_it(tmp_path: Path) -> None:
    picky = (
        "assert torch.initial_seed() % 2, 'not from an even seed'\nreturn Terms(embedding=self.table[None, :length])"
    )
    entry = make_submission(tmp_path, "picky", forward=picky)
    events = list(run([trial_job(entry, seeds=tuple(range(8)))], num_workers=1))
    records = [event.values["record"] for event in events if event.kind == "record"]
    assert [record["seed"] for record in records] == list(range(8))
    assert {record["status"] for record in records} == {"ok", "failed"}


def is_worker(process_id: int) -> bool:
    try:
        return b"harness.engines.worker" in Path(f"/proc/{process_id}/cmdline").read_bytes()
    except OSError:  # it has ended since it was listed
        return False


def test_jobs_of_all_kinds_are_done_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    honest, raising = make_submission(tmp_path, "honest"), make_submission(tmp_path, "raising", encode="raise OSError")
    gone = Job("gone", {"kind": "audit", "folder": str(tmp_path / "submissions" / "gone")})
    (tmp_path / "submissions" / "gone").mkdir()
    no_gpu = Job("no_gpu", trial_job(honest, device="cuda").payload)
    jobs = [trial_job(raising), audit_job(honest), gone, Job("no_kind", place(honest)), no_gpu]
    events = list(run(jobs, num_workers=1))
    ended = last_of(events)
    assert list(dict.fromkeys(event.job.name for event in events)) == [job.name for job in jobs]

    record = Record.model_validate(ended["raising"].values["record"])
    assert (record.status, record.submission) == ("failed", "raising")
    assert record.reason is not None
    assert record.reason.startswith("T00: encode(")
    assert [finding[:2] for finding in ended["honest"].values["findings"]] == [["T80", "tag"]]
    assert ended["gone"].values["exit_code"] == ExitCode.NEGATIVE
    assert ended["no_kind"].kind == "bug"
    assert "KeyError: 'kind'" in ended["no_kind"].values["message"]
    assert ended["no_gpu"].values["exit_code"] == ExitCode.ENVIRONMENT
    assert "torch sees no CUDA device here; use --device cpu" in ended["no_gpu"].values["message"]


def test_code_that_changed_since_it_was_planned_is_neither_audited_nor_trained(tmp_path: Path) -> None:
    """An edit, or a `git pull`, while the job waited for its turn."""
    edited, honest = make_submission(tmp_path, "edited"), make_submission(tmp_path, "honest")
    of_another_harness = trial_job(honest).payload
    of_another_harness["planned"] = {**of_another_harness["planned"], "harness": "0123456789abcdef"}
    jobs = [audit_job(edited), Job("trial", trial_job(edited).payload), Job("another", of_another_harness)]
    with (edited.folder / "submission.py").open("a") as file:
        file.write("# one comment more\n")
    ended = last_of(list(run([*jobs, audit_job(honest)], num_workers=1)))
    assert {name: event.kind for name, event in ended.items()} == {
        "edited": "error",
        "trial": "error",
        "another": "error",
        "honest": "findings",
    }
    assert {event.values["exit_code"] for name, event in ended.items() if name != "honest"} == {ExitCode.INCOMPLETE}
    assert "its code changed after this command had read it" in ended["trial"].values["message"]
    assert "the harness's own code changed" in ended["another"].values["message"]


def test_a_job_of_several_seeds_leaves_a_record_for_each(tmp_path: Path) -> None:
    honest = make_submission(tmp_path, "honest")
    doubtful = (("T50", "review", "a token moves"), ("T80", "tag", "positional"))
    jobs = [
        trial_job(honest, seeds=(3, 5), findings=doubtful),
        trial_job(honest, seeds=(7, 8), findings=(("T10", "gate", "does not come back"),)),
    ]
    records = [Record.model_validate(event.values["record"]) for event in run(jobs, 1) if event.kind == "record"]
    assert [(record.seed, record.status) for record in records] == [(3, "ok"), (5, "ok"), (7, "failed"), (8, "failed")]
    assert records[0].curve != records[1].curve
    # What the audits before the trial found, short of a gate, the record keeps.
    assert [(audit.rule, audit.level) for audit in records[1].audits] == [("T50", "review"), ("T80", "tag")]
    assert records[0].environment.products in {"oneDNN", "default"}


def test_closing_the_iterator_ends_every_process_that_it_started(tmp_path: Path) -> None:
    hanging = make_submission(tmp_path, encode="while True: pass")
    before = descendants(os.getpid())
    events = run([trial_job(hanging)], num_workers=4)
    assert next(events).values["phase"] == "encode"
    started = descendants(os.getpid()) - before
    assert started
    events.close()
    assert left_running(started) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="no other system says how much memory there is, or keeps the limit")
def test_a_graph_that_takes_more_than_a_workers_share_of_the_memory_breaks_a_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "memory_of_a_worker", lambda num_workers: 3 << 29)
    greedy, honest = make_submission(tmp_path, "greedy", forward=BROADCAST), make_submission(tmp_path, "honest")
    ended = last_of(list(run([audit_job(greedy), trial_job(greedy), trial_job(honest)], num_workers=1)))
    record = Record.model_validate(ended["greedy"].values["record"])
    assert record.reason is not None
    assert record.reason.startswith("P00: submission.py, line ")
    assert "can't allocate memory" in record.reason
    assert ended["honest"].values["record"]["status"] == "ok"


@pytest.mark.skipif(sys.platform != "linux", reason="no other system says how much memory there is, or keeps the limit")
def test_an_audit_of_such_a_graph_names_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "memory_of_a_worker", lambda num_workers: 3 << 29)
    (event,) = run([audit_job(make_submission(tmp_path, forward=BROADCAST))], num_workers=1)
    rule, level, message = event.values["findings"][-1]
    assert (event.kind, rule, level) == ("findings", "P00", "gate")
    assert "torch.matmul(one, other)" in message
    assert "can't allocate memory" in message


def test_workers_share_three_quarters_of_the_memory_that_is_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo, container = tmp_path / "meminfo", tmp_path / "memory.max"
    meminfo.write_text("MemTotal:       67108864 kB\nMemAvailable:   33554432 kB\n")
    monkeypatch.setattr(local, "CONTAINER_LIMIT", container)
    assert memory_of_a_worker(2, meminfo) == 12 << 30
    assert memory_of_a_worker(64, meminfo) == local.MIN_MEMORY_BYTES
    container.write_text("max\n")
    assert memory_of_a_worker(2, meminfo) == 12 << 30
    container.write_text(f"{12 << 30}\n")
    assert memory_of_a_worker(1, meminfo) == 9 << 30
    assert memory_of_a_worker(1, tmp_path / "none") is None


def test_each_job_draws_on_a_budget_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeping = make_submission(tmp_path, top="import time\ntime.sleep(1)")
    monkeypatch.setattr(worker, "AUDIT_BUDGET_S", 2.5)
    monkeypatch.setattr(worker, "TRIAL_BUDGET_S", 0.5)
    for job, what in ((audit_job(sleeping), "in the audit"), (trial_job(sleeping), "in the trial")):
        events = io.StringIO()
        worker.do(job.payload, events)
        last = json.loads(events.getvalue().splitlines()[-1])
        said = last["findings"][-1][2] if last["event"] == "findings" else last["record"]["reason"]
        assert f"{what} its hosts were waited for" in said
