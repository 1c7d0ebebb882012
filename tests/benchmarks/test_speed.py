"""Speed beside the plain loop (`make bench`): the two take turns, round by round; the median of the ratios is what is
worth quoting, since both sides of a ratio meet the same moment of the machine."""

import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest
import torch
from gallery import class_of
from goals import Row, note
from plain_loop import PlainLoop, PlainModel
from pytest_benchmark.fixture import BenchmarkFixture

from harness import decoding
from harness.encoding import encode
from harness.host.client import Host
from harness.model import FrozenModel
from harness.submissions import Submission, read_folder
from harness.task import Problems, Split, UniformDigits, draw
from harness.track import Track, load_track
from harness.training import Batches, Trainer
from harness.trial import export_positions_for

SUBMISSIONS = Path(__file__).parents[2] / "submissions"
CPU = torch.device("cpu")
BATCHES = 8
STEP_ROUNDS, SET_ROUNDS = 15, 7
WARM_UP_ROUNDS = 2
CASES = [("column_pairs_rotated", 9, 2.3), ("characters_sinusoidal", 9, 2.7), ("column_pairs_rotated", 20, 3.0)]
"""Submission, digits, and how many times as fast as the plain loop a training step should be."""
ANSWER_LENGTH = 11
"""Tokens of an answer to 9 digits: 10 and EOS."""

every_case = pytest.mark.parametrize(
    ("name", "digits", "goal"), CASES, ids=[f"{name}-{digits}" for name, digits, _ in CASES]
)


@pytest.fixture(autouse=True, params=sorted({1, os.cpu_count() or 1}), ids=lambda count: f"{count}-threads")
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """One, as a trial has it, and all."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@dataclass(frozen=True, slots=True)
class Setting:
    """One submission at one number of digits, on the notebook's track, with a few batches of problems."""

    submission: Submission
    track: Track
    digits: int
    problems: Problems

    @classmethod
    def of(cls, name: str, digits: int) -> "Setting":
        submission, track = read_folder(SUBMISSIONS / name), load_track("notebook")
        assert isinstance(submission, Submission)
        count = BATCHES * track.training.batch_size
        problems = draw(UniformDigits(digits), Split.TRAIN, count=count, track_seed=track.seed)
        return cls(submission, track, digits, problems)

    def ours(self) -> tuple[Trainer, Batches, int]:
        """A trainer, its data, and the id of EOS."""
        encoded = encode(self.submission, {"train": self.problems}, max_digits=self.digits, shuffle_seed=0)
        data = Batches.of(encoded.sets["train"], CPU)
        positions = export_positions_for(
            self.submission, self.track, {"train": data}, max_digits=self.digits, seed=0, device=CPU
        )
        model = FrozenModel(self.track.model, encoded.vocabulary.vocab_size, seed=0)
        settings = self.track.training.model_copy(update={"problems": len(self.problems), "epochs": 1})
        trainer = Trainer(
            model,
            positions,
            data,
            settings,
            dropout=self.track.model.dropout,
            pad_id=encoded.vocabulary.pad_id,
            seed=0,
        )
        return trainer, data, encoded.vocabulary.eos_id

    def plain(self) -> PlainLoop:
        tokenizer = class_of(self.submission.tokenizer)(self.digits)
        model = PlainModel(self.track.model, tokenizer.vocab_size, max_length=4 * self.digits + 8)
        return PlainLoop(model, tokenizer, self.track.training.learning_rate)


@dataclass(frozen=True, slots=True)
class Bench:
    """One measurement: pytest-benchmark times ours, and a yardstick runs before each of its rounds."""

    benchmark: BenchmarkFixture
    config: pytest.Config
    threads: int

    def alternate(
        self,
        work: str,
        ours: Callable[[], object],
        yardstick: str,
        other: Callable[[], object],
        rounds: int,
        goal: float | None,
    ) -> None:
        other_s: list[float] = []

        def take_turn() -> None:
            start = time.perf_counter()
            other()
            other_s.append(time.perf_counter() - start)

        self.benchmark.group = f"{work}, {self.threads} threads"
        self.benchmark.pedantic(ours, setup=take_turn, rounds=rounds, warmup_rounds=WARM_UP_ROUNDS)
        assert self.benchmark.stats is not None
        own_s: list[float] = self.benchmark.stats.stats.data
        other_s = other_s[-rounds:]
        ratio = statistics.median(theirs / own for theirs, own in zip(other_s, own_s, strict=True))
        self.benchmark.extra_info.update(yardstick=yardstick, yardstick_s=other_s, ratio=ratio, goal=goal)
        row = Row(work, self.threads, statistics.median(own_s), yardstick, statistics.median(other_s), ratio, goal)
        note(self.config, row)


@pytest.fixture
def bench(benchmark: BenchmarkFixture, request: pytest.FixtureRequest, threads: int) -> Bench:
    return Bench(benchmark, request.config, threads)


@every_case
def test_training_step_beside_the_plain_loop(name: str, digits: int, goal: float, bench: Bench) -> None:
    setting = Setting.of(name, digits)
    trainer, _, _ = setting.ours()
    plain, size = setting.plain(), setting.track.training.batch_size
    prompts, answers = setting.problems.prompts(), setting.problems.answers()
    own_batches, batches = cycle(range(BATCHES)), cycle(range(BATCHES))

    def step() -> None:
        rows = slice(start := next(batches) * size, start + size)
        plain.train_step(prompts[rows], answers[rows])

    work = f"training step, {name}, {digits} digits"
    bench.alternate(work, lambda: trainer.step(next(own_batches)), "plain loop", step, STEP_ROUNDS, goal)


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of torch, about its own compiler
def test_training_step_beside_the_same_model_compiled(bench: Bench) -> None:
    """The yardstick for who would rather have a compiler do it: `torch.compile`, and data on the device."""
    name, digits, _ = CASES[0]
    setting = Setting.of(name, digits)
    trainer, data, _ = setting.ours()
    plain, size, first = setting.plain(), setting.track.training.batch_size, data.prompt_length - 1
    compiled = torch.compile(plain.model.train())
    own_batches, batches = cycle(range(BATCHES)), cycle(range(BATCHES))

    def step() -> None:
        token_ids = data.token_ids[(start := next(batches) * size) : start + size]
        plain.optimizer.zero_grad()
        logits = compiled(token_ids[:, :-1])[:, first:]
        targets = token_ids[:, data.prompt_length :]
        torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=trainer.pad_id
        ).backward()
        plain.optimizer.step()

    work = f"training step, {name}, {digits} digits"
    bench.alternate(work, lambda: trainer.step(next(own_batches)), "torch.compile", step, STEP_ROUNDS, None)


def test_scoring_512_problems(bench: Bench) -> None:
    setting = Setting.of("column_pairs_rotated", 9)
    trainer, data, eos_id = setting.ours()
    plain, prompts = setting.plain(), setting.problems.prompts()
    bench.alternate(
        "scoring 512 problems, column pairs, 9 digits",
        lambda: decoding.teacher_forced(trainer.model, trainer.positions, data, pad_id=trainer.pad_id, eos_id=eos_id),
        "plain loop",
        lambda: plain.answer(prompts, num_tokens=ANSWER_LENGTH),
        SET_ROUNDS,
        12,
    )


def test_decoding_512_problems(bench: Bench) -> None:
    setting = Setting.of("column_pairs_rotated", 9)
    trainer, data, _ = setting.ours()
    plain, prompts = setting.plain(), setting.problems.prompts()
    bench.alternate(
        "decoding 512 problems, column pairs, 9 digits",
        # No id ends an answer: both sides generate every token.
        lambda: decoding.greedy(trainer.model, trainer.positions, data, eos_id=-1),
        "plain loop",
        lambda: plain.answer(prompts, num_tokens=ANSWER_LENGTH),
        SET_ROUNDS,
        5,
    )


def test_encoding_64000_problems(bench: Bench) -> None:
    """The goal is a time, below one second; Python in the same process, which has no wire to cross, stands beside."""
    setting = Setting.of("characters_sinusoidal", 9)
    texts = draw(UniformDigits(9), Split.TRAIN, count=64_000, track_seed=1).prompts()
    tokenizer = class_of(setting.submission.tokenizer)(9)
    with Host(setting.submission, "prompts", max_digits=9) as host:
        vocabulary = host.describe()
        bench.alternate(
            "encoding 64,000 problems through the host, characters",
            lambda: host.encode(texts, vocabulary),
            "same process",
            lambda: [tokenizer.encode(text) for text in texts],
            SET_ROUNDS,
            None,
        )
