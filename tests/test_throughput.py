"""How speed is measured, on a clock that the work itself moves."""

from collections.abc import Callable, Sequence

import pytest
import torch
from made_trainings import additions, made_trainer, random_pairs

from harness import encoding, throughput
from harness.decoding import EVALUATION_BATCH, Forced
from harness.encoding import Round, Speed
from harness.host.client import Vocabulary
from harness.ragged import Ragged
from harness.track import load_track

CPU = torch.device("cpu")


class Clock:
    """Stands in for `time`: it stands still but for what the work adds to it, and notes the order of the work."""

    def __init__(self) -> None:
        self.now, self.done = 0.0, ""

    def perf_counter(self) -> float:
        return self.now

    def work(self, name: str, durations: list[float]) -> Callable[[], None]:
        """Takes the next of `durations` each time."""
        left = iter(durations)

        def take() -> None:
            self.done += name
            self.now += next(left)

        return take


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    return clock


def test_warm_up_rounds_are_left_out_and_medians_taken_of_rounds_that_alternate(clock: Clock) -> None:
    warm_up = [100.0] * throughput.WARM_UP_ROUNDS
    ours = clock.work("o", [*warm_up, 1.0, 4.0, 2.0])
    reference = clock.work("r", [*warm_up, 3.0, 4.0, 8.0])
    rate, ratio = throughput._interleaved(ours, reference, 3, examples=64, device=CPU)
    assert clock.done == "or" * (throughput.WARM_UP_ROUNDS + 3)
    assert rate == 64 / 2.0  # of 1, 4 and 2 s
    assert ratio == 3.0  # the median of 3/1, 4/4 and 8/2, and not 4/2, the ratio of the medians


def test_a_trial_measures_its_own_steps_scoring_and_decoding_beside_those_of_the_reference(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    track = load_track("smoke")
    data = additions(random_pairs(64, width=2), width=2)
    own, reference = made_trainer(data), made_trainer(data, seed=1)
    always = throughput.WARM_UP_ROUNDS + max(throughput.TRAIN_ROUNDS, throughput.SCORE_ROUNDS, throughput.DECODE_ROUNDS)
    steps = {id(own): clock.work("s", [2.0] * always), id(reference): clock.work("S", [6.0] * always)}
    passes = {
        id(own): throughput._Passes(clock.work("f", [3.0] * always), clock.work("d", [5.0] * always)),
        id(reference): throughput._Passes(clock.work("F", [12.0] * always), clock.work("D", [1.0] * always)),
    }
    monkeypatch.setattr(throughput, "reference_trainer", lambda *_: reference)
    monkeypatch.setattr(throughput, "fast_step", lambda trainers: steps[id(trainers[0])])
    monkeypatch.setattr(throughput, "_passes", lambda trainer, _: passes[id(trainer)])
    found = throughput.measure(own, data, track, 2, Speed(70_000.0, 0.25))
    assert (found.encode_examples_per_second, found.encode_ratio) == (70_000.0, 0.25)
    assert found.train_ratio == 3.0
    assert found.score_ratio == 4.0
    assert found.decode_ratio == 0.2
    assert found.train_examples_per_second == track.training.batch_size / 2
    assert found.score_examples_per_second == EVALUATION_BATCH / 3
    assert found.decode_examples_per_second == EVALUATION_BATCH / 5


def test_an_evaluation_batch_is_scored_in_one_pass_and_generated_to_the_last_place() -> None:
    data = additions(random_pairs(64, width=2), width=2)
    passes = throughput._passes(made_trainer(data), data)
    forced, generated = passes.score(), passes.decode()
    assert isinstance(forced, Forced)
    assert forced.is_right.shape == (EVALUATION_BATCH,)
    assert isinstance(generated, Ragged)
    assert generated.lengths.tolist() == [data.answer_length] * EVALUATION_BATCH  # no id ends an answer


class SlowHost:
    """Stands for a host; every text takes it as long as the next of `durations` says."""

    def __init__(self, clock: Clock, durations: list[float]) -> None:
        self.clock, self.durations, self.asked = clock, iter(durations), []

    def encode(self, texts: Sequence[str], vocabulary: Vocabulary) -> Ragged:
        self.asked.append(list(texts))
        self.clock.now += len(texts) * next(self.durations)
        return Ragged.of([[7] * len(text) for text in texts])


def test_texts_are_clocked_round_by_round_beside_the_same_texts_as_characters(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "time", clock)
    monkeypatch.setattr(encoding, "TEXTS_PER_ROUND", 2)
    host, vocabulary = SlowHost(clock, [9.0, 1.0, 3.0]), Vocabulary(vocab_size=8, pad_id=0, eos_id=1, texts=())
    characters = Ragged.of

    def of(rows: list[list[int]]) -> Ragged:
        if rows and rows[0] and rows[0][0] != 7:
            clock.now += 0.5 * len(rows)
        return characters(rows)

    monkeypatch.setattr(Ragged, "of", of)
    texts = ["1+2=", "30", "4", "5+6=", "0"]
    encoded, rounds = encoding._encode_clocked(host, texts, vocabulary)
    assert host.asked == [["1+2=", "30"], ["4", "5+6="], ["0"]]
    assert encoded.rows() == [[7] * len(text) for text in texts]
    assert rounds == [(9.0, 0.5), (1.0, 0.5), (3.0, 0.5)]


def test_the_speed_of_encoding_is_of_a_prompt_and_an_answer_without_each_hosts_first_round() -> None:
    prompts = [Round(9.0, 9.0), Round(2.0, 0.5), Round(4.0, 0.5), Round(3.0, 0.25)]
    answers = [Round(9.0, 9.0), Round(1.0, 0.5)]
    assert Speed.of(prompts, answers) == Speed(1 / (3 + 1), (0.5 + 0.5) / (3 + 1))
    assert Speed.of(prompts, [Round(5.0, 1.5)]) == Speed(
        1 / (3 + 5), (0.5 + 1.5) / (3 + 5)
    )  # one round is all there is


@pytest.mark.parametrize("digits", [2, 9])
def test_the_reference_has_the_lengths_of_a_character_tokenizer(digits: int) -> None:
    track = load_track("standard")
    reference = throughput.reference_trainer(track, digits, CPU)
    longest, answer = f"{'9' * digits}+{'9' * digits}=", str(2 * int("9" * digits))
    assert reference.data.prompt_length == len(longest)
    assert reference.data.answer_length == len(answer) + 1  # its EOS
    assert reference.settings.batch_size == track.training.batch_size
