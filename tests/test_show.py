"""`harness show`, for records that the board has to believe in and for those it cannot."""

import pytest
from made_records import HARNESS, make_record, make_submission, make_track, save_all

import harness.commands.show
from harness.commands.show import shown
from harness.records import Audit, Score
from harness.track import load_track


@pytest.fixture(autouse=True)
def _fixed_harness(monkeypatch):
    monkeypatch.setattr(harness.commands.show, "harness_fingerprint", lambda: HARNESS)


def test_a_trial_is_shown_with_its_counts_and_intervals(tmp_path):
    track, one = make_track(digits=[3], seeds=[0]), make_submission(tmp_path, "one")
    save_all(tmp_path, [make_record(one, track, 3, 0, 0.9)])
    # Wilson's interval of 900 of 1000.
    assert "fresh       0.900  [0.880, 0.917]  900 of 1000" in shown(one, track, tmp_path / "results")


def test_a_trial_is_shown_with_its_four_speeds(tmp_path):
    track, one = make_track(digits=[3], seeds=[0]), make_submission(tmp_path, "one")
    save_all(tmp_path, [make_record(one, track, 3, 0, 0.9)])
    text = shown(one, track, tmp_path / "results")
    assert "throughput  examples/s 60,000 encoded, 400 trained, 2,000 scored, 200 decoded\n" in text
    assert "            of the reference 0.25, 1.25, 0.75, 0.50\n" in text


def test_a_suite_of_no_problem_is_shown_as_nothing_and_the_record_as_unverified(tmp_path):
    track, one = make_track(digits=[3], seeds=[0]), make_submission(tmp_path, "one")
    record = make_record(one, track, 3, 0, 0.9)
    empty = record.suites.model_copy(update={"edge": Score(correct=0, total=0)})
    save_all(tmp_path, [record.model_copy(update={"suites": empty})])
    text = shown(one, track, tmp_path / "results")
    assert "state       unverified: the record counts 0 right of 0" in text
    assert "edge        -\n" in text


def test_lengths_and_chains_stand_in_the_order_of_numbers_as_a_record_on_disk_does_not_keep_them(tmp_path):
    track, one = load_track("length"), make_submission(tmp_path, "one")
    record = make_record(one, track, 10, 0, 0.5)
    lengths = {str(length): Score(correct=length, total=20) for length in range(1, 21)}
    fresh = {str(length): Score(correct=5, total=20) for length in range(11, 21)}
    suites = record.suites.model_copy(update={"lengths": lengths, "fresh_lengths": fresh})
    save_all(tmp_path, [record.model_copy(update={"suites": suites})])
    text = shown(one, track, tmp_path / "results")
    in_order = "  ".join(f"{length}: {length / 20:.3f}" for length in range(1, 21))
    assert f"lengths     {in_order}" in text
    assert f"fresh     {'  '.join(f'{length}: 0.250' for length in range(11, 21))}   (drawn for this trial)" in text
    assert f"ranked by   {sum(range(11, 21)) / 200:.3f}, the mean of the lengths beyond" in text
    assert "carry       0: 0.500  1: 0.500  2: 0.500" in text
    assert "9: 0.500  10: 0.500   (by longest chain)" in text


def test_nothing_in_a_record_can_draw_on_the_terminal(tmp_path):
    track, one = make_track(digits=[3], seeds=[0]), make_submission(tmp_path, "one")
    record = make_record(one, track, 3, 0, 0.9)
    hostile = "\x1b]0;OWNED\x07##[group]\x1b[2J"
    elsewhere = record.environment.model_copy(update={"device": hostile, "torch": hostile})
    found = Audit(rule="T80", level="tag", seen=hostile)
    save_all(tmp_path, [record.model_copy(update={"environment": elsewhere, "audits": [found]})])
    text = shown(one, track, tmp_path / "results")
    assert text.count("?]0;OWNED?# #[group]?[2J") == 3
    assert "\x1b" not in text
