"""The plain loop in a process of its own, with torch as it comes: what a user who wrote it would see.

Our process has its memory and its products tuned (`harness/processor.py`), and the loop would profit from that.
As a program it reads one request a line, `train`, `compiled` or `answer`, and answers each with the seconds it took.
"""

import os
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path

import torch
from gallery import class_of

from harness.plain_loop import PlainLoop, PlainModel
from harness.submissions import Submission, read_folder
from harness.task import Split, UniformDigits, draw
from harness.track import load_track

SUBMISSIONS = Path(__file__).parents[2] / "submissions"
TRACK = "notebook"
BATCHES = 8


class Yardstick:
    """The process, from outside; a context manager."""

    def __init__(self, name: str, digits: int, threads: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, name, str(digits), str(threads)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> "Yardstick":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def seconds(self, work: str) -> float:
        """How long the loop took to `train` on the next batch, to do so `compiled` and with its ids ready, or to
        `answer` all problems."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{work}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


def main() -> None:
    name, digits, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(threads)
    submission, track = read_folder(SUBMISSIONS / name), load_track(TRACK)
    assert isinstance(submission, Submission)
    size = track.training.batch_size
    problems = draw(UniformDigits(digits), Split.TRAIN, count=BATCHES * size, track_seed=track.seed)
    prompts, answers = problems.prompts(), problems.answers()
    tokenizer = class_of(submission.tokenizer)(digits)
    model = PlainModel(track.model, tokenizer.vocab_size, max_length=4 * digits + 8)
    loop = PlainLoop(model, tokenizer, track.training.learning_rate)
    compiled = PlainLoop(torch.compile(model), tokenizer, track.training.learning_rate)  # type: ignore[arg-type]
    prompt_ids, answer_ids = loop.prompt_ids(prompts), loop.answer_ids(answers)
    starts = cycle(range(0, len(problems), size))
    for line in sys.stdin:
        rows = slice(start := next(starts), start + size)
        began = time.perf_counter()
        match line.strip():
            case "train":
                loop.train_step(prompts[rows], answers[rows])
            case "compiled":
                compiled.train_on(prompt_ids[rows], answer_ids[rows])
            case "answer":
                loop.answer(prompts, num_tokens=digits + 2)
        sys.stdout.write(f"{time.perf_counter() - began}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
