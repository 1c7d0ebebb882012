"""The plain loop in a process of its own, with torch as it comes: what a user who wrote it would see.

Our process has its memory and its products tuned (`harness/processor.py`), and the loop would profit from that.
It can `train` on the next batch, do so `compiled` and with its ids ready, or `answer` all problems.
"""

import sys
from itertools import cycle
from pathlib import Path

import torch
from asked import serve
from gallery import class_of

from harness.commands.plain_loop import PlainLoop, PlainModel
from harness.submissions import Submission, read_folder
from harness.task import Split, UniformDigits, draw
from harness.track import load_track

SUBMISSIONS = Path(__file__).parents[2] / "submissions"
TRACK = "notebook"
BATCHES = 8


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

    def rows() -> slice:
        return slice(start := next(starts), start + size)

    def train(own: slice) -> None:
        loop.train_step(prompts[own], answers[own])

    def train_compiled(own: slice) -> None:
        compiled.train_on(prompt_ids[own], answer_ids[own])

    serve(
        {
            "train": lambda: train(rows()),
            "compiled": lambda: train_compiled(rows()),
            "answer": lambda: loop.answer(prompts, num_tokens=digits + 2),
        }
    )


if __name__ == "__main__":
    main()
