"""Speed beside the plain loop (`make bench`): same machine, same run, medians; the ratio is what is worth quoting."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest
import torch
from gallery import class_of
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
ROUNDS = 15
CASES = [("column_pairs_rotated", 9), ("characters_sinusoidal", 9), ("column_pairs_rotated", 20)]

every_case = pytest.mark.parametrize(("name", "digits"), CASES, ids=[f"{name}-{digits}" for name, digits in CASES])


@pytest.fixture(autouse=True)
def all_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
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


def measure(benchmark: BenchmarkFixture, group: str, work: Callable[[], object]) -> None:
    benchmark.group = group
    benchmark.pedantic(work, rounds=ROUNDS, warmup_rounds=2)


@every_case
@pytest.mark.parametrize("which", ["ours", "plain"])
def test_training_step(which: str, name: str, digits: int, benchmark: BenchmarkFixture) -> None:
    setting = Setting.of(name, digits)
    batches = cycle(range(BATCHES))
    if which == "ours":
        trainer, _, _ = setting.ours()
        measure(benchmark, f"training step, {name}, {digits} digits", lambda: trainer.step(next(batches)))
        return
    plain, size = setting.plain(), setting.track.training.batch_size
    prompts, answers = setting.problems.prompts(), setting.problems.answers()

    def step() -> None:
        rows = slice(start := next(batches) * size, start + size)
        plain.train_step(prompts[rows], answers[rows])

    measure(benchmark, f"training step, {name}, {digits} digits", step)


@pytest.mark.parametrize("which", ["ours", "plain"])
def test_scoring_512_problems(which: str, benchmark: BenchmarkFixture) -> None:
    setting = Setting.of("column_pairs_rotated", 9)
    if which == "ours":
        trainer, data, eos_id = setting.ours()
        pad_id = trainer.pad_id

        def score() -> None:
            decoding.teacher_forced(trainer.model, trainer.positions, data, pad_id=pad_id, eos_id=eos_id)

        measure(benchmark, "scoring 512 problems, column pairs, 9 digits", score)
        return
    plain, prompts = setting.plain(), setting.problems.prompts()
    measure(benchmark, "scoring 512 problems, column pairs, 9 digits", lambda: plain.answer(prompts, num_tokens=11))


@pytest.mark.parametrize("which", ["ours", "plain"])
def test_decoding_512_problems(which: str, benchmark: BenchmarkFixture) -> None:
    setting = Setting.of("column_pairs_rotated", 9)
    if which == "ours":
        trainer, data, _ = setting.ours()
        # No id ends an answer: both sides generate every token.
        measure(
            benchmark,
            "decoding 512 problems, column pairs, 9 digits",
            lambda: decoding.greedy(trainer.model, trainer.positions, data, eos_id=-1),
        )
        return
    plain, prompts = setting.plain(), setting.problems.prompts()
    measure(benchmark, "decoding 512 problems, column pairs, 9 digits", lambda: plain.answer(prompts, num_tokens=11))


@pytest.mark.parametrize("which", ["through the host", "in Python"])
def test_encoding_64000_problems(which: str, benchmark: BenchmarkFixture) -> None:
    setting = Setting.of("characters_sinusoidal", 9)
    texts = draw(UniformDigits(9), Split.TRAIN, count=64_000, track_seed=1).prompts()
    if which == "in Python":
        tokenizer = class_of(setting.submission.tokenizer)(9)
        measure(benchmark, "encoding 64,000 problems, characters", lambda: [tokenizer.encode(text) for text in texts])
        return
    with Host(setting.submission, "prompts", max_digits=9) as host:
        vocabulary = host.describe()
        measure(benchmark, "encoding 64,000 problems, characters", lambda: host.encode(texts, vocabulary))
