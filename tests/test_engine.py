"""The local engine: jobs in processes of their own, whose deaths cost one job each."""

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from bad_folders import TINY, descendants, is_worker, left_running, make_submission
from made_records import make_record

from harness.engines import local, worker
from harness.engines.local import Event, NamedJob, keeping_workers, memory_of_a_worker, num_cores, run_jobs
from harness.engines.messages import (
    Audited,
    AuditJob,
    Code,
    Failed,
    Progressed,
    Recorded,
    Request,
    TrialJob,
    line_of,
    reply_in,
    request_in,
)
from harness.errors import ExitCode, SubmissionError
from harness.fingerprint import harness_fingerprint
from harness.host.budget import Budget, budget_in_force
from harness.records import Record
from harness.rules import Finding
from harness.submissions import Submission

BROADCAST = """one = torch.ones(96, 1, 1, 65536, device=layout.device)
other = torch.ones(1, 96, 65536, 1, device=layout.device)
return Terms(embedding=self.table[None, :layout.shape[1]] + 0 * torch.matmul(one, other).mean())"""
"""A product of 96 * 96 numbers, for which torch lays out 2.4 GB."""


def code_of(submission: Submission, **changes: str) -> Code:
    now = {"submission": submission.fingerprint, "harness": harness_fingerprint()}
    return Code.model_validate({"folder": str(submission.folder), **now, **changes})


def audit_job(submission: Submission) -> NamedJob:
    return NamedJob(submission.name, AuditJob(code=code_of(submission)))


def trial_job(submission: Submission, *, seeds: Sequence[int] = (0,), **changes: object) -> NamedJob:
    work = {"code": code_of(submission), "track": TINY, "digits": 1, "seeds": list(seeds), "device": "cpu"}
    return NamedJob(submission.name, TrialJob.model_validate({**work, **changes}))


def refused_job(submission: Submission, *, seeds: Sequence[int] = (0,)) -> NamedJob:
    """A job that takes its worker no time: the trial of what the audits have refused."""
    return trial_job(submission, seeds=seeds, findings=[Finding("T10", "gate", "does not come back")])


def impossible_job(submission: Submission) -> NamedJob:
    """A job that no command line makes: there are no problems of -1 digits."""
    return NamedJob("impossible", trial_job(submission, digits=-1).work)


def last_of(events: Iterable[Event]) -> dict[str, Any]:
    """What each job said last."""
    return {event.job.name: event.reply for event in events}


def records_of(events: Iterable[Event]) -> list[Record]:
    return [event.reply.record for event in events if isinstance(event.reply, Recorded)]


def is_encoding(event: Event) -> bool:
    return isinstance(event.reply, Progressed) and event.reply.phase == "encode"


def test_a_message_that_went_through_a_line_is_the_same(tmp_path: Path) -> None:
    submission = make_submission(tmp_path, "one")
    elsewhere = code_of(submission).model_copy(update={"folder": "/tmp/\udcff"})  # a name that is no UTF-8
    request = Request(job=TrialJob.model_validate({**dict(trial_job(submission).work), "code": elsewhere}), memory=7)
    assert request_in(line_of(request)) == request
    record = make_record(submission, TINY, 1, 0, 0.9).sealed()
    for reply in (Recorded(record=record), Failed(message="\udcff", exit_code=ExitCode.INCOMPLETE)):
        line = line_of(reply)
        assert line.isascii()
        assert line.count("\n") == 1
        assert reply_in(line) == reply
    assert records_of([Event(audit_job(submission), reply_in(line_of(Recorded(record=record))))]) == [record]


def test_no_python_runs_while_a_request_is_written_in_which_a_ctrl_c_would_be_lost(tmp_path: Path) -> None:
    submission = make_submission(tmp_path, "one")
    called: list[str] = []

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            called.append(frame.f_code.co_name)

    for job in (audit_job(submission), trial_job(submission, findings=[Finding("T10", "tag", "x")])):
        request = Request(job=job.work, memory=7)
        sys.setprofile(note)
        try:
            request.model_dump(mode="json")
        finally:
            sys.setprofile(None)
    assert called == ["model_dump", "model_dump"]


def test_a_dead_worker_costs_its_own_job_and_no_other(tmp_path: Path) -> None:
    """Killed from outside, as by a machine that runs out of memory: no submission could reach it."""
    hanging = make_submission(tmp_path, "hanging", encode="while True: pass")
    honest = make_submission(tmp_path, "honest")
    before = descendants(os.getpid())
    refused = refused_job(honest)
    events = run_jobs([trial_job(hanging), refused], num_workers=1)
    assert is_encoding(next(events))
    (worker,) = [child for child in descendants(os.getpid()) - before if is_worker(child)]
    os.kill(worker, signal.SIGKILL)
    ended = last_of(list(events))
    assert (ended["hanging"].kind, ended["hanging"].signal) == ("error", signal.SIGKILL)
    assert ended["hanging"].exit_code is ExitCode.INCOMPLETE
    assert "the worker was killed (SIGKILL), probably because memory ran out; run again" in ended["hanging"].message
    assert ended["honest"].record.reason == "T10: does not come back"


def test_a_worker_with_an_unforeseen_error_is_replaced_and_the_next_job_has_a_new_one(tmp_path: Path) -> None:
    """A GPU whose context broke in one trial would fail every later one of the same process."""
    honest = make_submission(tmp_path, "honest")
    jobs = [refused_job(honest), impossible_job(honest), refused_job(honest)]
    before, workers, replies = descendants(os.getpid()), [], []
    for event in run_jobs(jobs, num_workers=1):
        workers.append({child for child in descendants(os.getpid()) - before if is_worker(child)})
        replies.append(event.reply)
    assert [reply.kind for reply in replies] == ["record", "progress", "bug", "record"]
    assert "ValueError" in replies[2].message
    assert [len(found) for found in workers] == [1, 1, 1, 1]
    assert workers[0] == workers[2] != workers[3]


def test_workers_that_are_kept_do_the_jobs_of_the_next_run_no_more_of_them_than_it_wants(tmp_path: Path) -> None:
    """The folder is gone, so that a job is an error at once."""
    jobs = [audit_job(make_submission(tmp_path, name)) for name in ("one", "two")]
    shutil.rmtree(tmp_path / "submissions")
    before = descendants(os.getpid())

    def workers() -> set[int]:
        return {child for child in descendants(os.getpid()) - before if is_worker(child)}

    with keeping_workers():
        assert [event.reply.kind for event in run_jobs(jobs, num_workers=2)] == ["error", "error"]
        first = workers()
        assert [event.reply.kind for event in run_jobs(jobs, num_workers=1)] == ["error", "error"]
        assert len(first) == 2
        assert workers() < first
    assert workers() == set()
    assert [event.reply.kind for event in run_jobs(jobs, num_workers=1)] == ["error", "error"]
    assert workers() == set()


@pytest.mark.usefixtures("shared_workers")
def test_a_seed_that_cannot_be_finished_takes_none_of_its_neighbours_with_it(tmp_path: Path) -> None:
    picky = (
        "assert torch.initial_seed() % 2, 'not from an even seed'\nreturn Terms(embedding=self.table[None, :length])"
    )
    entry = make_submission(tmp_path, "picky", forward=picky)
    records = records_of(run_jobs([trial_job(entry, seeds=range(8))], num_workers=1))
    assert [record.seed for record in records] == list(range(8))
    assert {record.status for record in records} == {"ok", "failed"}


def test_a_worker_collects_garbage_though_its_imports_were_made_without() -> None:
    looks = "import gc; print(gc.isenabled(), gc.get_freeze_count() > 100_000)"
    program = f"from harness.engines.start import main; main(); {looks}"  # stderr is its stdout by then
    command = [sys.executable, "-c", program, str(os.getpid())]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "True True\n")


def test_jobs_of_all_kinds_are_done_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    honest, raising = make_submission(tmp_path, "honest"), make_submission(tmp_path, "raising", encode="raise OSError")
    gone = audit_job(make_submission(tmp_path, "gone"))
    shutil.rmtree(tmp_path / "submissions" / "gone")
    no_gpu = NamedJob("no_gpu", trial_job(honest, device="cuda").work)
    jobs = [trial_job(raising), audit_job(honest), gone, no_gpu]
    events = list(run_jobs(jobs, num_workers=1))
    ended = last_of(events)
    assert list(dict.fromkeys(event.job.name for event in events)) == [job.name for job in jobs]

    record = ended["raising"].record
    assert (record.status, record.submission) == ("failed", "raising")
    assert record.reason is not None
    assert record.reason.startswith("T00: encode(")
    assert [(found.rule, found.level) for found in ended["honest"].findings] == [("T80", "tag")]
    assert ended["gone"].exit_code is ExitCode.INCOMPLETE
    assert ended["gone"].message == "submissions/gone is gone; put it back, or run without it"
    assert ended["no_gpu"].exit_code is ExitCode.ENVIRONMENT
    assert "torch sees no CUDA device here; use --device cpu" in ended["no_gpu"].message


@pytest.mark.usefixtures("shared_workers")
def test_code_that_changed_since_it_was_planned_is_neither_audited_nor_trained(tmp_path: Path) -> None:
    """An edit, or a `git pull`, while the job waited for its turn."""
    edited, honest = make_submission(tmp_path, "edited"), make_submission(tmp_path, "honest")
    another = trial_job(honest, code=code_of(honest, harness="0123456789abcdef"))
    jobs = [audit_job(edited), NamedJob("trial", trial_job(edited).work), NamedJob("another", another.work)]
    with (edited.folder / "submission.py").open("a") as file:
        file.write("# one comment more\n")
    ended = last_of(list(run_jobs([*jobs, audit_job(honest)], num_workers=1)))
    assert {name: reply.kind for name, reply in ended.items()} == {
        "edited": "error",
        "trial": "error",
        "another": "error",
        "honest": "findings",
    }
    assert {reply.exit_code for name, reply in ended.items() if name != "honest"} == {ExitCode.INCOMPLETE}
    assert "its code changed after this command had read it" in ended["trial"].message
    assert "the harness's own code changed" in ended["another"].message


def test_a_kept_worker_that_died_without_a_job_costs_none(tmp_path: Path) -> None:
    honest = make_submission(tmp_path, "honest")
    refused = refused_job(honest)
    before = descendants(os.getpid())
    with keeping_workers():
        assert len(records_of(run_jobs([refused], num_workers=1))) == 1
        (idle,) = [child for child in descendants(os.getpid()) - before if is_worker(child)]
        os.kill(idle, signal.SIGKILL)
        assert left_running([idle]) == set()
        assert len(records_of(run_jobs([refused], num_workers=1))) == 1


def test_a_gpu_without_memory_costs_one_job_and_the_next_has_a_new_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised in place of a trial in the real worker, which imports what lies on its path: there is no GPU to fill."""
    (tmp_path / "sitecustomize.py").write_text(
        "import torch, harness.trial\n"
        "def run_job(*arguments):\n    raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB')\n"
        "harness.trial.run_job = run_job\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    honest = make_submission(tmp_path, "honest")
    jobs = [NamedJob("full", trial_job(honest).work), refused_job(honest)]
    before, workers, replies = descendants(os.getpid()), [], {}
    for event in run_jobs(jobs, num_workers=1):
        workers.append({child for child in descendants(os.getpid()) - before if is_worker(child)})
        replies[event.job.name] = event.reply
    assert replies["full"].message.startswith("the GPU has no more memory; run again with a smaller -j")
    assert replies["full"].exit_code is ExitCode.INCOMPLETE
    assert replies["honest"].kind == "record"
    assert workers[0] != workers[-1]


@pytest.mark.usefixtures("shared_workers")
def test_a_contract_that_the_trial_on_the_decoy_breaks_is_a_finding_beside_the_others(tmp_path: Path) -> None:
    """The audits look at 3 and 20 digits, the decoy has two."""
    init = "if max_digits == 2:\n    raise ValueError('no two digits')"
    submission = make_submission(tmp_path, "narrow", init=init)
    job = NamedJob("narrow", AuditJob(code=code_of(submission), decoy=True))
    (event,) = run_jobs([job], num_workers=1)
    assert isinstance(event.reply, Audited)
    assert [(found.rule, found.level) for found in event.reply.findings] == [("T80", "tag"), ("T00", "gate")]
    assert "no two digits" in event.reply.findings[1].message


@pytest.mark.usefixtures("shared_workers")
def test_a_job_of_several_seeds_leaves_a_record_for_each(tmp_path: Path) -> None:
    honest = make_submission(tmp_path, "honest")
    doubtful = [Finding("T50", "review", "a token moves"), Finding("T80", "tag", "positional")]
    jobs = [
        trial_job(honest, seeds=(3, 5), findings=doubtful),
        refused_job(honest, seeds=(7, 8)),
    ]
    records = records_of(run_jobs(jobs, 1))
    assert [(record.seed, record.status) for record in records] == [(3, "ok"), (5, "ok"), (7, "failed"), (8, "failed")]
    assert records[0].curve != records[1].curve
    # What the audits before the trial found, short of a gate, the record keeps.
    assert [(audit.rule, audit.level) for audit in records[1].audits] == [("T50", "review"), ("T80", "tag")]
    assert records[0].environment.products in {"oneDNN", "default"}


def test_closing_the_iterator_ends_every_process_that_it_started(tmp_path: Path) -> None:
    hanging = make_submission(tmp_path, encode="while True: pass")
    before = descendants(os.getpid())
    events = run_jobs([trial_job(hanging)], num_workers=4)
    assert is_encoding(next(events))
    started = descendants(os.getpid()) - before
    assert started
    events.close()
    assert left_running(started) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="no other system says how much memory there is, or keeps the limit")
@pytest.mark.usefixtures("shared_workers")
def test_a_graph_that_takes_more_than_a_workers_share_of_the_memory_breaks_a_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "memory_of_a_worker", lambda num_workers: 3 << 29)
    greedy, honest = make_submission(tmp_path, "greedy", forward=BROADCAST), make_submission(tmp_path, "honest")
    ended = last_of(list(run_jobs([audit_job(greedy), trial_job(greedy), trial_job(honest)], num_workers=1)))
    reason = ended["greedy"].record.reason
    assert reason.startswith("P00: submission.py, line ")
    assert "can't allocate memory" in reason
    assert ended["honest"].record.status == "ok"


@pytest.mark.skipif(sys.platform != "linux", reason="no other system says how much memory there is, or keeps the limit")
@pytest.mark.usefixtures("shared_workers")
def test_an_audit_of_such_a_graph_names_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "memory_of_a_worker", lambda num_workers: 3 << 29)
    (event,) = run_jobs([audit_job(make_submission(tmp_path, forward=BROADCAST))], num_workers=1)
    assert isinstance(event.reply, Audited)
    rule, level, message = event.reply.findings[-1]
    assert (rule, level) == ("P00", "gate")
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
        worker.do(Request(job=job.work, memory=None), events)
        last = reply_in(events.getvalue().splitlines()[-1])
        said = last.findings[-1].message if isinstance(last, Audited) else last.record.reason
        assert f"{what}, waiting for its hosts took" in said


def test_all_seeds_of_a_job_share_one_budget_when_they_are_tried_again_one_by_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a submission that sleeps could hold a worker for thirty minutes a seed."""
    submission = make_submission(tmp_path)
    budgets: list[object] = []

    def broken(job: TrialJob, *_: object) -> list[Record]:
        budgets.append(budget_in_force())
        raise SubmissionError(submission.name, "T00", "always")

    monkeypatch.setattr(worker, "_train", broken)
    worker.do(Request(job=trial_job(submission, seeds=[0, 1, 2]).work, memory=None), io.StringIO())
    assert len(budgets) == 4
    assert isinstance(budgets[0], Budget)
    assert all(each is budgets[0] for each in budgets)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process cannot be held to some of the cores")
@pytest.mark.parametrize(
    ("content", "cores"), [("150000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", 4), ("", 4)]
)
def test_a_containers_share_of_time_counts_as_so_many_cores(
    content: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process_id: {0, 1, 2, 5})
    monkeypatch.setattr(local, "CONTAINER_QUOTA", tmp_path / "cpu.max")
    if content:
        (tmp_path / "cpu.max").write_text(content)
    assert num_cores() == cores


@pytest.mark.usefixtures("shared_workers")
def test_a_worker_gets_its_share_by_the_number_of_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[int] = []
    monkeypatch.setattr(local, "memory_of_a_worker", shares.append)
    refused = refused_job(make_submission(tmp_path))
    assert len(records_of(run_jobs([refused], num_workers=8))) == 1
    assert shares == [8]


@pytest.mark.skipif(sys.platform != "linux", reason="no other system keeps the limit")
def test_a_memory_limit_holds_for_its_job_alone_and_never_exceeds_what_the_process_may_have() -> None:
    program = """
import resource
from harness.engines.worker import limit_memory
resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40))
for num_bytes in (1 << 33, None, 1 << 34, 1 << 41):
    limit_memory(num_bytes)
    print(*resource.getrlimit(resource.RLIMIT_DATA))
"""
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ | path
    )
    soft = [1 << 33, 1 << 40, 1 << 34, 1 << 40]
    assert done.stdout.split() == [str(number) for one in soft for number in (one, 1 << 40)]


def test_a_worker_that_ends_by_itself_is_a_bug_and_says_with_which_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of a trial, in the real worker: no known input ends one so."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, harness.trial\nharness.trial.run_job = lambda *arguments: os._exit(3)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (*_, event) = run_jobs([trial_job(make_submission(tmp_path))], num_workers=1)
    assert isinstance(event.reply, Failed)
    assert (event.reply.exit_code, event.reply.signal) == (ExitCode.BUG, None)
    assert event.reply.message.startswith("the worker ended with code 3; ")


def test_a_worker_has_a_session_of_its_own_and_imports_nothing_from_the_folder_it_is_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Ctrl-C reaches the command alone; and a file called harness.py there is not ours."""
    (tmp_path / "harness.py").write_text("raise SystemExit('not the harness')")
    monkeypatch.chdir(tmp_path)
    refused = refused_job(make_submission(tmp_path))
    before = descendants(os.getpid())
    with keeping_workers():
        assert len(records_of(run_jobs([refused], num_workers=1))) == 1
        (idle,) = [child for child in descendants(os.getpid()) - before if is_worker(child)]
        assert os.getsid(idle) == idle


@pytest.mark.usefixtures("shared_workers")
def test_seeds_that_are_tried_again_one_by_one_keep_the_problems_that_were_theirs(tmp_path: Path) -> None:
    picky = "assert torch.initial_seed() % 2, 'even'\nreturn Terms(embedding=self.table[None, :length])"
    entry = make_submission(tmp_path, "picky", forward=picky)
    job = trial_job(entry, seeds=range(8), fresh_seeds=list(range(100, 108)))
    found = {record.seed: record.fresh_seed for record in records_of(run_jobs([job], 1)) if record.status == "ok"}
    assert len(found) > 1
    assert found == {seed: 100 + seed for seed in found}
