"""`harness compare`: what stands in its table, when it says worse, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest
from commands import harness
from made_records import HARNESS, make_failure, make_record, make_submission, make_track, make_trials, save_all

from harness.commands.compare import Verdict, compared
from harness.errors import UsageError
from harness.ranking.scoring import Row, rows_of
from harness.records import Record
from harness.submissions import Submission
from harness.track import EvaluationDefinition, Track, load_track


def rows(track: Track, *trials: tuple[Submission, list[Record]], harness: str = HARNESS) -> list[Row]:
    """Of each submission with its records, in the order given."""
    records = [record for _, own in trials for record in own]
    found = {row.name: row for row in rows_of(track, [submission for submission, _ in trials], records, harness)}
    return [found[submission.name] for submission, _ in trials]


def two(root: Path, track: Track, first: float, second: float) -> list[Row]:
    one, other = make_submission(root, "one"), make_submission(root, "other")
    return rows(track, (one, make_trials(one, track, first)), (other, make_trials(other, track, second)))


def cells_of(text: str, heading: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(heading))
    return [cell for cell in line.replace(heading, "", 1).split("  ") if cell]


def test_every_number_of_digits_has_both_shares_with_intervals_their_difference_and_its_p(tmp_path):
    track = make_track(digits=[3, 6], seeds=[0])
    one, other = make_submission(tmp_path, "one"), make_submission(tmp_path, "other")
    first = [make_record(one, track, 3, 0, 0.9), make_record(one, track, 6, 0, 0.5)]
    second = [make_record(other, track, 3, 0, 0.8), make_record(other, track, 6, 0, 0.5)]
    text, verdict = compared(*rows(track, (one, first), (other, second)), track, "mine")
    # 0.1 - √((0.9 - 0.880)² + (0.824 - 0.8)²) = 0.069, and mirrored; both Wilson bounds of 500 of 1000 are 0.031 off.
    assert [cell.strip() for cell in cells_of(text, "3 digits")] == [
        "0.900 [0.880, 0.917]",
        "0.800 [0.774, 0.824]",
        "+0.100 [+0.069, +0.131]",
        "< 0.0001",
    ]
    assert [cell.strip() for cell in cells_of(text, "6 digits")][2:] == ["0.000 [-0.044, +0.044]", "= 1.0000"]
    assert cells_of(text, "mean")[2].strip().startswith("+0.050")
    assert [cell.strip() for cell in cells_of(text, "examples to 90 %")] == ["12.8k / -", "- / -"]
    assert verdict is Verdict.BETTER


def test_trainings_on_two_processors_of_one_product_line_are_told_apart(tmp_path):
    track = make_track(digits=[3], seeds=[0])
    one, other = two(tmp_path, track, 0.9, 0.8)
    assert "one device" not in compared(one, other, track, "mine")[0]
    moved = one.trials[0].environment.model_copy(update={"device": "Some CPU (family 25, model 1)"})
    elsewhere = replace(other, trials=(other.trials[0].model_copy(update={"environment": moved}),))
    text, _ = compared(one, elsewhere, track, "mine")
    assert "Perhaps not trained on one device (Some CPU, Some CPU (family 25, model 1))" in text
    other_line = moved.model_copy(update={"device": "Some GPU"})
    elsewhere = replace(other, trials=(other.trials[0].model_copy(update={"environment": other_line}),))
    text, _ = compared(one, elsewhere, track, "mine")
    assert "\nNot trained on one device (Some CPU, Some GPU)" in text


def test_a_length_that_two_trainings_are_tested_at_says_of_each_line_which_it_was(tmp_path):
    evaluation = EvaluationDefinition(fresh=1000, test=1000, lengths=1000, validation=100)
    track = make_track(digits=[2, 3], seeds=[0], longest=5, evaluation=evaluation)
    text, _ = compared(*two(tmp_path, track, 0.9, 0.8), track, "mine")
    headings = [line.split("  ")[0] for line in text.splitlines()[2:7]]
    of_two = [f"{length} digits, trained to 2" for length in (3, 4, 5)]
    assert headings == [*of_two, "4 digits, trained to 3", "5 digits, trained to 3"]


@pytest.mark.parametrize(
    ("first", "second", "verdict", "said"),
    [
        (0.9, 0.8, Verdict.BETTER, "one is better than other: +0.100"),
        (0.8, 0.9, Verdict.WORSE, "one is worse than other: -0.100"),
        (0.9, 0.899, Verdict.NOT_SEPARATED, "one and other are not separated: +0.001"),
    ],
)
def test_the_verdict_is_on_the_first(tmp_path, first, second, verdict, said):
    track = make_track()
    text, found = compared(*two(tmp_path, track, first, second), track, "mine")
    assert found is verdict
    assert said in text


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ([0], "Provisional: one seed compares two trained models."),
        ([0, 1], "Provisional: fewer than 5 seeds"),
    ],
)
def test_with_few_seeds_the_verdict_is_provisional_and_says_what_it_is_about(tmp_path, seeds, said):
    track = make_track(seeds=seeds)
    assert said in compared(*two(tmp_path, track, 0.9, 0.8), track, "mine")[0]


def test_a_p_below_the_level_that_does_not_separate_is_explained(tmp_path):
    """2000 of 2000 and 1996: p is .045, and Newcombe's interval is [-0.0000, 0.0051]."""
    track = make_track(digits=[3], seeds=[0], evaluation=EvaluationDefinition(fresh=2000, test=1000))
    text, verdict = compared(*two(tmp_path, track, 1.0, 0.998), track, "mine")
    assert verdict is Verdict.NOT_SEPARATED
    assert (
        "+0.002 [0.000, +0.005] of exact match, p = 0.0454 by a test on the counts "
        "(below 0.05, but the interval of the difference holds 0)." in text
    )


def test_a_p_that_separates_or_is_above_the_level_needs_no_explanation(tmp_path):
    track = make_track()
    for place, second in enumerate((0.8, 0.899)):
        assert "holds 0" not in compared(*two(tmp_path / str(place), track, 0.9, second), track, "mine")[0]


def test_five_seeds_are_compared_in_pairs_and_nothing_is_provisional(tmp_path):
    track = make_track(seeds=[0, 1, 2, 3, 4])
    text, _ = compared(*two(tmp_path, track, 0.9, 0.8), track, "mine")
    assert "by t-tests that pair seeds and one on the counts" in text
    assert "Provisional" not in text


def test_a_trial_that_does_not_rank_is_missed_too(tmp_path):
    """Of 10 digits no length lies beyond training, so the ranking number is complete without them."""
    evaluation = EvaluationDefinition(fresh=1000, test=1000, lengths=1000, validation=100)
    track = make_track(digits=[5, 10], seeds=[0], longest=10, evaluation=evaluation)
    one, other = make_submission(tmp_path, "one"), make_submission(tmp_path, "other")
    found = rows(track, (one, make_trials(one, track, 0.9)), (other, [make_record(other, track, 5, 0, 0.8)]))
    assert found[1].counts is not None
    with pytest.raises(UsageError, match=r"other has no complete results on mine \(incomplete: 1 of 2 trials"):
        compared(*found, track, "mine")


def test_what_is_stale_or_open_is_said(tmp_path):
    track = make_track()
    old, tuned = make_submission(tmp_path, "old"), make_submission(tmp_path, "tuned", open_division=True)
    trials = (old, make_trials(old, track, 0.9)), (tuned, make_trials(tuned, track, 0.8))
    fresh, _ = compared(*rows(track, *trials), track, "mine")
    assert "tuned sets hyper-parameters itself" in fresh
    assert "stale" not in fresh
    stale, _ = compared(*rows(track, *trials, harness="another harness"), track, "mine")
    assert "old is stale: 4 of 4 trials: the harness changed since." in stale


def test_results_of_different_versions_of_the_track_are_not_compared(tmp_path):
    """As when a track scores by other problems than it did: the difference would be between tracks."""
    track = make_track()
    before = make_track(evaluation=track.evaluation.model_copy(update={"test": 999}))
    old, new = make_submission(tmp_path, "old"), make_submission(tmp_path, "new")
    mixed = rows(track, (old, make_trials(old, before, 0.5)), (new, make_trials(new, track, 0.9)))
    with pytest.raises(UsageError, match=r"old and new on mine are of different versions .*`harness run old --track"):
        compared(*mixed, track, "mine")


def test_trials_that_are_missing_are_named_with_the_remedy(tmp_path):
    track = make_track()
    one, other = make_submission(tmp_path, "one"), make_submission(tmp_path, "other")
    whole = make_trials(other, track, 0.9)
    for records, expected in (
        (
            whole[:3],
            r"other has no complete results on mine \(incomplete: 3 of 4 trials\); `harness run other --track mine`",
        ),
        (
            [make_failure(other, track, 3, 0, "T10: no"), *whole[1:]],
            r"other has no complete results .*T10: no\); fix it, then `harness run",
        ),
        ([], r"not run: 0 of 4 trials"),
    ):
        made = rows(track, (one, make_trials(one, track, 0.9)), (other, records))
        with pytest.raises(UsageError, match=expected):
            compared(*made, track, "mine")


def test_the_exit_code_says_whether_the_first_is_worse(tmp_path):
    track = load_track("smoke")
    for name, share in (("good", 0.9), ("bad", 0.5)):
        save_all(tmp_path, make_trials(make_submission(tmp_path, name), track, share))

    def compare(one: str, other: str) -> tuple[int, str]:
        done = harness(tmp_path, "compare", one, other, "-t", "smoke")
        return done.returncode, done.stdout or done.stderr

    code, text = compare("good", "bad")
    assert (code, "good is better than bad" in text) == (0, True)
    code, text = compare("bad", "good")
    assert (code, "bad is worse than good" in text) == (1, True)
    assert compare("good", "good") == (2, "harness: good cannot be compared with itself; name two submissions\n")
