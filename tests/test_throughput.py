"""How speed is measured, on a clock that the work itself moves."""

from collections.abc import Callable

import pytest
import torch
from made_trainings import additions, made_trainer, random_pairs

from harness import throughput
from harness.decoding import EVALUATION_BATCH
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


def test_a_trial_measures_its_own_steps_and_decoding_beside_those_of_the_reference(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    track = load_track("smoke")
    data = additions(random_pairs(64, width=2), width=2)
    own, reference = made_trainer(data), made_trainer(data, seed=1)
    always = throughput.WARM_UP_ROUNDS + max(throughput.TRAIN_ROUNDS, throughput.DECODE_ROUNDS)
    steps = {id(own): clock.work("s", [2.0] * always), id(reference): clock.work("S", [6.0] * always)}
    answers = {id(own): clock.work("d", [5.0] * always), id(reference): clock.work("D", [1.0] * always)}
    monkeypatch.setattr(throughput, "reference_trainer", lambda *_: reference)
    monkeypatch.setattr(throughput, "fast_step", lambda trainers: steps[id(trainers[0])])
    monkeypatch.setattr(throughput, "_decoding", lambda trainer, _: answers[id(trainer)])
    found = throughput.measure(own, data, track, 2)
    assert found.train_ratio == 3.0
    assert found.decode_ratio == 0.2
    assert found.train_examples_per_second == track.training.batch_size / 2
    assert found.decode_examples_per_second == EVALUATION_BATCH / 5


@pytest.mark.parametrize("digits", [2, 9])
def test_the_reference_has_the_lengths_of_a_character_tokenizer(digits: int) -> None:
    track = load_track("standard")
    reference = throughput.reference_trainer(track, digits, CPU)
    longest, answer = f"{'9' * digits}+{'9' * digits}=", str(2 * int("9" * digits))
    assert reference.data.prompt_length == len(longest)
    assert reference.data.answer_length == len(answer) + 1  # its EOS
    assert reference.settings.batch_size == track.training.batch_size
