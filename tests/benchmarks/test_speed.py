"""Speed beside the plain loop (`make bench`): the two take turns, round by round; the median of the ratios is what is
worth quoting, since both sides of a ratio meet the same moment of the machine."""

import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from asked import Asked
from gallery import class_of
from goals import NO_GOAL, Goal, Row, note
from ours import trainer_and_data
from plain_loop import SUBMISSIONS
from pytest_benchmark.fixture import BenchmarkFixture

from harness.decoding import Decoder
from harness.examples import Examples
from harness.host.client import Host
from harness.processor import set_up_processor
from harness.submissions import Submission, read_folder
from harness.task import Split, UniformDigits, draw

STEP_ROUNDS, SET_ROUNDS = 15, 7
WARM_UP_ROUNDS = 2
CASES = [
    ("column_pairs_rotated", 9, Goal(2.3)),
    ("characters_sinusoidal", 9, Goal(2.7)),
    ("column_pairs_rotated", 20, Goal(3.0)),
]
"""Submission, digits, and how many times as fast as the plain loop a training step should be."""

ANSWERING = "column_pairs_rotated"

every_case = pytest.mark.parametrize(
    ("name", "digits", "goal"), CASES, ids=[f"{name}-{digits}" for name, digits, _ in CASES]
)

all_threads = pytest.mark.parametrize("threads", [os.cpu_count() or 1], indirect=True, ids=["all-threads"])


@pytest.fixture(autouse=True, params=sorted({1, os.cpu_count() or 1}), ids=lambda count: f"{count}-threads")
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """One, as a trial has it, and all."""
    before = torch.get_num_threads()
    set_up_processor(request.param)
    yield request.param
    torch.set_num_threads(before)


@dataclass(frozen=True, slots=True)
class Bench:
    """One measurement: pytest-benchmark times ours, and a yardstick runs before each of its rounds."""

    benchmark: BenchmarkFixture
    config: pytest.Config
    threads: int

    def alternate(
        self,
        work: str,
        own: Callable[[], object],
        yardstick: str,
        other: Callable[[], float],
        rounds: int,
        goal: Goal,
        *,
        at_a_time: int = 1,
    ) -> None:
        """
        Args:
            other: the yardstick; returns the seconds that it took.
            at_a_time: how much of the work one call of `own` does; its time counts as shared evenly.
        """
        other_s: list[float] = []
        self.benchmark.group = f"{work}, {self.threads} threads"
        self.benchmark.pedantic(own, setup=lambda: other_s.append(other()), rounds=rounds, warmup_rounds=WARM_UP_ROUNDS)
        assert self.benchmark.stats is not None
        own_s = [took / at_a_time for took in self.benchmark.stats.stats.data]
        other_s = other_s[-rounds:]
        ratio = statistics.median(theirs / mine for theirs, mine in zip(other_s, own_s, strict=True))
        self.benchmark.extra_info.update(yardstick=yardstick, yardstick_s=other_s, ratio=ratio, goal=str(goal))
        row = Row(work, self.threads, statistics.median(own_s), yardstick, statistics.median(other_s), ratio, goal)
        note(self.config, row)


@pytest.fixture
def bench(benchmark: BenchmarkFixture, request: pytest.FixtureRequest, threads: int) -> Bench:
    return Bench(benchmark, request.config, threads)


@every_case
def test_training_step_beside_the_plain_loop(name: str, digits: int, goal: Goal, bench: Bench) -> None:
    trainer, _ = trainer_and_data(name, digits)
    with Asked("plain_loop.py", name, str(digits), threads=bench.threads) as plain:
        work = f"training step, {name}, {digits} digits"
        bench.alternate(work, trainer.step, "plain loop", lambda: plain.seconds("train"), STEP_ROUNDS, goal)


@every_case
@all_threads
def test_training_steps_of_as_many_trials_as_there_are_cores(name: str, digits: int, goal: Goal, bench: Bench) -> None:
    """How the harness trains: a trial a core, each with one thread. The loop has all cores for itself."""
    programs = [Asked("trial_steps.py", name, str(digits), threads=1) for _ in range(bench.threads)]
    with contextlib.ExitStack() as stack:
        trials = [stack.enter_context(program) for program in programs]
        plain = stack.enter_context(Asked("plain_loop.py", name, str(digits), threads=bench.threads))

        def steps() -> None:
            for trial in trials:
                trial.send("step")
            for trial in trials:
                trial.receive()

        work = f"training step, {name}, {digits} digits, {bench.threads} trials at a time"
        bench.alternate(
            work, steps, "plain loop", lambda: plain.seconds("train"), STEP_ROUNDS, goal, at_a_time=bench.threads
        )


@every_case
@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="torch.compile needs a C++ compiler")
def test_training_step_beside_the_same_model_compiled(name: str, digits: int, goal: Goal, bench: Bench) -> None:
    """The yardstick for who would rather have a compiler do it: `torch.compile`, and data on the device."""
    trainer, _ = trainer_and_data(name, digits)
    with Asked("plain_loop.py", name, str(digits), threads=bench.threads) as plain:
        work = f"training step, {name}, {digits} digits"
        bench.alternate(work, trainer.step, "torch.compile", lambda: plain.seconds("compiled"), STEP_ROUNDS, NO_GOAL)


@pytest.mark.parametrize("wrong", [0, 51], ids=["all-right", "a-tenth-wrong"])
def test_scoring_a_test_set_by_the_text_of_every_answer(wrong: int, bench: Bench) -> None:
    """The plain loop generates every answer. Ours passes over them once, generates those that are wrong and has all
    decoded to text.

    What an untrained model answers is what it is asked for here, so that it is right: training would take minutes,
    and no speed depends on what an answer says.
    """
    trainer, data = trainer_and_data(ANSWERING, 9)
    submission = read_folder(SUBMISSIONS / ANSWERING)
    assert isinstance(submission, Submission)
    with Host(submission, "decode", max_digits=9) as host:
        eos_id = host.describe().eos_id
        decoder = Decoder(trainer.model, trainer.positions, pad_id=trainer.pad_id, eos_id=eos_id)
        answers = decoder.greedy(data)
        wanted = host.decode(answers)
        with_room = answers.right_padded(data.answer_length + 1, trainer.pad_id)
        with_room[np.arange(len(answers)), answers.lengths] = eos_id
        generated = torch.from_numpy(with_room[:, : data.answer_length])
        generated[:wrong, 0] = (generated[:wrong, 0] + 1) % trainer.pad_id
        asked = Examples(
            torch.cat((data.token_ids[:, : data.prompt_length], generated), dim=1), data.layout, data.prompt_length
        )
        assert int(decoder.teacher_forced(asked).is_right.sum()) == len(asked) - wrong

        def score() -> None:
            assert host.decode(decoder.answers(asked)) == wanted

        with Asked("plain_loop.py", ANSWERING, "9", threads=bench.threads) as plain:
            work = f"scoring {len(asked)} problems, {wrong} of them wrong, column pairs, 9 digits"
            bench.alternate(work, score, "plain loop", lambda: plain.seconds("answer"), SET_ROUNDS, Goal(12))


def test_decoding_with_a_cache(bench: Bench) -> None:
    """No id ends an answer: both sides generate every token."""
    trainer, data = trainer_and_data(ANSWERING, 9)
    decoder = Decoder(trainer.model, trainer.positions, pad_id=trainer.pad_id, eos_id=-1)
    with Asked("plain_loop.py", ANSWERING, "9", threads=bench.threads) as plain:
        work = f"decoding {len(data)} problems, column pairs, 9 digits"
        bench.alternate(
            work, lambda: decoder.greedy(data), "plain loop", lambda: plain.seconds("answer"), SET_ROUNDS, Goal(5)
        )


@all_threads
def test_encoding_64000_problems(bench: Bench) -> None:
    """Python in the same process, which has no wire to cross, stands beside."""
    submission = read_folder(SUBMISSIONS / "characters_sinusoidal")
    assert isinstance(submission, Submission)
    texts = draw(UniformDigits(9), Split.TRAIN, count=64_000, track_seed=1).prompts()
    tokenizer = class_of(submission.tokenizer)(9)

    def in_this_process() -> float:
        start = time.perf_counter()
        for text in texts:
            tokenizer.encode(text)
        return time.perf_counter() - start

    with Host(submission, "prompts", max_digits=9) as host:
        vocabulary = host.describe()
        bench.alternate(
            "encoding 64,000 problems through the host, characters",
            lambda: host.encode(texts, vocabulary),
            "same process",
            in_this_process,
            SET_ROUNDS,
            Goal(below_s=1),
        )


@all_threads
@pytest.mark.parametrize("arguments", [["--help"], ["list"]], ids=lambda arguments: arguments[-1])
def test_commands_that_only_tell(arguments: list[str], bench: Bench) -> None:
    """Python that does nothing stands beside."""

    def run(*command: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, cwd=SUBMISSIONS.parent, check=True)
        return time.perf_counter() - start

    bench.alternate(
        f"harness {' '.join(arguments)}",
        lambda: run("-m", "harness", *arguments),
        "python -c pass",
        lambda: run("-c", "pass"),
        SET_ROUNDS,
        Goal(below_s=0.3),
    )
