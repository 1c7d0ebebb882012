"""Which trials go into one job, what is said of one that its worker did not outlive, and what is kept of a track."""

import json
import platform
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest
import yaml
from bad_folders import MANIFEST, TINY, make_submission, write_folder, write_tiny
from cheats.sources import COLUMNS, submission_of
from commands import harness_here
from made_records import make_record, make_track

from harness.commands.validate import ValidateOptions, check_folders
from harness.definitions import Definition, keep_definition
from harness.engines import local
from harness.engines.local import Event, NamedJob
from harness.engines.messages import Audited, Failed, Recorded
from harness.errors import ExitCode
from harness.host.sandbox import Isolation
from harness.plan import PlannedTrial
from harness.records import read, record_path
from harness.rules import Finding
from harness.run import Crashed, Finished, _fatal, audit_all, grouped, run_trials
from harness.submissions import Submission, read_folder
from harness.track import TrainingDefinition


@pytest.mark.parametrize(
    ("max_seeds", "expected"),
    [
        (1, ["a 3 [0]", "a 3 [1]", "a 3 [2]", "a 6 [0]", "b 3 [1]", "b 3 [2]"]),
        (2, ["a 3 [0, 1]", "a 3 [2]", "a 6 [0]", "b 3 [1, 2]"]),
        (8, ["a 3 [0, 1, 2]", "a 6 [0]", "b 3 [1, 2]"]),
    ],
)
def test_seeds_of_one_submission_at_one_number_of_digits_go_together(
    max_seeds: int, expected: list[str], tmp_path: Path
) -> None:
    one, other = make_submission(tmp_path, "a"), make_submission(tmp_path, "b")
    due = [(one, 3, 0), (one, 3, 1), (one, 3, 2), (one, 6, 0), (other, 3, 1), (other, 3, 2)]
    trials = [PlannedTrial(submission, digits, seed, "missing") for submission, digits, seed in due]
    found = [
        f"{group[0].submission.name} {group[0].digits} {[trial.seed for trial in group]}"
        for group in grouped(trials, max_seeds)
    ]
    assert found == expected


TAMPERING = """
import sys
export = sys.modules["harness.host.export"]
honest = export._as_json

def tampered(*arguments):
    described, tensors = honest(*arguments)
    described["nodes"].append(["last", "call", {operator!r}, "", {arguments!r}, {keywords!r}])
    return described, tensors

export._as_json = tampered
"""


@pytest.mark.parametrize(
    ("operator", "arguments", "keywords", "reason"),
    [
        ("aten.zeros_like.default", [{"node": "layout"}], {"dtype": 126}, "takes no 126 as its dtype"),
        ("aten.mul.left_t", [[], 2**63 - 1], {}, "computes with Python's numbers"),
    ],
)
@pytest.mark.usefixtures("shared_workers")
def test_a_graph_that_its_host_forged_can_neither_crash_nor_hold_up_the_worker(
    tmp_path: Path, operator: str, arguments: list[object], keywords: dict[str, object], reason: str
) -> None:
    """The first made torch read beyond a table, the second is a loop that nothing ends."""
    top = TAMPERING.format(operator=operator, arguments=arguments, keywords=keywords)
    forged = make_submission(tmp_path, "forged", top=top)
    (verdict,) = audit_all([forged], 1)
    assert not isinstance(verdict, Crashed)
    ((rule, _, message),) = (found for found in verdict[1] if found[1] == "gate")
    assert rule == "P00"
    assert reason in message


@pytest.mark.usefixtures("shared_workers")
def test_copies_are_audited_once_and_each_gets_the_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = make_submission(tmp_path, "one"), make_submission(tmp_path, "other", top="X = 1")
    copy = make_submission(tmp_path, "copy")
    asked: list[str] = []

    def noting(jobs: Sequence[NamedJob], num_workers: int) -> Iterator[Event]:
        asked.extend(job.name for job in jobs)
        return local.run_jobs(jobs, num_workers)

    monkeypatch.setattr("harness.run.run_jobs", noting)
    verdicts = list(audit_all([one, other, copy], 1))
    assert asked == ["one", "other"]
    found = {verdict[0].name: verdict[1] for verdict in verdicts if not isinstance(verdict, Crashed)}
    assert found.keys() == {"one", "other", "copy"}
    assert found["copy"] == found["one"]
    assert [finding.rule for finding in found["one"]] == ["T80"]


def test_each_of_several_copies_is_told_once_that_no_track_allows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two", "three"):
        write_folder(tmp_path, name, manifest=f"{MANIFEST}hyperparameters: {{epochs: 9}}\n")
    monkeypatch.setattr("harness.run.run_jobs", lambda jobs, _: (Event(job, Audited(findings=[])) for job in jobs))
    monkeypatch.setattr("harness.commands.watching.isolation", lambda: Isolation.STRONG)
    asked = ValidateOptions(names=[], changed=None, output="json", track=None, num_workers=1, example=None, decoy=False)
    assert check_folders(tmp_path, asked) is ExitCode.DONE
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [(finding["submission"], finding["rule"]) for finding in findings] == [
        ("one", "T00"),
        ("three", "T00"),
        ("two", "T00"),
    ]


@pytest.mark.usefixtures("shared_workers")
def test_noise_of_a_tables_shape_is_no_lookup_in_it(tmp_path: Path) -> None:
    noise = "noise = torch.randn_like(self.table) if self.training else torch.zeros_like(self.table)"
    forward = f"{noise}\nreturn Terms(embedding=(self.table + 0.1 * noise)[None, :length])"
    (verdict,) = audit_all([make_submission(tmp_path, "noisy", forward=forward)], 1)
    assert not isinstance(verdict, Crashed)
    assert not [found for found in verdict[1] if found[1] == "gate"]


@pytest.mark.usefixtures("shared_workers")
def test_findings_name_the_folder_that_the_code_of_each_lies_in(tmp_path: Path) -> None:
    """One borrows all of the other, so their fingerprints are the same."""
    lender = make_submission(tmp_path, "lender", encode="raise KeyError(text)")
    manifest = MANIFEST.replace(": submission:", ": lender/submission:")
    write_folder(tmp_path, "borrower", manifest=manifest)
    borrower = read_folder(tmp_path / "submissions" / "borrower")
    assert isinstance(borrower, Submission)
    assert borrower.fingerprint == lender.fingerprint
    verdicts = list(audit_all([borrower, lender], 1))
    said = {verdict[0].name: verdict[1][0].message for verdict in verdicts if not isinstance(verdict, Crashed)}
    assert said["borrower"] == f"in the borrowed submissions/lender: {said['lender']}"
    assert said["lender"].startswith("encode(")


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="no other processor traps")
@pytest.mark.usefixtures("shared_workers")
def test_a_graph_that_kills_its_worker_by_an_integer_division_breaks_a_rule(tmp_path: Path) -> None:
    smallest = "smallest = (layout.long() * 0 - 2**62) * 2"
    divided = 'torch.div(smallest, layout.long() * 0 - 1, rounding_mode="trunc")'
    forward = f"{smallest}\nreturn Terms(embedding=self.table[None, :length] + {divided}[..., None].float())"
    deadly = make_submission(tmp_path, "deadly", forward=forward)
    (verdict,) = audit_all([deadly], 1)
    assert not isinstance(verdict, Crashed)
    ((rule, level, message),) = verdict[1]
    assert (rule, level) == ("P00", "gate")
    assert "of the smallest integer by -1; divide floats" in message

    trial, results = PlannedTrial(deadly, 1, 0, "missing"), tmp_path / "results"
    *_, ended = run_trials([trial], TINY, results, device="cpu", num_workers=1, max_seeds=1, verdicts={})
    assert isinstance(ended, Finished)
    assert ended.record.reason == f"P00: {message}"
    assert read(record_path(results, "tiny", "deadly", 1, 0)) == ended.record


@pytest.mark.parametrize(
    ("killed_by", "said"),
    [
        (
            signal.SIGABRT,
            "the positions' graph ended the process that ran it (SIGABRT), inside torch; compute",
        ),
        (signal.SIGSEGV, "(SIGSEGV)"),
        (signal.SIGKILL, None),  # a lack of memory, or a person
        (signal.SIGILL, None),  # a torch for another processor
        (signal.SIGBUS, None),  # a file system that is full
        (None, None),
    ],
)
def test_a_signal_that_only_a_graph_brings_about_is_a_finding_and_no_bug(
    killed_by: signal.Signals | None, said: str | None
) -> None:
    found = _fatal(Failed(message="ended", exit_code=ExitCode.BUG, signal=killed_by))
    assert found is None if said is None else found is not None and said in found


def test_a_definition_is_kept_beside_its_records_and_not_replaced_by_one_that_they_were_not_made_by(
    tmp_path: Path,
) -> None:
    kept, file = tmp_path / "results" / "mine" / "track.yaml", tmp_path / "my.yaml"

    def keep(*, has_trials: bool, **changes: object) -> str:
        track = make_track(**changes)
        file.write_text(yaml.safe_dump(track.model_dump(mode="json", exclude_none=True)), encoding="utf-8")
        keep_definition(Definition(track, file.read_bytes()), kept.parent, has_trials=has_trials)
        return kept.read_text(encoding="utf-8") if kept.exists() else ""

    assert keep(has_trials=False) == ""
    assert keep(has_trials=True) == file.read_text()
    assert keep(has_trials=False, summary="Other words.", seeds=[5]) == file.read_text()
    kept.write_text("name: [torn")
    assert keep(has_trials=False) == file.read_text()
    kept.unlink()
    assert keep(has_trials=False) == ""
    (kept.parent / "one").mkdir()
    (kept.parent / "one" / "d3-s0.json").write_text("{}")
    assert keep(has_trials=False) == file.read_text()
    before = kept.read_text()
    assert keep(has_trials=False, training=TrainingDefinition(problems=64, epochs=1)) == before
    assert keep(has_trials=True, training=TrainingDefinition(problems=64, epochs=1)) == file.read_text()


@pytest.mark.parametrize("disturb", [Path.unlink, lambda file: write_tiny(file, seed=2)], ids=["gone", "edited"])
def test_a_tracks_file_that_goes_or_changes_during_a_run_is_kept_as_the_run_read_it(
    disturb: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audits, in which there are minutes for that, and the trials are made up."""
    write_folder(tmp_path, "one")
    file = write_tiny(tmp_path / "tiny.yaml")
    planned = file.read_text(encoding="utf-8")

    def audits(_found: object, verdicts: dict[str, list[Finding]], *_: object, **__: object) -> ExitCode:
        verdicts["one"] = []
        disturb(file)
        return ExitCode.DONE

    monkeypatch.setattr("harness.commands.execution.watch_audits", audits)
    monkeypatch.setattr("harness.commands.execution.watch_trials", lambda *_, **__: ExitCode.DONE)
    ended = harness_here(tmp_path, "run", "-t", str(file))
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "results" / "tiny" / "track.yaml").read_text(encoding="utf-8") == planned


@pytest.mark.usefixtures("shared_workers")
def test_an_audit_before_trials_looks_at_the_digits_of_their_track(tmp_path: Path) -> None:
    columns = COLUMNS + "return [20 + (x + y if self.max_digits == 2 else 100 + 10 * x + y) for x, y in columns] + [11]"
    sums_at_two_digits = submission_of(tmp_path, columns)
    gates = []
    for track in (None, make_track(digits=[2])):
        (verdict,) = audit_all([sums_at_two_digits], 1, track=track)
        assert not isinstance(verdict, Crashed)
        gates.append({rule for rule, level, _ in verdict[1] if level == "gate"})
    assert gates[0] == set()
    assert "T40" in gates[1]


@pytest.mark.parametrize("killed_by", [signal.SIGSEGV, signal.SIGKILL])
def test_a_trial_whose_record_is_saved_keeps_it_though_its_worker_dies_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_by: signal.Signals
) -> None:
    """The events of such a job, made up: no graph can be told to wait for its neighbour."""
    one, results = make_submission(tmp_path, "one"), tmp_path / "results"
    record = make_record(one, TINY, 1, 0, 1.0).sealed()

    def dying(jobs: Sequence[NamedJob], *_: object) -> Iterator[Event]:
        (job,) = jobs
        yield Event(job, Recorded(record=record))
        yield Event(job, Failed(message="ended", exit_code=ExitCode.INCOMPLETE, signal=killed_by))

    monkeypatch.setattr("harness.run.run_jobs", dying)
    trials = [PlannedTrial(one, 1, seed, "missing") for seed in (0, 1)]
    events = run_trials(trials, TINY, results, device="cpu", num_workers=1, max_seeds=2, verdicts={})
    first, second = events
    assert isinstance(first, Finished)
    assert read(record_path(results, "tiny", "one", 1, 0)) == first.record == record
    if killed_by is signal.SIGSEGV:
        assert isinstance(second, Finished)
        assert (second.record.seed, second.record.status) == (1, "failed")
    else:
        assert second == Crashed("one d1-s0,1", "ended", ExitCode.INCOMPLETE, num_trials=1)


def test_no_more_workers_are_asked_for_than_there_are_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would get a smaller share of the memory."""
    asked: list[int] = []

    def noting(jobs: Iterable[NamedJob], num_workers: int) -> Iterator[Event]:
        asked.append(num_workers)
        yield from ()

    monkeypatch.setattr("harness.run.run_jobs", noting)
    one, other = make_submission(tmp_path, "one"), make_submission(tmp_path, "other", top="X = 1")
    trials = [PlannedTrial(one, 1, seed, "missing") for seed in (0, 1, 2)]
    assert list(audit_all([one, other], 8)) == []
    assert list(run_trials(trials, TINY, tmp_path, device="cpu", num_workers=8, max_seeds=2, verdicts={})) == []
    assert list(audit_all([one, other], 1)) == []
    assert asked == [2, 2, 1]


def test_a_worker_that_dies_before_a_record_costs_every_trial_of_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = make_submission(tmp_path, "one")
    killed = Failed(message="ended", exit_code=ExitCode.INCOMPLETE, signal=signal.SIGKILL)
    monkeypatch.setattr("harness.run.run_jobs", lambda jobs, *_: (Event(job, killed) for job in islice(jobs, 1)))
    trials = [PlannedTrial(one, 1, seed, "missing") for seed in (0, 1)]
    (crash,) = run_trials(trials, TINY, tmp_path, device="cpu", num_workers=1, max_seeds=2, verdicts={})
    assert crash == Crashed("one d1-s0,1", "ended", ExitCode.INCOMPLETE, num_trials=2)
