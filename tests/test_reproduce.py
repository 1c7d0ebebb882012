"""`harness reproduce`: which trials it takes, what it says of a second run; with real trials at the end."""

import pytest
from bad_folders import write_folder, write_tiny
from commands import harness, harness_here
from made_records import HARNESS, make_failure, make_record, make_submission, make_track, save_all

from harness.commands import reproduce
from harness.commands.reproduce import recorded_trials, verdict
from harness.errors import ExitCode, UsageError
from harness.records import CurvePoint, Environment, Record, Score, read, save

TRACK = make_track(digits=[3, 6], seeds=[0])


def point(loss: float) -> CurvePoint:
    return CurvePoint(step=10, examples=640, loss=loss, accuracy=0.5, digit_accuracy=0.75)


def test_a_recorded_trial_is_planned_with_the_seed_of_its_problems(tmp_path):
    submission = make_submission(tmp_path, "one")
    record = make_record(submission, TRACK, 3, 0, 0.9, fresh_seed=77)
    save_all(tmp_path, [record, make_failure(submission, TRACK, 6, 0, "T10: no")])
    found = recorded_trials(submission, TRACK, tmp_path / "results", HARNESS)
    assert [(trial.name, trial.fresh_seed) for trial in found.trials] == [("one d3-s0", 77)]
    assert found.passed_over == ["one d6-s0: failed, T10: no"]
    assert found.records["one d3-s0"].fresh_seed == 77


def test_without_a_record_of_the_code_that_is_here_nothing_is_run(tmp_path):
    submission, results = make_submission(tmp_path, "one"), tmp_path / "results"
    with pytest.raises(
        UsageError, match=r"nothing on mine can be reproduced: one d3-s0: not run; `harness run one --track FILE`"
    ):
        recorded_trials(submission, TRACK, results, HARNESS)
    path = save(make_record(submission, TRACK, 3, 0, 0.9), results)
    with pytest.raises(UsageError, match=r"one d3-s0: stale, the harness changed since"):
        recorded_trials(submission, TRACK, results, "another harness")
    path.write_text(path.read_text().replace('"correct": 900', '"correct": 901'))
    with pytest.raises(UsageError, match=r"one d3-s0: was edited after it was written"):
        recorded_trials(submission, TRACK, results, HARNESS)


def test_time_and_place_may_differ_and_nothing_else(tmp_path):
    submission = make_submission(tmp_path, "one")
    then = make_record(submission, TRACK, 3, 0, 0.9, curve=[point(1.5)])
    elsewhere = Environment(device="GPU", torch="2.13.0", python="3.12.1", commit="def", dirty=True)
    assert verdict(then, then.model_copy(update={"throughput": None, "environment": elsewhere})) == (
        True,
        "one d3-s0: the same to the bit",
    )
    fewer = then.suites.model_copy(update={"fresh": Score(correct=899, total=1000)}) if then.suites else None
    now = then.model_copy(update={"suites": fewer, "curve": [point(1.5000001)], "environment": elsewhere})
    assert verdict(then, now) == (
        False,
        "one d3-s0: suites.fresh.correct 900 -> 899; curve.0.loss 1.5 -> 1.5000001 "
        "(on another machine: device Some CPU -> GPU)",
    )


def test_a_trial_that_fails_now_is_not_reproduced(tmp_path):
    submission = make_submission(tmp_path, "one")
    then, now = make_record(submission, TRACK, 3, 0, 0.9), make_failure(submission, TRACK, 3, 0, "P00: gone")
    assert verdict(then, now) == (False, "one d3-s0: failed: P00: gone")


def test_many_differences_are_counted_not_listed(tmp_path):
    submission = make_submission(tmp_path, "one")
    then, now = (make_record(submission, TRACK, 3, 0, share) for share in (0.9, 0.8))
    told = verdict(then, now)[1]
    assert told.startswith("one d3-s0: suites.fresh.correct 900 -> 800; suites.carry.")
    # fresh, test, edge, four carry chains, digit accuracy, examples to 90 %
    assert "; and 5 more (" in told


def test_where_all_that_could_explain_a_difference_has_the_same_name_the_line_says_so(tmp_path):
    submission = make_submission(tmp_path, "one")
    then, now = (make_record(submission, TRACK, 3, 0, share) for share in (0.9, 0.8))
    assert "(device, torch and products have the same names, " in verdict(then, now)[1]


def test_a_real_trial_comes_out_the_same_and_a_record_that_says_otherwise_is_found_out(tmp_path):
    write_folder(tmp_path, "one")
    track = str(write_tiny(tmp_path / "tiny.yaml"))
    assert harness_here(tmp_path, "run", "-t", track).returncode == 0
    path = tmp_path / "results" / "tiny" / "one" / "d1-s0.json"
    before = path.read_bytes()
    again = harness(tmp_path, "reproduce", "one", "-t", track)  # in another worker
    assert (again.returncode, again.stdout) == (0, "one d1-s0: the same to the bit\n"), again.stderr
    assert path.read_bytes() == before

    record = read(path)
    assert isinstance(record, Record)
    assert record.suites is not None
    better = record.suites.model_copy(update={"fresh": Score(correct=8, total=8)})
    save(record.model_copy(update={"suites": better}), tmp_path / "results")
    found_out = harness_here(tmp_path, "reproduce", "one", "-t", track)
    assert found_out.returncode == 1
    assert found_out.stdout.startswith(f"one d1-s0: suites.fresh.correct 8 -> {record.suites.fresh.correct} (device, ")


def test_trials_that_left_no_result_are_no_success(tmp_path, monkeypatch):
    one = make_submission(tmp_path, "one")
    save_all(tmp_path, [make_record(one, TRACK, 3, 0, 0.5)])
    found = recorded_trials(one, TRACK, tmp_path / "results", HARNESS)
    monkeypatch.setattr(reproduce, "watch_trials", lambda *_, **__: ExitCode.BUG)
    assert reproduce.run_again(found, TRACK, device="cpu", num_workers=1, tell=print) is ExitCode.BUG


def test_one_trial_that_comes_out_differently_is_enough_for_no(tmp_path, monkeypatch):
    one = make_submission(tmp_path, "one")
    records = [make_record(one, TRACK, digits, 0, 0.9) for digits in TRACK.digits]
    save_all(tmp_path, records)
    found = recorded_trials(one, TRACK, tmp_path / "results", HARNESS)

    def again(*_, on_record, **__):
        on_record(records[0])
        on_record(make_record(one, TRACK, 6, 0, 0.8))
        return ExitCode.DONE

    monkeypatch.setattr(reproduce, "watch_trials", again)
    said: list[str] = []
    assert reproduce.run_again(found, TRACK, device="cpu", num_workers=1, tell=said.append) is ExitCode.NEGATIVE
    assert [line.startswith(f"one d{digits}-s0: ") for digits, line in zip((3, 6), said, strict=True)] == [True, True]
    assert ["the same to the bit" in line for line in said] == [True, False]


@pytest.mark.parametrize(("what", "there"), [("torch", "2.99.0"), ("products", "other")])
def test_a_difference_names_what_of_the_machine_could_have_made_it(tmp_path, what, there):
    submission = make_submission(tmp_path, "one")
    then, now = (make_record(submission, TRACK, 3, 0, share) for share in (0.9, 0.8))
    elsewhere = then.environment.model_copy(update={what: there})
    _, line = verdict(then, now.model_copy(update={"environment": elsewhere}))
    assert f"(perhaps on another machine: {what} " in line
    assert f" -> {there})" in line
