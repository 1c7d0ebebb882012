"""Which trials run: every state of a record against every choice of what to run again."""

from pathlib import Path

import pytest
from made_records import HARNESS, make_failure, make_record, make_submission, make_track, save_all

from harness.plan import Plan, PlannedTrial, plan
from harness.ranking.rulings import Cleared, Hacked, Rulings
from harness.records import Audit, record_path, save
from harness.rerun import Rerun
from harness.submissions import Submission, read_folder
from harness.track import Track

TRACK = make_track(digits=[3], seeds=[0])
DOUBTFUL = ("stale", "stale failure", "unreadable", "contradictory")
STATES = ("missing", "fresh", "failed", "refused", "in review", "no sandbox", *DOUBTFUL)


@pytest.fixture
def submissions(tmp_path: Path) -> dict[str, Submission]:
    """One submission for each state of its only record."""
    found: dict[str, Submission] = {}
    for state in STATES:
        name = state.replace(" ", "_")
        found[state] = made = make_submission(tmp_path, name)
        record = make_record(made, TRACK, 3, 0, 0.5)
        old = record.fingerprints.model_copy(update={"harness": "of old"})
        failure = make_failure(made, TRACK, 3, 0, "T10: ids out of range")
        records = {
            "fresh": record,
            "failed": failure,
            "stale": record.model_copy(update={"fingerprints": old}),
            "stale failure": failure.model_copy(update={"fingerprints": old}),
            "contradictory": record.model_copy(update={"suites": None}),
            "refused": record.model_copy(update={"audits": [Audit(rule="T70", level="gate", seen="carries")]}),
            "in review": record.model_copy(update={"audits": [Audit(rule="T90", level="review", seen="easier")]}),
            "no sandbox": record.model_copy(update={"isolation": "none"}),
        }
        if state in records:
            save(records[state], tmp_path / "results")
        elif state == "unreadable":
            path = record_path(tmp_path / "results", TRACK.name, name, 3, 0)
            path.parent.mkdir(parents=True)
            path.write_text("{")
    return found


def planned(root: Path, submissions: dict[str, Submission], rerun: Rerun | None, track: Track = TRACK) -> Plan:
    return plan(track, list(submissions.values()), root / "results", HARNESS, rerun, Rulings())


@pytest.mark.parametrize(
    ("rerun", "runs", "failed"),
    [
        (None, {"missing", *DOUBTFUL}, {"failed", "refused"}),
        (Rerun.missing, {"missing"}, {"failed", "refused"}),
        (Rerun.failed, {"missing", "failed", "refused", "in review"}, set()),
        (Rerun.stale, {"missing", *DOUBTFUL, "no sandbox"}, {"failed", "refused"}),
        (Rerun.all, set(STATES), set()),
    ],
)
def test_each_choice_runs_the_states_that_it_names_and_what_has_no_record(tmp_path, submissions, rerun, runs, failed):
    made = planned(tmp_path, submissions, rerun)
    assert {trial.submission.name.replace("_", " ") for trial in made.to_run} == runs
    assert {trial.submission.name.replace("_", " ") for trial in made.failed} == failed
    assert made.num_up_to_date == len({"fresh", "in review", "no sandbox"} - runs)
    assert made.num_stale == len({*DOUBTFUL} - runs)


def test_what_a_maintainer_ruled_holds_for_the_plan_as_for_the_board(tmp_path, submissions):
    """A review that was cleared is a fresh record; of a submission that is marked as hacked nothing runs."""
    doubted, code = submissions["in review"], submissions["missing"].folder / "submission.py"
    code.write_text("x = 1\n")  # or the others would be copies of what is marked
    ruled = {"reason": "Looked at.", "date": "2026-11-27"}
    cleared = Cleared(submission=doubted.name, fingerprint=doubted.fingerprint, rule="T90", **ruled)
    rulings = Rulings(cleared=[cleared], hacked=[Hacked(submission="missing", **ruled)])
    entries = [entry for one in submissions.values() if isinstance(entry := read_folder(one.folder), Submission)]
    for rerun, runs in ((Rerun.failed, {"failed", "refused"}), (Rerun.all, set(STATES) - {"missing"})):
        made = plan(TRACK, entries, tmp_path / "results", HARNESS, rerun, rulings)
        assert {trial.submission.name.replace("_", " ") for trial in made.to_run} == runs
        assert made.num_hacked == 1
        assert made.cleared == [cleared]
        assert "; 1 submission marked as hacked, not run" in made.summary("tiny", dry_run=False)


def test_a_plan_says_why_each_trial_runs(tmp_path, submissions):
    why = {trial.submission.name: trial.why for trial in planned(tmp_path, submissions, Rerun.all).to_run}
    assert why["missing"] == "missing"
    assert why["fresh"] == "asked for, though its record is fresh"
    assert why["failed"] == "T10: ids out of range"
    assert why["stale"] == why["stale_failure"] == "the harness changed since"
    assert why["unreadable"] == "the record is truncated or not JSON"


def test_every_trial_of_the_track_is_planned_once_in_order(tmp_path):
    track = make_track(digits=[6, 3], seeds=[1, 0])
    both = {name: make_submission(tmp_path, name) for name in ("a", "b")}
    names = [trial.name for trial in planned(tmp_path, both, None, track).to_run]
    assert names == ["a d6-s1", "a d6-s0", "a d3-s1", "a d3-s0", "b d6-s1", "b d6-s0", "b d3-s1", "b d3-s0"]


def test_nothing_runs_once_every_record_is_there_and_a_new_seed_runs_alone(tmp_path):
    track = make_track(digits=[3, 6], seeds=[0, 1])
    one = {"one": make_submission(tmp_path, "one")}
    trials = planned(tmp_path, one, None, track).to_run
    save_all(tmp_path, [make_record(trial.submission, track, trial.digits, trial.seed, 0.5) for trial in trials])
    assert planned(tmp_path, one, None, track) == Plan([], 4, [], 0, 0, 0)
    more = make_track(digits=[3, 6], seeds=[0, 1, 2])
    assert [trial.name for trial in planned(tmp_path, one, None, more).to_run] == ["one d3-s2", "one d6-s2"]


def test_an_edit_of_the_submission_makes_its_trials_run_again_and_no_others(tmp_path):
    both = {name: make_submission(tmp_path, name) for name in ("a", "b")}
    records = [make_record(submission, TRACK, 3, 0, 0.5) for submission in both.values()]
    save_all(tmp_path, records)
    (both["b"].folder / "submission.py").write_text("x = 1\n")
    edited = read_folder(both["b"].folder)
    assert isinstance(edited, Submission)
    made = planned(tmp_path, {**both, "b": edited}, None)
    assert made.to_run == [
        PlannedTrial(edited, 3, 0, "the submission changed since", replaces=records[1].sealed().digest)
    ]
    assert made.num_up_to_date == 1


def test_records_of_another_track_and_of_other_trials_are_no_records_of_this_one(tmp_path):
    one = make_submission(tmp_path, "one")
    other = make_track(name="other", digits=[3], seeds=[0])
    save_all(tmp_path, [make_record(one, other, 3, 0, 0.5), make_record(one, TRACK, 3, 5, 0.5)])
    assert [trial.why for trial in planned(tmp_path, {"one": one}, None).to_run] == ["missing"]


def test_a_record_edited_by_hand_runs_again(tmp_path):
    one = make_submission(tmp_path, "one")
    path = save(make_record(one, TRACK, 3, 0, 0.5), tmp_path / "results")
    path.write_text(path.read_text().replace('"correct": 500', '"correct": 1000'))
    (trial,) = planned(tmp_path, {"one": one}, None).to_run
    assert trial.why == "the record was edited after it was written: its digest does not match"


def test_a_track_defined_anew_under_its_name_is_told_before_its_records_are_replaced(tmp_path):
    one, track = {"one": make_submission(tmp_path, "one")}, make_track(digits=[3], seeds=[0, 1])
    save_all(tmp_path, [make_record(one["one"], track, 3, 0, 0.5)])
    longer = make_track(digits=[3], seeds=[0, 1], training=track.training.model_copy(update={"epochs": 7}))
    assert "replacing" not in planned(tmp_path, one, None, track).summary("t", dry_run=False)
    summary = planned(tmp_path, one, None, longer).summary("t", dry_run=False)
    told = "(replacing 1 record of another definition of this track; another `name` keeps both)"
    assert summary == f"track t: 2 trials to run, 0 up to date {told}"


def test_stale_trials_are_told_even_if_there_is_nothing_to_run() -> None:
    assert "1 stale" in Plan([], 4, [], 1, 0, 0).summary("mine", dry_run=False)


def test_records_of_another_harness_are_of_the_same_definition(tmp_path: Path) -> None:
    submission = make_submission(tmp_path, "one")
    save_all(tmp_path, [make_record(submission, TRACK, 3, 0, 0.5)])
    planned = plan(TRACK, [submission], tmp_path / "results", "another harness", None, Rulings())
    assert len(planned.to_run) == 1
    assert "replacing" not in planned.summary("mine", dry_run=False)
