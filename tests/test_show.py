"""`harness show`, for records that the board has to believe in and for those it cannot."""

import re

import pytest
from made_records import HARNESS, make_record, make_submission, make_track, save_all

import harness.commands.show
from harness.commands.show import shown
from harness.ranking.rulings import read_rulings
from harness.records import Audit, Checkpoint, CurvePoint, Drift, Parameters, Score
from harness.track import EvaluationDefinition, load_track


@pytest.fixture(autouse=True)
def _fixed_harness(monkeypatch):
    monkeypatch.setattr(harness.commands.show, "harness_fingerprint", lambda: HARNESS)


def test_a_trial_is_shown_with_its_counts_and_intervals(tmp_path):
    track, one = make_track(digits=[3], seeds=[0]), make_submission(tmp_path, "one")
    save_all(tmp_path, [make_record(one, track, 3, 0, 0.9)])
    # Wilson's interval of 900 of 1000.
    assert "fresh       0.900  [0.880, 0.917]  900 of 1000" in shown(one, track, tmp_path / "results", [one])


def test_a_trial_is_shown_with_its_four_speeds(tmp_path):
    track, one = make_track(digits=[3], seeds=[0]), make_submission(tmp_path, "one")
    save_all(tmp_path, [make_record(one, track, 3, 0, 0.9)])
    text = shown(one, track, tmp_path / "results", [one])
    assert "throughput  examples/s 60,000 encoded, 400 trained, 2,000 scored, 200 decoded\n" in text
    assert "            of the reference 0.25, 1.25, 0.75, 0.50\n" in text


def test_a_suite_of_no_problem_is_shown_as_nothing_and_the_record_as_unverified(tmp_path):
    track, one = make_track(digits=[3], seeds=[0]), make_submission(tmp_path, "one")
    record = make_record(one, track, 3, 0, 0.9)
    empty = record.suites.model_copy(update={"edge": Score(correct=0, total=0)})
    save_all(tmp_path, [record.model_copy(update={"suites": empty})])
    text = shown(one, track, tmp_path / "results", [one])
    assert "state       unverified: the record counts 0 right of 0" in text
    assert "edge        -\n" in text


def test_lengths_and_chains_stand_in_the_order_of_numbers_as_a_record_on_disk_does_not_keep_them(tmp_path):
    track, one = load_track("length"), make_submission(tmp_path, "one")
    record = make_record(one, track, 10, 0, 0.5)
    lengths = {str(length): Score(correct=length, total=20) for length in range(1, 21)}
    fresh = {str(length): Score(correct=5, total=20) for length in range(11, 21)}
    suites = record.suites.model_copy(update={"lengths": lengths, "fresh_lengths": fresh})
    save_all(tmp_path, [record.model_copy(update={"suites": suites})])
    text = shown(one, track, tmp_path / "results", [one])
    in_order = "  ".join(f"{length}: {length / 20:.3f}" for length in range(1, 21))
    assert f"lengths     {in_order}" in text
    assert f"fresh     {'  '.join(f'{length}: 0.250' for length in range(11, 21))}   (drawn for this trial)" in text
    assert "ranked by   0.250, the mean of the fresh lengths\n" in text
    assert "carry       0: 0.500  1: 0.500  2: 0.500" in text
    assert "9: 0.500  10: 0.500   (by longest chain)" in text


def test_nothing_in_a_record_can_draw_on_the_terminal(tmp_path):
    track, one = make_track(digits=[3], seeds=[0]), make_submission(tmp_path, "one")
    record = make_record(one, track, 3, 0, 0.9)
    hostile = "\x1b]0;OWNED\x07##[group]\x1b[2J"
    elsewhere = record.environment.model_copy(update={"device": hostile, "torch": hostile})
    found = Audit(rule="T80", level="tag", seen=hostile)
    save_all(tmp_path, [record.model_copy(update={"environment": elsewhere, "audits": [found]})])
    text = shown(one, track, tmp_path / "results", [one])
    assert text.count("?]0;OWNED?# #[group]?[2J") == 3
    assert "\x1b" not in text


def test_parameters_the_table_the_curve_and_the_best_checkpoint_are_shown_each_under_its_name(tmp_path):
    evaluation = EvaluationDefinition(fresh=100, test=100, lengths=100, validation=10)
    track = make_track(digits=[2], seeds=[0], longest=3, evaluation=evaluation)
    one = make_submission(tmp_path, "one")
    lengths = {str(length): Score(correct=100 - length, total=100) for length in (1, 2, 3)}
    more = {
        "best": Checkpoint(step=1200, validation_accuracy=0.5, lengths=lengths),
        "drift": Drift(rows=12, touched_rows=8, touched=0.25, untouched=0.003),
        "parameters": Parameters(model=668_942, positions=1536),
        "curve": [CurvePoint(step=10, examples=640, loss=1.5, accuracy=0.25, digit_accuracy=0.75)],
    }
    save_all(tmp_path, [make_record(one, track, 2, 0, 0.5, **more)])
    text = shown(one, track, tmp_path / "results", [one])
    assert "  best        1: 0.990  2: 0.980  3: 0.970   (the weights after step 1,200)\n" in text
    assert "  drift       8 of 12 rows of the table trained by 0.25; the others by 0.003\n" in text
    assert "  parameters  668,942 in the model, 1,536 in the positions\n" in text
    headings, _, point = text.split("\n\n")[-2].splitlines()
    assert headings.split() == ["examples", "loss", "exact", "match", "digit", "accuracy"]
    assert point.split() == ["640", "1.500", "0.250", "0.750"]


def test_trials_that_are_missing_are_counted_in_one_line(tmp_path):
    track, one = make_track(digits=[3, 6], seeds=[0, 1, 2]), make_submission(tmp_path, "one")
    save_all(tmp_path, [make_record(one, track, 6, 1, 0.9)])
    text = shown(one, track, tmp_path / "results", [one])
    assert [line for line in text.splitlines() if line.startswith("mine")] == [
        "mine, 3 seeds, closed division",
        "mine, 6 digits, seed 1",
        "mine: 5 of 6 trials not run; `harness run one --track FILE` runs what is missing",
    ]


def test_a_submission_is_shown_with_its_row_of_the_board_first(tmp_path):
    """The mean of 0.59 and 0.61, too far below the best to share its rank."""
    track = make_track(digits=[3], seeds=[0, 1])
    one, best, new = (make_submission(tmp_path, name, code=f"NAME = {name!r}\n") for name in ("one", "best", "new"))
    shares = {"one": (0.59, 0.61), "best": (1.0, 1.0)}
    save_all(
        tmp_path,
        [make_record(each, track, 3, seed, shares[each.name][seed]) for each in (one, best) for seed in track.seeds],
    )
    head = shown(one, track, tmp_path / "results", [one, best, new]).split("\n\n")[1].splitlines()
    assert head[0] == "mine, 2 seeds, closed division"
    assert head[1] == "  state       fresh"
    assert head[2] == "  rank        2, provisional: fewer than 5 seeds"
    assert re.fullmatch(r"  score       0\.600  \[0\.\d{3}, 0\.\d{3}\]  mean over 2 seeds", head[3])
    assert head[4:] == [f"  fingerprint {one.fingerprint}"]
    unrun = shown(new, track, tmp_path / "results", [new, one, best]).split("\n\n")[1].splitlines()
    assert unrun[1:] == ["  state       not run: 0 of 2 trials", f"  fingerprint {new.fingerprint}"]


def test_what_is_shown_for_a_review_clears_it_when_a_maintainer_pastes_it(tmp_path):
    track, one = make_track(digits=[3], seeds=[0, 1]), make_submission(tmp_path, "one")
    audits = [Audit(rule="T55", level="review", seen="seen"), Audit(rule="T50", level="review", seen="seen too")]
    records = [make_record(one, track, 3, seed, 0.5, audits=audits) for seed in track.seeds]
    save_all(tmp_path, records)
    results = tmp_path / "results"

    def pasted() -> list[str]:
        return [line for line in shown(one, track, results, [one]).splitlines() if line.startswith("  - {")]

    first, second = pasted()
    assert [one.rule for one in read_pasted(results, first, second)] == ["T50", "T55"]
    assert pasted() == []
    assert "  state       fresh\n" in shown(one, track, results, [one])
    read_pasted(results, first)
    assert pasted() == [second]


def read_pasted(results, *lines):
    """The rulings, as read from a file that holds these lines."""
    (results / "cleared.yaml").write_text("\n".join(["rows:", *lines, ""]))
    return read_rulings(results).cleared


def test_mistakes_on_a_length_track_are_said_to_be_of_the_trained_lengths(tmp_path):
    track, one, other = load_track("length"), make_submission(tmp_path, "one"), make_submission(tmp_path, "other")
    save_all(tmp_path, [make_record(one, track, 10, 0, 0.5), make_record(other, track, 10, 0, 0.5, mistakes=[])])
    some, none = (shown(each, track, tmp_path / "results", [each]) for each in (one, other))
    assert re.search(r"^  mistake \(trained lengths\) +answer +got$", some, flags=re.M)
    assert "\n\n  no mistakes among the trained lengths; answers to longer problems are not kept\n" in none
    assert "mistake" not in none.replace("no mistakes among", "")
