"""Recorded work does what the work does: on a stand-in for CUDA graphs, and on a GPU where there is one."""

import contextlib
import gc
import logging
import warnings
import weakref
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from made_trainings import EOS_ID, PAD_ID, additions, drawing_trainer, made_trainer, on, random_pairs
from recorded_graphs import RecordedGraph
from torch import Tensor

from harness.capture import NUM_WARM_UPS, Recording, Replayed, can_capture, capture, refusing_to_wait, side_by_side
from harness.decoding import Decoder
from harness.errors import SubmissionError
from harness.training import Trainer, fast_step, train

CPU = torch.device("cpu")


def trained(*trainers: Trainer) -> Tensor:
    """Losses of every step and weights at the end of whole trainings, side by side."""
    train(trainers, 5, lambda *_: None)
    return torch.cat([part for trainer in trainers for part in (trainer.losses, trainer.weights())])


def drawing_trainers(seeds: Sequence[int], device: str = "cpu") -> list[Trainer]:
    return [drawing_trainer(seed=seed, device=device, warmup_steps=3, cooldown_steps=4) for seed in seeds]


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]], ids=str)
def test_a_training_replayed_is_the_training_to_the_bit(seeds: list[int], graphs: list[RecordedGraph]) -> None:
    """Dropout and positions draw, the learning rate changes, batches and epochs go by: nothing of it may freeze."""
    recorded = drawing_trainers(seeds)
    found = trained(*recorded)
    assert [graph.num_replays for graph in graphs] == [recorded[0].settings.num_steps]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.capture.can_capture", lambda device: False)
        expected = trained(*drawing_trainers(seeds))
    assert torch.equal(found, expected)


class NotingStream:
    """Stands for `torch.cuda.Stream`, and notes who waits for whom."""

    def __init__(self, events: list[str], name: object) -> None:
        self.events, self.name = events, name

    def wait_stream(self, other: "NotingStream") -> None:
        self.events.append(f"{self.name} waits for {other.name}")


def test_each_of_several_works_begins_after_what_was_before_and_ends_before_what_comes_next(
    graphs: list[RecordedGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a stream of its own, which a recording makes a branch."""
    events: list[str] = []

    @contextlib.contextmanager
    def on(stream: NotingStream) -> Iterator[None]:
        events.append(f"on {stream.name}")
        yield
        events.append("back")

    monkeypatch.setattr("harness.capture._stream", lambda device, branch: NotingStream(events, branch))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: NotingStream(events, "current"))
    monkeypatch.setattr(torch.cuda, "stream", on)
    works = [partial(events.append, f"work {number}") for number in (1, 2)]
    side_by_side(works, CPU)()
    branches = [(f"{i} waits for current", f"on {i}", f"work {i}", "back") for i in (1, 2)]
    assert events == [*branches[0], *branches[1], "current waits for 1", "current waits for 2"]


def test_what_was_begun_beside_a_work_that_raises_is_waited_for(
    graphs: list[RecordedGraph], monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    monkeypatch.setattr("harness.capture._stream", lambda device, branch: NotingStream(events, branch))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: NotingStream(events, "current"))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())

    def failing() -> None:
        raise RuntimeError("the second")

    with pytest.raises(RuntimeError, match="the second"):
        side_by_side([partial(events.append, "work 1"), failing, partial(events.append, "work 3")], CPU)()
    begun = ["1 waits for current", "work 1", "2 waits for current"]
    assert events == [*begun, *(f"current waits for {branch}" for branch in (1, 2, 3))]


def test_works_side_by_side_on_a_device_that_records_nothing_run_in_their_order() -> None:
    done: list[int] = []
    side_by_side([partial(done.append, number) for number in (1, 2, 3)], CPU)()
    assert done == [1, 2, 3]


@pytest.mark.parametrize("num_others", [0, 2])
def test_what_waits_for_the_device_is_launched_one_by_one_and_says_so(
    num_others: int, graphs: list[RecordedGraph], caplog: pytest.LogCaptureFixture
) -> None:
    """Alone, and as the last of several seeds."""

    def waiting() -> list[Trainer]:
        trainer = drawing_trainer()
        graphs, (draw, *_) = trainer.positions._graphs, trainer.positions._graphs.values()

        def wait(layout: Tensor, *others: Any) -> tuple[Tensor]:
            try:
                return (draw(layout, *others)[0] + 0 * float(layout.max()),)
            except RuntimeError as error:  # as `positions.py` does with the operators of a submission
                raise SubmissionError("mine", "P00", str(error)) from error

        for program in graphs:
            graphs[program] = wait  # type: ignore[index]
        return [*(drawing_trainer(seed=1 + index) for index in range(num_others)), trainer]

    with caplog.at_level(logging.WARNING):
        found = trained(*waiting())
    assert "not recorded as a CUDA graph" in caplog.text
    assert "called a synchronizing CUDA operation" in caplog.text
    assert graphs == []  # found out before anything was recorded
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.capture.can_capture", lambda device: False)
        expected = trained(*waiting())
    assert torch.equal(found, expected)


BROKEN = [torch.AcceleratorError("CUDA error: device-side assert"), torch.OutOfMemoryError("CUDA out of memory")]


@pytest.mark.parametrize("error", BROKEN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("run", range(1, NUM_WARM_UPS + 2))
def test_a_device_that_fails_is_no_reason_to_launch_one_by_one(
    error: Exception, run: int, graphs: list[RecordedGraph]
) -> None:
    """Whatever was launched next would meet the same: in a run of the warm-up, and in the recording, which is last."""
    count = 0

    def work() -> None:
        nonlocal count
        count += 1
        if count == run:
            raise error

    with pytest.raises(type(error)):
        capture(work, CPU)
    assert count == run


def test_a_recording_that_fails_is_raised_and_is_no_fault_of_a_submission(graphs: list[RecordedGraph]) -> None:
    """Else the worker would go on, with generators that torch still takes to be recorded."""

    def work() -> None:
        if graphs:
            raise SubmissionError("mine", "P00", "not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match=r"could not be recorded: .*not permitted when stream is capturing"):
        capture(work, CPU)


def test_what_a_run_raises_before_waiting_is_looked_for_is_raised(graphs: list[RecordedGraph]) -> None:
    def work() -> None:
        raise SubmissionError("mine", "P00", "index out of range")

    with pytest.raises(SubmissionError, match="index out of range"):
        capture(work, CPU)


class SyncDebugMode:
    """Stands for torch's, which says once that it is a prototype, when it is set already."""

    def __init__(self) -> None:
        self.modes: list[str] = []

    def __call__(self, mode: str) -> None:
        self.modes.append(mode)
        if len(self.modes) == 1:
            warnings.warn(
                "Synchronization debug mode is a prototype feature and does not yet detect all synchronizing "
                "operations (Triggered internally at /pytorch/torch/csrc/cuda/Module.cpp:980.)",
                UserWarning,
                stacklevel=2,
            )


def test_waiting_is_looked_for_without_a_warning_and_no_longer_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning is an error in these tests; others than that one still are."""
    set_mode = SyncDebugMode()
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", set_mode)
    with refusing_to_wait():
        assert set_mode.modes == ["error"]
    assert set_mode.modes == ["error", "default"]
    with pytest.raises(UserWarning, match="another"), refusing_to_wait():
        warnings.warn("another", UserWarning, stacklevel=1)
    assert set_mode.modes == ["error", "default"] * 2


@pytest.mark.parametrize("is_enabled", [True, False], ids=["collecting", "not collecting"])
def test_garbage_is_collected_before_a_recording_and_not_in_it(is_enabled: bool, graphs: list[RecordedGraph]) -> None:
    class Old:
        """Stands for a graph that a dead cycle holds."""

    old = Old()
    old.itself = old  # type: ignore[attr-defined]
    alive, seen = weakref.ref(old), []
    before = gc.isenabled()
    (gc.enable if is_enabled else gc.disable)()
    try:
        del old
        capture(lambda: seen.append((gc.isenabled(), alive() is None)), CPU)
        assert seen[-1] == (False, True)
        assert [enabled for enabled, _ in seen[:-1]] == [is_enabled] * NUM_WARM_UPS
        assert gc.isenabled() == is_enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_the_runs_of_the_warm_up_are_undone(graphs: list[RecordedGraph]) -> None:
    total, count = torch.zeros(3), 0

    def work() -> None:
        nonlocal count
        count += 1
        total.add_(1)

    run = capture(work, CPU, state=[total])
    assert count == NUM_WARM_UPS + 1
    assert total.tolist() == [0, 0, 0]
    run()
    run()
    assert total.tolist() == [2, 2, 2]
    assert count == NUM_WARM_UPS + 1


def test_a_function_is_recorded_for_each_shape_that_comes_again(graphs: list[RecordedGraph]) -> None:
    num_calls = 0

    def double_and_sum(x: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal num_calls
        num_calls += 1
        return 2 * x, x.sum()

    replayed = Replayed(double_and_sum, CPU)
    for size in (3, 4):
        for _ in range(4):
            x = torch.randn(size)
            doubled, total = replayed(x)
            assert torch.equal(doubled, 2 * x)
            assert float(total) == pytest.approx(float(x.sum()))
    assert [graph.num_replays for graph in graphs] == [3, 3]
    assert num_calls == 2 * (1 + NUM_WARM_UPS + 1)
    assert replayed.is_recorded
    replayed(torch.ones(5))
    assert len(graphs) == 2


def test_a_function_is_not_called_recorded_before_a_shape_came_again_or_if_one_waits(
    graphs: list[RecordedGraph],
) -> None:
    replayed = Replayed(lambda x: x * float(x.max()) if len(x) == 4 else x, CPU)
    seen: list[bool] = []
    for size in (3, 3, 4, 4):
        replayed(torch.ones(size))
        seen.append(replayed.is_recorded)
    assert seen == [False, True, True, False]


def test_answers_decoded_by_replay_are_the_answers(graphs: list[RecordedGraph]) -> None:
    trainer = made_trainer(additions(random_pairs(640)), steps=60, learning_rate=4e-3)
    train([trainer], 60, lambda *_: None)
    data = additions(random_pairs(700, seed=5))  # three batches: the first as it is, one recorded, one replayed
    decoder = Decoder(trainer.model, trainer.positions, pad_id=PAD_ID, eos_id=EOS_ID)
    before = len(graphs)
    forced, answers, greedy = decoder.teacher_forced(data), decoder.answers(data), decoder.greedy(data)
    assert [graph.num_replays for graph in graphs[before:]] == [5, 4]  # scored twice, generated twice
    assert decoder.forced_pass.is_recorded
    assert decoder.greedy_pass.is_recorded
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("harness.capture.can_capture", lambda device: False)
        plain = Decoder(trainer.model, trainer.positions, pad_id=PAD_ID, eos_id=EOS_ID)
        assert forced.is_right.tolist() == plain.teacher_forced(data).is_right.tolist()
        expected = plain.greedy(data).rows()
    assert answers.rows() == greedy.rows() == expected
    assert 0.1 < forced.is_right.mean() < 0.9


def test_what_a_recording_uses_lives_as_long_as_it_does(graphs: list[RecordedGraph]) -> None:
    """A graph holds addresses: were the trainer freed, its memory would be somebody else's by the next replay."""
    trainer = drawing_trainer()
    run, alive = fast_step([trainer]), weakref.ref(trainer)
    graphs[0].calls.clear()  # of the stand-in, which keeps every operator's arguments
    del trainer
    gc.collect()
    assert alive() is not None
    del run
    gc.collect()
    assert alive() is None


def test_a_cpu_records_nothing() -> None:
    def work() -> None: ...

    assert not can_capture(CPU)
    assert capture(work, CPU) is work


@pytest.fixture
def cuda() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device("cuda")


@pytest.mark.gpu
def test_what_waits_on_a_gpu_is_launched_one_by_one_and_the_next_is_recorded(
    cuda: torch.device, caplog: pytest.LogCaptureFixture
) -> None:
    total = torch.zeros(3, device=cuda)

    def waiting() -> None:
        total.add_(float(total.max()) + 1)

    assert capture(waiting, cuda, state=[total]) is waiting
    assert "not recorded as a CUDA graph" in caplog.text
    assert total.tolist() == [0, 0, 0]
    run = capture(lambda: total.add_(1), cuda, state=[total])
    assert isinstance(run, Recording)
    run()
    run()
    assert total.tolist() == [2, 2, 2]


@pytest.mark.gpu
@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]], ids=str)
def test_a_training_recorded_on_a_gpu_is_the_training(seeds: list[int], cuda: torch.device) -> None:
    results: list[Tensor] = []
    for is_fast in (True, False):
        trainers = drawing_trainers(seeds, "cuda")
        steps = [fast_step(trainers)] if is_fast else [trainer.step for trainer in trainers]
        assert isinstance(steps[0], Recording) == is_fast
        for _ in range(trainers[0].settings.num_steps):
            for step in steps:
                step()
        results.append(torch.cat([part for trainer in trainers for part in (trainer.losses, trainer.weights())]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_seeds_side_by_side_on_a_gpu_train_as_each_does_alone_to_the_bit(cuda: torch.device) -> None:
    together = trained(*drawing_trainers([0, 1, 2], "cuda"))
    alone = torch.cat([trained(*drawing_trainers([seed], "cuda")) for seed in (0, 1, 2)])
    assert torch.equal(together, alone)


@pytest.mark.gpu
def test_answers_replayed_on_a_gpu_are_those_launched_one_by_one(
    cuda: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = made_trainer(on("cuda", additions(random_pairs(640))), steps=60, learning_rate=4e-3)
    train([trainer], 60, lambda *_: None)
    data = on("cuda", additions(random_pairs(700, seed=5)))
    replayed = Decoder(trainer.model, trainer.positions, pad_id=PAD_ID, eos_id=EOS_ID)
    forced, greedy = replayed.teacher_forced(data), replayed.greedy(data)
    assert replayed.forced_pass.is_recorded
    assert replayed.greedy_pass.is_recorded
    monkeypatch.setattr("harness.capture.can_capture", lambda device: False)
    plain = Decoder(trainer.model, trainer.positions, pad_id=PAD_ID, eos_id=EOS_ID)
    assert forced.is_right.tolist() == plain.teacher_forced(data).is_right.tolist()
    assert greedy.rows() == plain.greedy(data).rows()
    assert not plain.forced_pass.is_recorded
    assert 0.1 < forced.is_right.mean() < 0.9
