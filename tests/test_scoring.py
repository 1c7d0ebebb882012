"""Rows, states and ranks, against scores and orders worked out by hand from records made with known counts."""

import shutil
from pathlib import Path

import pytest
from made_records import (
    HARNESS,
    THROUGHPUT,
    make_failure,
    make_record,
    make_submission,
    make_track,
    make_trials,
    save_all,
    with_lengths,
)

from harness.errors import RecordError
from harness.ranking.scoring import Row, SpeedRatios, _reach, ranking_heading, rows_of
from harness.ranking.standing import State, standing_of, state_of
from harness.ranking.statistics import Estimate
from harness.records import Audit, Checkpoint, Fingerprints, Record, Score, Suites, read_all, record_path, save
from harness.submissions import discover, read_folder
from harness.task import fixed_suites, fresh_suites, strata
from harness.track import EvaluationDefinition


def rows_from(root: Path, track, records) -> dict[str, Row]:
    """The rows by name, over records that went to disk and back."""
    save_all(root, records)
    found = read_all(root / "results", track.name)
    return {row.name: row for row in rows_of(track, discover(root), found, HARNESS)}


def counts_of(track, submission, right: int, **changes):
    """A record of each trial with exactly `right` fresh problems right."""
    records = make_trials(submission, track, 0.5, **changes)
    fresh = Score(correct=right, total=track.evaluation.fresh)
    return [r.model_copy(update={"suites": r.suites.model_copy(update={"fresh": fresh})}) for r in records]


def test_accuracy_is_the_mean_over_seeds_and_then_over_digits(tmp_path):
    track, one = make_track(), make_submission(tmp_path, "one")
    shares = {(3, 0): 1.0, (3, 1): 0.9, (6, 0): 0.5, (6, 1): 0.1}
    records = [make_record(one, track, digits, seed, share) for (digits, seed), share in shares.items()]
    row = rows_from(tmp_path, track, records)["one"]
    assert row.standing.state is State.FRESH
    assert [row.results[digits].fresh.value for digits in (3, 6)] == pytest.approx([0.95, 0.3])
    assert row.score.value == pytest.approx(0.625)
    assert row.results[6].test == row.results[6].longest_carry == pytest.approx(0.3)
    assert row.results[6].edge == pytest.approx((84 / 169 + 17 / 169) / 2)  # 0.5 and 0.1 of 169, as near as counts come


def test_a_record_of_this_code_is_fresh(tmp_path):
    track, one = make_track(), make_submission(tmp_path, "one")
    assert state_of(make_record(one, track, 3, 0, 1), one, track, HARNESS) == (State.FRESH, None)


@pytest.mark.parametrize("part", ["submission", "track", "harness"])
def test_a_record_of_other_code_is_stale_and_says_what_changed(tmp_path, part):
    track, one = make_track(), make_submission(tmp_path, "one")
    record = make_record(one, track, 3, 0, 1)
    prints = record.fingerprints.model_copy(update={part: "of old"})
    state, reason = state_of(record.model_copy(update={"fingerprints": prints}), one, track, HARNESS)
    assert state is State.STALE
    assert reason == f"the {part} changed since"


def test_a_stale_row_keeps_its_numbers_and_loses_its_rank(tmp_path):
    track, one = make_track(), make_submission(tmp_path, "one")
    records = make_trials(one, track, 0.8)
    (tmp_path / "submissions/one/submission.py").write_text("# changed\n")
    row = rows_from(tmp_path, track, records)["one"]
    assert row.standing == (State.STALE, "4 of 4 trials: the submission changed since")
    assert row.rank is None
    assert row.score.value == pytest.approx(0.8)


def test_a_trial_that_failed_fails_the_row_which_keeps_its_other_numbers(tmp_path):
    track, one = make_track(), make_submission(tmp_path, "one")
    records = [*make_trials(one, track, 0.8)[:3], make_failure(one, track, 6, 1, "out of memory")]
    row = rows_from(tmp_path, track, records)["one"]
    assert row.standing == (State.FAILED, "1 of 4 trials: out of memory")
    assert row.rank is None
    assert row.score is None
    assert {digits: result.fresh.value for digits, result in row.results.items()} == pytest.approx({3: 0.8, 6: 0.8})


def test_a_failure_of_old_code_is_stale_so_that_it_runs_again(tmp_path):
    track, one = make_track(), make_submission(tmp_path, "one")
    record = make_failure(one, track, 3, 0, "out of memory")
    assert state_of(record, one, track, "new harness").state is State.STALE
    assert state_of(record, one, track, HARNESS) == (State.FAILED, "out of memory")


def test_a_folder_that_cannot_be_read_is_a_failed_row(tmp_path):
    track = make_track()
    make_submission(tmp_path, "one")
    (tmp_path / "submissions/broken").mkdir()
    row = rows_from(tmp_path, track, [])["broken"]
    assert row.standing.state is State.FAILED
    assert row.standing.reason.startswith("T00: ")


def test_a_record_edited_by_hand_makes_the_row_unverified(tmp_path):
    track, one = make_track(), make_submission(tmp_path, "one")
    save_all(tmp_path, make_trials(one, track, 0.8))
    path = record_path(tmp_path / "results", track.name, "one", 3, 0)
    path.write_text(path.read_text().replace('"correct": 800', '"correct": 999'))
    row = rows_of(track, [one], read_all(tmp_path / "results", track.name), HARNESS)[0]
    assert row.standing.state is State.UNVERIFIED
    assert row.standing.reason.startswith("d3-s0.json was edited")
    assert row.rank is None


@pytest.mark.parametrize("score", [{"correct": 1001, "total": 1000}, {"correct": 0, "total": 0}])
def test_counts_that_cannot_be_are_unverified_though_the_digest_holds(tmp_path, score):
    track, one = make_track(digits=[3], seeds=[0]), make_submission(tmp_path, "one")
    record = make_record(one, track, 3, 0, 1)
    suites = record.suites.model_copy(update={"edge": Score.model_construct(**score)})
    state, reason = state_of(record.model_copy(update={"suites": suites}), one, track, HARNESS)
    assert state is State.UNVERIFIED
    assert f"{score['correct']} right of {score['total']}" in reason


def test_a_record_that_says_ok_without_suites_is_unverified(tmp_path):
    track, one = make_track(digits=[3], seeds=[0]), make_submission(tmp_path, "one")
    row = rows_from(tmp_path, track, [make_record(one, track, 3, 0, 1, suites=None)])["one"]
    assert row.standing.state is State.UNVERIFIED
    assert not row.trials


@pytest.mark.parametrize("name", ["d3-s9.json", "d4-s0.json", "notes.json"])
def test_a_bad_file_of_no_trial_of_the_track_keeps_no_row_from_its_rank(tmp_path, name):
    track, one = make_track(digits=[3], seeds=[0]), make_submission(tmp_path, "one")
    save_all(tmp_path, make_trials(one, track, 1))
    (tmp_path / "results" / track.name / "one" / name).write_text("{}")
    (row,) = rows_of(track, [one], list(read_all(tmp_path / "results", track.name)), HARNESS)
    assert row.rank is not None


def test_a_row_made_without_a_sandbox_never_ranks(tmp_path):
    track, one = make_track(), make_submission(tmp_path, "one")
    row = rows_from(tmp_path, track, make_trials(one, track, 1, isolation="none"))["one"]
    assert row.standing.state is State.NO_SANDBOX
    assert "--rerun stale" in row.standing.reason
    assert row.rank is None


def test_records_whose_folder_is_gone_are_an_unverified_row(tmp_path):
    track, one, gone = make_track(), make_submission(tmp_path, "one"), make_submission(tmp_path, "gone")
    records = make_trials(gone, track, 1)
    shutil.rmtree(gone.folder)
    row = rows_from(tmp_path, track, [*records, *make_trials(one, track, 0.5)])["gone"]
    assert row.standing == (State.UNVERIFIED, "the folder is gone; put it back, or delete its records")
    assert row.score.value == 1
    assert row.rank is None


def test_missing_trials_make_the_row_incomplete_and_none_make_it_not_run(tmp_path):
    track, one = make_track(), make_submission(tmp_path, "one")
    make_submission(tmp_path, "two")
    rows = rows_from(tmp_path, track, make_trials(one, track, 1)[:3])
    assert rows["one"].standing == (State.INCOMPLETE, "3 of 4 trials")
    assert rows["two"].standing == (State.NOT_RUN, "0 of 4 trials")
    assert rows["one"].rank is rows["two"].rank is None
    assert rows["one"].speeds == {}  # ratios of some numbers of digits, beside those of all


def test_trials_the_track_no_longer_names_do_not_count(tmp_path):
    track, one = make_track(), make_submission(tmp_path, "one")
    wider = make_track(digits=[3, 6, 9])
    row = rows_from(tmp_path, track, [*make_trials(one, wider, 0.8), make_record(one, track, 3, 99, 0)])["one"]
    assert row.standing.state is State.FRESH
    assert len(row.trials) == 4


def test_rows_that_are_not_separated_share_a_rank_and_the_next_place_is_left_out(tmp_path):
    track = make_track(digits=[3], seeds=[0])
    records = []
    for name, right in {"a": 950, "b": 945, "c": 800, "d": 500}.items():
        records += counts_of(track, make_submission(tmp_path, name), right)
    rows = rows_from(tmp_path, track, records)
    assert list(rows) == ["a", "b", "c", "d"]
    assert [(row.rank.place, row.rank.is_shared) for row in rows.values()] == [
        (1, True),
        (1, True),
        (3, False),
        (4, False),
    ]


def test_a_chain_of_near_neighbours_does_not_hold_first_and_last_together(tmp_path):
    """Each is within luck of the next (p > 0.05), but the third is not within luck of the first."""
    track = make_track(digits=[3], seeds=[0])
    records = []
    for name, right in {"a": 900, "b": 880, "c": 860, "d": 840}.items():
        records += counts_of(track, make_submission(tmp_path, name), right)
    rows = rows_from(tmp_path, track, records)
    assert [row.rank.place for row in rows.values()] == [1, 1, 3, 3]


@pytest.mark.parametrize(("num_seeds", "is_provisional"), [(1, True), (4, True), (5, False)])
def test_ranks_are_provisional_with_fewer_than_five_seeds(tmp_path, num_seeds, is_provisional):
    track, one = make_track(seeds=list(range(num_seeds))), make_submission(tmp_path, "one")
    row = rows_from(tmp_path, track, make_trials(one, track, 1))["one"]
    assert row.rank == (1, False, is_provisional)


def test_the_open_division_ranks_apart(tmp_path):
    track = make_track()
    closed, opened = make_submission(tmp_path, "closed"), make_submission(tmp_path, "tuned", open_division=True)
    rows = rows_from(tmp_path, track, make_trials(closed, track, 0.5) + make_trials(opened, track, 1))
    assert rows["closed"].rank.place == rows["tuned"].rank.place == 1
    assert not rows["closed"].rank.is_shared


def test_an_unranked_track_gives_no_ranks(tmp_path):
    track, one = make_track(ranked=False), make_submission(tmp_path, "one")
    row = rows_from(tmp_path, track, make_trials(one, track, 1))["one"]
    assert row.standing.state is State.FRESH
    assert row.rank is None


def by_length(counts: dict[int, float]) -> dict[str, Score]:
    """Of a thousand; but there are no more than a hundred problems of one digit."""
    return {
        str(n): Score(correct=round(count / 10), total=100) if n == 1 else Score(correct=round(count), total=1000)
        for n, count in counts.items()
    }


def reach_of(root, shares: dict[int, float]):
    track = make_track(
        digits=[3],
        seeds=[0],
        longest=6,
        evaluation=EvaluationDefinition(fresh=1000, test=1000, lengths=1000, validation=100),
    )
    record = make_record(make_submission(root, "one"), track, 3, 0, 1)
    record = with_lengths(record, by_length({n: 1000 * share for n, share in shares.items()}))
    return rows_from(root, track, [record])["one"].results[3].reach


def test_reach_is_the_largest_length_with_nine_tenths_right_up_to_it(tmp_path):
    reach = reach_of(tmp_path, {1: 1, 2: 0.99, 3: 0.95, 4: 0.905, 5: 0.895, 6: 0.2})
    # Wilson at n = 1000: 0.905 goes down to 0.885, 0.895 up to 0.913.
    assert reach == (4, 3, 5)


def test_a_gap_ends_the_reach(tmp_path):
    assert reach_of(tmp_path, {1: 1, 2: 0.5, 3: 1, 4: 1, 5: 1, 6: 1}) == (1, 1, 1)


def test_reach_is_zero_when_even_one_digit_fails(tmp_path):
    assert reach_of(tmp_path, {1: 0.5, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1}) == (0, 0, 0)


def test_the_reach_is_that_of_the_mean_over_seeds_and_every_seeds_own_is_kept(tmp_path):
    track = make_track(
        digits=[3],
        seeds=[0, 1, 2],
        longest=4,
        evaluation=EvaluationDefinition(fresh=1000, test=1000, lengths=1000, validation=100),
    )
    one = make_submission(tmp_path, "one")
    # At 3 digits the mean is 0.933, at 4 digits 0.667, since one seed falls short of both and the others add both.
    right = {0: [1000, 1000, 1000, 1000], 1: [1000, 1000, 800, 0], 2: [1000, 1000, 1000, 1000]}
    records = []
    for seed, counts in right.items():
        record = make_record(one, track, 3, seed, 1)
        records.append(with_lengths(record, by_length(dict(enumerate(counts, start=1)))))
    result = rows_from(tmp_path, track, records)["one"].results[3]
    assert result.reach.value == 3
    assert result.seed_reaches == [4, 2, 4]


def test_counts_and_trials_of_a_row_are_in_one_order_whatever_that_of_the_track(tmp_path):
    track, one = make_track(digits=[3], seeds=[2, 0, 1]), make_submission(tmp_path, "one")
    records = [make_record(one, track, 3, seed, accuracy) for seed, accuracy in ((0, 0.5), (1, 0.6), (2, 0.9))]
    row = rows_from(tmp_path, track, records)["one"]
    assert [trial.seed for trial in row.trials] == [0, 1, 2]
    assert [right for (right,) in row.counts.correct.tolist()] == [500, 600, 900]
    assert row.results[3].seed_shares == [0.5, 0.6, 0.9]


@pytest.mark.parametrize("impossible", [Score(correct=0, total=0), Score(correct=12, total=10)])
def test_counts_that_no_trial_can_have_written_are_not_believed_of_the_best_checkpoint_either(tmp_path, impossible):
    one, track = make_submission(tmp_path, "one"), make_track(digits=[3], seeds=[0])
    best = Checkpoint(step=10, validation_accuracy=0.5, lengths={"4": impossible})
    (row,) = rows_of(track, [one], [make_record(one, track, 3, 0, 0.5, best=best)], HARNESS)
    assert row.standing.state is State.UNVERIFIED
    assert f"counts {impossible.correct} right of {impossible.total}" in (row.standing.reason or "")


def test_length_generalisation_ranks_by_what_lies_beyond_the_trained_lengths(tmp_path):
    """Up to 3 digits `near` is ahead; at 4 and 5, which nobody was trained on, `far` is."""
    evaluation = EvaluationDefinition(fresh=1000, test=1000, lengths=1000, validation=100)
    track = make_track(digits=[3], seeds=[0], longest=5, evaluation=evaluation)
    records = []
    for name, fresh, counts in (("near", 1.0, [1000, 1000, 1000, 300, 0]), ("far", 0.98, [1000, 990, 980, 700, 200])):
        record = make_record(make_submission(tmp_path, name), track, 3, 0, fresh)
        records.append(with_lengths(record, by_length(dict(enumerate(counts, start=1)))))
    rows = rows_from(tmp_path, track, records)
    assert [rows[name].rank.place for name in ("far", "near")] == [1, 2]
    assert [rows[name].score.value for name in ("far", "near")] == pytest.approx([0.45, 0.15])
    assert ranking_heading(track) == "mean of 4–5 digits"


def test_fresh_problems_rank_beyond_the_trained_lengths_since_published_ones_can_be_looked_up(tmp_path):
    """`looked_up` has every published problem of 4 and 5 digits, and none of those that were drawn for its trial."""
    evaluation = EvaluationDefinition(fresh=1000, test=1000, lengths=1000, validation=100)
    track = make_track(digits=[3], seeds=[0], longest=5, evaluation=evaluation)
    records = []
    for name, published, fresh in (("looked_up", 1000, {4: 0, 5: 0}), ("adds", 400, {4: 500, 5: 300})):
        record = make_record(make_submission(tmp_path, name), track, 3, 0, 1)
        lengths = by_length(dict.fromkeys(range(1, 6), published))
        suites = record.suites.model_copy(update={"lengths": lengths, "fresh_lengths": by_length(fresh)})
        records.append(record.model_copy(update={"suites": suites}))
    rows = rows_from(tmp_path, track, records)
    assert [rows[name].rank.place for name in ("adds", "looked_up")] == [1, 2]
    assert [rows[name].score.value for name in ("adds", "looked_up")] == pytest.approx([0.4, 0])
    shares = {length: one.value for length, one in rows["adds"].results[3].lengths.items()}
    assert shares == pytest.approx({1: 0.4, 2: 0.4, 3: 0.4, 4: 0.5, 5: 0.3})
    assert [record.beyond() for record in records] == pytest.approx([0, 0.4])


def test_a_trial_without_all_lengths_has_no_score(tmp_path):
    evaluation = EvaluationDefinition(fresh=1000, test=1000, lengths=1000, validation=100)
    track = make_track(digits=[3], seeds=[0], longest=5, evaluation=evaluation)
    record = make_record(make_submission(tmp_path, "one"), track, 3, 0, 1)
    fingerprints = record.fingerprints.model_copy(update={"track": "of old"})
    old = with_lengths(record, by_length({1: 1000, 2: 1000})).model_copy(update={"fingerprints": fingerprints})
    (row,) = rows_from(tmp_path, track, [old]).values()
    assert row.standing.state is State.STALE
    assert row.score is None


LENGTH = make_track(
    digits=[3],
    seeds=[0],
    longest=5,
    evaluation=EvaluationDefinition(fresh=1000, test=1000, carry=100, lengths=1000, validation=100),
)


def test_as_many_problems_are_asked_as_the_task_draws(tmp_path):
    one = make_submission(tmp_path, "one")
    for track, digits in ((make_track(), 3), (make_track(), 6), (LENGTH, 3)):
        drawn = fresh_suites(track, digits, 1) | fixed_suites(track, digits)
        beyond = strata(drawn, "fresh_lengths")
        counted = {suite: Score(correct=0, total=len(problems)) for suite, problems in drawn.items()}
        lengths = {key: counted[f"lengths/{key}"] for key in strata(drawn, "lengths")}
        suites = Suites(
            fresh=counted["fresh"],
            test=counted["test"],
            edge=counted["edge"],
            carry={key: counted[f"carry/{key}"] for key in strata(drawn, "carry")},
            lengths=lengths,
            fresh_lengths={key: Score(correct=0, total=len(drawn[f"fresh_lengths/{key}"])) for key in beyond},
        )
        best = Checkpoint(step=10, validation_accuracy=0, lengths=lengths) if lengths else None
        record = make_record(one, track, digits, 0, 0, suites=suites, best=best)
        assert state_of(record, one, track, HARNESS) == (State.FRESH, None)


@pytest.mark.parametrize(
    ("suite", "total", "asked"),
    [
        ("fresh", 10**7, 1000),
        ("fresh", 10, 1000),
        ("test", 1001, 1000),
        ("edge", 100, 49),  # 0, three powers of ten and three numbers of nines, each with each
        ("carry/3", 5, 100),
        ("carry/4", 100, 0),
        ("lengths/1", 1000, 100),
        ("lengths/5", 10**9, 1000),
        ("lengths/6", 1000, 0),
        ("best/4", 1, 1000),
        ("fresh_lengths/4", 1, 1000),
        ("fresh_lengths/3", 1000, 0),
    ],
)
def test_a_sealed_record_of_other_problems_than_the_track_asks_is_unverified(tmp_path, suite, total, asked):
    one = make_submission(tmp_path, "one")
    values = make_record(one, LENGTH, 3, 0, 0.5).model_dump()
    values["best"] = {"step": 10, "validation_accuracy": 0.5, "lengths": dict(values["suites"]["lengths"])}
    name, _, key = suite.partition("/")
    holder = values["best"]["lengths"] if name == "best" else values["suites"][name] if key else values["suites"]
    holder[key or name] = {"correct": total, "total": total}
    row = rows_from(tmp_path, LENGTH, [Record.model_validate(values)])["one"]
    why = f"counts {total} problems of {suite}, where the track asks for {asked}; run the trial again"
    assert row.standing == (State.UNVERIFIED, f"1 of 1 trial: the record {why}")
    assert (row.rank, row.trials) == (None, ())


@pytest.mark.parametrize(("suite", "missing"), [("carry", "3"), ("lengths", "3"), ("fresh_lengths", "4")])
def test_a_record_that_leaves_problems_out_is_unverified(tmp_path, suite, missing):
    one = make_submission(tmp_path, "one")
    record = make_record(one, LENGTH, 3, 0, 0.5)
    fewer = {key: score for key, score in getattr(record.suites, suite).items() if key != missing}
    suites = record.suites.model_copy(update={suite: fewer})
    state, reason = state_of(record.model_copy(update={"suites": suites}), one, LENGTH, HARNESS)
    assert state is State.UNVERIFIED
    assert f"counts 0 problems of {suite}/{missing}, where the track asks" in reason


def test_a_record_of_a_track_that_asked_for_other_numbers_is_stale_and_keeps_its_numbers(tmp_path):
    track, one = make_track(), make_submission(tmp_path, "one")
    smaller = make_track(evaluation=EvaluationDefinition(fresh=500, test=1000, carry=100))
    row = rows_from(tmp_path, track, make_trials(one, smaller, 0.8))["one"]
    assert row.standing == (State.STALE, "4 of 4 trials: the track changed since")
    assert row.score.value == pytest.approx(0.8)


def test_speeds_are_medians_kept_apart_by_device(tmp_path):
    track, one = make_track(digits=[3], seeds=[0, 1, 2, 3]), make_submission(tmp_path, "one")
    records = []
    for seed, (device, ratio) in enumerate([("A", 1.0), ("A", 2.0), ("A", 9.0), ("B", 5.0)]):
        speed = THROUGHPUT.model_copy(update={"train_ratio": ratio, "decode_ratio": ratio / 2})
        record = make_record(one, track, 3, seed, 1, throughput=speed)
        environment = record.environment.model_copy(update={"device": device})
        records.append(record.model_copy(update={"environment": environment}))
    assert rows_from(tmp_path, track, records)["one"].speeds == {
        "A": SpeedRatios(encode=0.25, train=2.0, score=0.75, decode=1.0),
        "B": SpeedRatios(encode=0.25, train=5.0, score=0.75, decode=2.5),
    }


@pytest.mark.parametrize(
    ("examples", "median"), [([100, 300, None], 300), ([100, None, None], None), ([100, 300, 200], 200)]
)
def test_examples_to_90_is_the_median_and_a_seed_that_never_got_there_counts_as_never(tmp_path, examples, median):
    track, one = make_track(digits=[3], seeds=[0, 1, 2]), make_submission(tmp_path, "one")
    records = [make_record(one, track, 3, seed, 1, examples_to_90=value) for seed, value in enumerate(examples)]
    assert rows_from(tmp_path, track, records)["one"].results[3].examples_to_90 == median


def test_an_error_for_an_unknown_folder_is_a_row_too(tmp_path):
    one, track = make_submission(tmp_path, "one"), make_track()
    error = RecordError(tmp_path / "results/mine/ghost/d3-s0.json", "is truncated")
    rows = rows_of(track, [one], [error], HARNESS)
    assert {row.name: row.standing.state for row in rows} == {"ghost": State.UNVERIFIED, "one": State.NOT_RUN}


def test_states_follow_the_folder_as_it_is_now(tmp_path):
    track, one = make_track(digits=[3], seeds=[0]), make_submission(tmp_path, "one")
    record = make_record(one, track, 3, 0, 1)
    assert record.fingerprints == Fingerprints(submission=one.fingerprint, track=track.fingerprint, harness=HARNESS)
    (one.folder / "more.py").write_text("x = 1\n")
    assert state_of(record, read_folder(one.folder), track, HARNESS).state is State.STALE


def test_a_broken_rule_weighs_more_than_a_doubt_in_whatever_order_they_were_found(tmp_path):
    track, one = make_track(), make_submission(tmp_path, "one")
    gate, doubt = Audit(rule="T70", level="gate", seen="g"), Audit(rule="T50", level="review", seen="r")
    for audits in ([gate, doubt], [doubt, gate]):
        record = make_record(one, track, 3, 0, 0.5, audits=audits)
        assert state_of(record, one, track, HARNESS) == (State.REFUSED, "T70: g")


def test_a_row_is_in_the_gravest_state_of_its_trials(tmp_path):
    track, one = make_track(digits=[3]), make_submission(tmp_path, "one")
    doubted = make_record(one, track, 3, 0, 0.5, audits=[Audit(rule="T50", level="review", seen="r")])
    old = make_record(one, track, 3, 1, 0.5)
    old = old.model_copy(update={"fingerprints": old.fingerprints.model_copy(update={"harness": "old"})})
    assert standing_of(one, [doubted, old], [], track, HARNESS, ()).state is State.REVIEW


def test_a_length_is_reached_from_nine_in_ten_on():
    assert _reach({1: Estimate(0.9, 0.8, 1.0)}) == (1, 0, 1)


def test_a_row_of_which_one_trial_is_stale_and_another_ran_without_a_sandbox_is_stale(tmp_path):
    """It runs again by itself; what ran without a sandbox does not."""
    track, one = make_track(digits=[3]), make_submission(tmp_path, "one")
    open_air = make_record(one, track, 3, 0, 0.5, isolation="none")
    old = make_record(one, track, 3, 1, 0.5)
    old = old.model_copy(update={"fingerprints": old.fingerprints.model_copy(update={"harness": "old"})})
    assert standing_of(one, [open_air, old], [], track, HARNESS, ()).state is State.STALE


def test_a_row_whose_only_record_is_torn_is_unverified_and_not_one_that_never_ran(tmp_path):
    track, one = make_track(digits=[3], seeds=[0]), make_submission(tmp_path, "one")
    path = save(make_record(one, track, 3, 0, 0.5), tmp_path / "results")
    path.write_text("{")
    (row,) = rows_of(track, [one], read_all(tmp_path / "results", track.name), HARNESS)
    assert row.standing.state is State.UNVERIFIED
