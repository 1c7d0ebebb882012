"""One trial from start to end, on the track `smoke`."""

from collections.abc import Callable

import pytest
import torch
from gallery import NAMES, SUBMISSIONS, with_distinct
from recorded_graphs import RecordedGraph

from harness import throughput, trial
from harness.capture import Recording
from harness.commands.reproduce import COMPARED
from harness.decoding import Decoder
from harness.encoding import encode
from harness.errors import SubmissionError
from harness.examples import Examples
from harness.positions import Program
from harness.preparation import Job, distinct_layouts, export_positions, make_trainer
from harness.records import Record
from harness.submissions import Submission, read_folder
from harness.task import fixed_suites, fresh_problems, training_problems
from harness.track import Track, load_track
from harness.training import fast_step
from harness.trial import Progress, _shared_evenly, run_job

CPU = torch.device("cpu")
WriteSubmission = Callable[..., Submission]


def test_seeds_that_train_side_by_side_share_the_time_evenly() -> None:
    found = _shared_evenly([0, 2, 4, 6, 10], 2)
    assert (found.encode, found.train, found.decode, found.total) == (1, 1, 1, 5)


def run(submission: Submission, track: Track, reports: list[Progress] | None = None, fresh_seed: int = 5) -> Record:
    report = (lambda progress: None) if reports is None else reports.append
    (record,) = run_job(submission, track, 2, [0], CPU, report, fresh_seeds=[fresh_seed])
    return record


@pytest.fixture(scope="module")
def twice() -> tuple[list[Record], list[Progress]]:
    """Two runs of one trial whose positions draw, and what the first one reported."""
    submission = read_folder(SUBMISSIONS / "reversed_abacus")
    assert isinstance(submission, Submission)
    reports: list[Progress] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(throughput, "TRAIN_ROUNDS", 1)
        patch.setattr(throughput, "SCORE_ROUNDS", 1)
        patch.setattr(throughput, "DECODE_ROUNDS", 1)
        return [run(submission, load_track("smoke"), reports), run(submission, load_track("smoke"))], reports


Twice = tuple[list[Record], list[Progress]]


@pytest.mark.slow
def test_the_same_trial_gives_the_same_curve_scores_and_mistakes_to_the_bit(twice: Twice) -> None:
    one, other = twice[0]
    for name in (*COMPARED, "fresh_seed"):
        assert getattr(one, name) == getattr(other, name)
    losses = [point.loss for point in one.curve[1:]]
    assert len(losses) == 5
    assert all(isinstance(loss, float) for loss in losses)
    assert one.status == "ok"


@pytest.mark.slow
def test_suites_hold_as_many_problems_as_the_track_says(twice: Twice) -> None:
    suites = twice[0][0].suites
    assert suites is not None
    assert (suites.fresh.total, suites.test.total) == (256, 256)
    assert {chain: score.total for chain, score in suites.carry.items()} == {"0": 32, "1": 32, "2": 32}
    assert suites.edge.total > 0
    assert suites.lengths == {}
    for score in (suites.fresh, suites.test, suites.edge, *suites.carry.values()):
        assert 0 <= score.correct <= score.total


@pytest.mark.slow
def test_mistakes_are_wrong_answers_to_fresh_problems(twice: Twice) -> None:
    record = twice[0][0]
    assert record.suites is not None
    wrong = record.suites.fresh.total - record.suites.fresh.correct
    assert len(record.mistakes) == min(10, wrong)
    assert record.mistakes
    for mistake in record.mistakes:
        a, b = mistake.prompt.removesuffix("=").split("+")
        assert mistake.answer == str(int(a) + int(b))
        assert mistake.got != mistake.answer


@pytest.mark.slow
def test_the_curve_runs_from_nothing_seen_to_the_end_and_agrees_with_the_scores(twice: Twice) -> None:
    record = twice[0][0]
    assert [point.step for point in record.curve] == [0, 10, 20, 30, 40, 50]
    assert [point.examples for point in record.curve] == [64 * step for step in (0, 10, 20, 30, 40, 50)]
    assert record.curve[0].loss is None
    assert record.curve[1].loss > record.curve[5].loss  # type: ignore[operator]
    assert record.suites is not None
    # `curve` is measured on the first 256 of `test`, which are all of it.
    assert record.curve[-1].accuracy == record.suites.test.correct / 256
    assert record.digit_accuracy == record.curve[-1].digit_accuracy


@pytest.mark.parametrize("name", ["column_pairs_learned", "reversed_nope"])
def test_a_trial_knows_how_many_fresh_problems_are_written_as_trained_ones(name: str) -> None:
    """Unordered column pairs write `12+34`, `14+32`, `32+14` and `34+12` alike; who reverses digits, no two pairs."""
    submission, track = read_folder(SUBMISSIONS / name), load_track("smoke")
    assert isinstance(submission, Submission)
    (seen,) = trial._encode(Job(submission, track, 2, [0], CPU), [5]).seen

    def columns(prompt: str) -> list[list[str]]:
        one, other = (number.zfill(2) for number in prompt.removesuffix("=").split("+"))
        return [sorted(pair) for pair in zip(one, other, strict=True)]

    trained = [columns(prompt) for prompt in training_problems(track, 2).prompts()]
    asked = [columns(prompt) for prompt in fresh_problems(track, 2, 5).prompts()]
    share = sum(own in trained for own in asked) / len(asked)
    assert seen == (share if name == "column_pairs_learned" else 0)
    assert 0.1 < share < 0.9


@pytest.mark.slow
def test_a_trial_has_all_four_speeds(twice: Twice) -> None:
    speeds = twice[0][0].throughput
    assert speeds is not None
    assert {name: speed for name, speed in speeds.model_dump().items() if not speed > 0} == {}


@pytest.mark.slow
def test_parameters_are_counted_not_declared(twice: Twice) -> None:
    record = twice[0][0]
    assert record.parameters is not None
    assert record.parameters.model == 668_942
    assert record.parameters.positions == (1 + 3 + 1) * 128  # a row for position 0, runs of 3, shifts of 1


@pytest.mark.slow
def test_a_trial_says_what_it_is_doing_in_order(twice: Twice) -> None:
    phases = [progress.phase for progress in twice[1]]
    assert phases == ["encode", *["train"] * 6, "score", "measure"]
    assert [progress.step for progress in twice[1][1:7]] == [0, 10, 20, 30, 40, 50]


def check_seeds_side_by_side(track: Track, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """They leave the numbers that each leaves alone."""
    monkeypatch.setattr(throughput, "TRAIN_ROUNDS", 1)
    monkeypatch.setattr(throughput, "SCORE_ROUNDS", 1)
    monkeypatch.setattr(throughput, "DECODE_ROUNDS", 1)
    submission = read_folder(SUBMISSIONS / "reversed_abacus")
    assert isinstance(submission, Submission)
    seeds, fresh_seeds = [3, 4], [11, 12]
    together = run_job(submission, track, 2, seeds, device, lambda progress: None, fresh_seeds)
    alone = [
        record
        for seed, fresh_seed in zip(seeds, fresh_seeds, strict=True)
        for record in run_job(submission, track, 2, [seed], device, lambda progress: None, [fresh_seed])
    ]
    assert [(record.seed, record.fresh_seed) for record in together] == [(3, 11), (4, 12)]
    for one, other in zip(together, alone, strict=True):
        assert one.trial == other.trial
        for name in ("fingerprints", *COMPARED):
            assert getattr(one, name) == getattr(other, name), name
    assert together[0].curve[1].loss != together[1].curve[1].loss
    assert together[0].mistakes[0].prompt != together[1].mistakes[0].prompt


@pytest.mark.slow
def test_seeds_side_by_side_leave_the_numbers_that_each_leaves_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a track of lengths, which has best weights too."""
    check_seeds_side_by_side(LENGTHS, CPU, monkeypatch)


@pytest.mark.gpu
def test_seeds_side_by_side_on_a_gpu_leave_the_numbers_that_each_leaves_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    check_seeds_side_by_side(load_track("smoke"), torch.device("cuda"), monkeypatch)


def check_recorded(name: str, device: torch.device) -> None:
    """Of two seeds, the training step and both passes of an evaluation batch."""
    submission, track = read_folder(SUBMISSIONS / name), short(LENGTHS)
    assert isinstance(submission, Submission)
    job = Job(submission, track, 2, [0, 1], device)
    sets = {"train": training_problems(track, 2), "test": fixed_suites(track, 2)["test"]}
    encoded = encode(submission, sets, max_digits=job.max_digits, shuffle_seed=0)
    trained, asked = (Examples.of(encoded.sets[name], device) for name in ("train", "test"))
    positions = export_positions(job, trained, [asked])
    trainers = [
        make_trainer(job, encoded.vocabulary, trained, own, seed)
        for own, seed in zip(positions, job.seeds, strict=True)
    ]
    assert isinstance(fast_step(trainers), Recording)
    pad_id, eos_id = encoded.vocabulary.pad_id, encoded.vocabulary.eos_id
    decoder = Decoder(trainers[0].model, positions[0], pad_id=pad_id, eos_id=eos_id)
    for _ in range(2):
        decoder.teacher_forced(asked)
        decoder.greedy(asked)
    assert decoder.forced_pass.is_recorded
    assert decoder.greedy_pass.is_recorded


@pytest.mark.slow
@pytest.mark.parametrize("name", with_distinct("positions"))
def test_no_positions_of_a_worked_submission_wait_for_the_device(name: str, graphs: list[RecordedGraph]) -> None:
    """A tokenizer's ids are there before anything is recorded."""
    check_recorded(name, CPU)
    assert len(graphs) == 3


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_every_worked_submission_is_recorded_on_a_gpu(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    check_recorded(name, torch.device("cuda"))


def short(track: Track) -> Track:
    return track.model_copy(
        update={
            "training": track.training.model_copy(update={"problems": 64}),
            "evaluation": track.evaluation.model_copy(update={"fresh": 64, "test": 64, "carry": 4, "curve": 64}),
        }
    )


RAISING = """
class Tokenizer:
    vocab_size, pad_id, eos_id = 14, 12, 13

    def __init__(self, max_digits):
        pass

    def encode(self, text):
        return [["no digit"].index(text)]

    def decode(self, token_ids):
        return ""
"""


def test_a_tokenizer_that_raises_ends_the_trial_with_its_line(write_submission: WriteSubmission) -> None:
    with pytest.raises(
        SubmissionError, match=r"encode\('.*'\) raised: submission\.py, line \d+, in encode: ValueError"
    ):
        run(write_submission(tokenizer=RAISING), short(load_track("smoke")))


OUTSIDE = """
class PositionalEmbedding(protocol.PositionalEmbedding):
    def forward(self, layout):
        return Terms(embedding=F.embedding(layout, torch.ones(5, 128)))
"""


def test_positions_that_fail_on_a_real_layout_end_the_trial_with_their_line(write_submission: WriteSubmission) -> None:
    with pytest.raises(SubmissionError, match=r"P00: submission\.py, line \d+, `return .*index out of range"):
        run(write_submission(positions=OUTSIDE), short(load_track("smoke")))


def test_positions_that_would_end_the_process_on_a_gpu_end_the_trial_there_with_their_line(
    write_submission: WriteSubmission,
) -> None:
    """Found on the CPU before the GPU is used, which need not be there."""
    submission, track, gpu = write_submission(positions=OUTSIDE), short(load_track("smoke")), torch.device("cuda", 99)
    encoded = trial._encode(Job(submission, track, 2, [0], CPU), [5])
    trained, asked = encoded.whole("train"), encoded.asked
    with pytest.raises(SubmissionError, match=r"P00: submission\.py, line \d+, `return .*index out of range"):
        export_positions(Job(submission, track, 2, [0], gpu), trained, asked)


def test_every_layout_that_a_program_meets_is_tried_out_once(write_submission: WriteSubmission) -> None:
    job = Job(write_submission(), LENGTHS, 2, [0, 1], CPU)
    encoded = trial._encode(job, [5, 6])
    trained, asked = encoded.whole("train"), encoded.asked
    widths = sorted({examples.layout.shape[-1] for examples in asked})
    programs = [Program(True, 64, trained.layout.shape[-1]), *(Program(False, 256, width) for width in widths)]
    found = distinct_layouts(trained, asked, programs)
    assert set(found) == set(programs)
    assert len(widths) > 3
    for program, rows in found.items():
        expected = {
            tuple(row)
            for examples in ([trained] if program.training else asked)
            for row in examples.layout.tolist()
            if len(row) == program.length
        }
        assert sorted(map(tuple, rows.tolist())) == sorted(expected)


BY_SEED = """
class PositionalEmbedding(protocol.PositionalEmbedding):
    def __init__(self, shape):
        super().__init__(shape)
        self.dropout = 0.5 * float(torch.rand(()))

    def forward(self, layout):
        return Terms()
"""


def test_seeds_of_a_job_that_disagree_end_with_the_remedy(write_submission: WriteSubmission) -> None:
    submission, track = write_submission(positions=BY_SEED), short(load_track("smoke"))
    with pytest.raises(
        SubmissionError, match=r"P00: another seed gives other terms, dropout or parameters; let __init__"
    ):
        run_job(submission, track, 2, [0, 1], CPU, lambda progress: None)


CONSTANT = """
class Tokenizer:
    vocab_size, pad_id, eos_id = 4, 0, 1

    def __init__(self, max_digits):
        pass

    def encode(self, text):
        return [3 if "=" in text else 2]

    def decode(self, token_ids):
        return "".join("  7="[token_id] for token_id in token_ids)
"""


def test_a_constant_tokenizer_learns_its_ids_and_scores_only_where_its_text_is_the_sum(
    write_submission: WriteSubmission, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notebook compared ids and would have given it all the points; the sum of `a+b` is `7` once in a while."""
    monkeypatch.setattr(throughput, "TRAIN_ROUNDS", 1)
    monkeypatch.setattr(throughput, "SCORE_ROUNDS", 1)
    monkeypatch.setattr(throughput, "DECODE_ROUNDS", 1)
    track = short(load_track("smoke"))
    training = track.training.model_copy(update={"problems": 1920})
    track = track.model_copy(update={"training": training, "model": LENGTHS.model})
    record = run(write_submission(tokenizer=CONSTANT), track)
    assert record.curve[-1].accuracy == 1.0
    assert record.suites is not None
    assert record.suites.test.correct <= 3
    assert {mistake.got for mistake in record.mistakes} == {"7"}


LENGTHS = Track.model_validate(
    {
        "name": "lengths",
        "summary": "Length generalisation in seconds, on a model of a few weights.",
        "seed": 3,
        "digits": [2],
        "longest": 4,
        "seeds": [0],
        "model": {"d_model": 32, "num_heads": 4, "num_layers": 2, "feedforward": 32},
        "training": {"problems": 6400, "epochs": 1, "learning_rate": 3e-3},
        "evaluation": {"fresh": 64, "test": 64, "lengths": 50, "validation": 40, "curve": 64, "curve_points": 5},
    }
)


@pytest.mark.slow
def test_a_length_trial_scores_every_length_for_the_final_and_for_the_best_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The best step is the one that the curve says; where it is the last, both weights score the same."""
    monkeypatch.setattr(throughput, "TRAIN_ROUNDS", 1)
    monkeypatch.setattr(throughput, "SCORE_ROUNDS", 1)
    monkeypatch.setattr(throughput, "DECODE_ROUNDS", 1)
    records = []
    for name in ("reversed_abacus", "reversed_learned"):
        submission = read_folder(SUBMISSIONS / name)
        assert isinstance(submission, Submission)
        record = run(submission, LENGTHS)
        records.append(record)
        assert record.suites is not None
        assert record.best is not None
        assert list(record.best.lengths) == list(record.suites.lengths) == ["1", "2", "3", "4"]
        assert [score.total for score in record.best.lengths.values()] == [100, 50, 50, 50]
        assert {length: score.total for length, score in record.suites.fresh_lengths.items()} == {"3": 50, "4": 50}
        assert {tuple(point.lengths) for point in record.curve} == {("3", "4")}
        means = {point.step: sum(point.lengths.values()) / 2 for point in record.curve}
        assert record.best.validation_accuracy == pytest.approx(max(means.values()))
        assert record.best.step == max(step for step, mean in means.items() if mean == max(means.values()))
    at_the_end = [record for record in records if record.best and record.best.step == record.curve[-1].step]
    assert at_the_end, "all points of a start that learns nothing beyond the trained lengths tie, and the last counts"
    for record in at_the_end:
        assert record.best is not None
        assert record.suites is not None
        assert record.best.lengths == record.suites.lengths
    abacus, learned = (record.drift for record in records)
    assert abacus is not None
    assert learned is not None
    # `2 + 1` positions of an answer and 0 shifts to 2, of 1 + 5 + 2 rows; the learned table is as long as 4 + 4 digits.
    assert abacus.touched_rows < abacus.rows
    assert learned.touched_rows < learned.rows
    assert learned.untouched is not None
    assert learned.touched is not None
    assert learned.untouched < 0.01 < learned.touched
