"""What a wider prompt does to sums of trained lengths: `python docs/experiments/wider_prompts.py NAME…`.

A trial asks no problem in a wider prompt than operands of its lengths need. This trains the first seed of
`quick-length`, as its trial does, and asks the published sums of four and five digits again with PADs in front, in
prompts as wide as the widest of six, seven and eight digits. What is asked as trained scores what the record says.
"""

import sys
from pathlib import Path

import torch
from torch.nn.functional import pad

from harness.decoding import Decoder
from harness.examples import Examples
from harness.preparation import Job, prepare
from harness.processor import set_up_processor
from harness.protocol import Kind
from harness.submissions import discover, the_one
from harness.task import fixed_suites, training_problems
from harness.terminal import put
from harness.track import load_track
from harness.training import train

TRACK = load_track("quick-length")
DIGITS = 5
ASKED, WIDTHS_OF = (4, 5), (6, 7, 8)


def widened(sums: Examples, like: Examples, pad_id: int) -> Examples:
    """The same problems with the prompt and the answer as wide as those of `like`."""
    left, right = like.prompt_length - sums.prompt_length, like.answer_length - sums.answer_length
    layout = pad(pad(sums.layout, (left, 0), value=Kind.PAD), (0, right), value=Kind.ANSWER)
    return Examples(pad(sums.token_ids, (left, right), value=pad_id), layout, like.prompt_length)


def main() -> None:
    set_up_processor()
    found = discover(Path.cwd())
    widths = ["as trained", *(f"as wide as {width}" for width in WIDTHS_OF)]
    headings = [f"{digits} digits, {width}" for digits in ASKED for width in widths]
    put(f"| folder | {' | '.join(headings)} |\n|---|{'---:|' * len(headings)}")
    for name in sys.argv[1:]:
        sets = {"train": training_problems(TRACK, DIGITS), **fixed_suites(TRACK, DIGITS)}
        job = Job(the_one(found, name), TRACK, DIGITS, [0], torch.device("cpu"))
        trainer, data, vocabulary = prepare(job, sets)
        train([trainer], trainer.settings.num_steps, lambda step, losses: None)
        decoder = Decoder(trainer.model, trainer.positions, pad_id=vocabulary.pad_id, eos_id=vocabulary.eos_id)
        right: list[int] = []
        for digits in ASKED:
            sums = data[f"lengths/{digits}"]
            asked = [sums, *(widened(sums, data[f"lengths/{width}"], vocabulary.pad_id) for width in WIDTHS_OF)]
            right += [int(decoder.teacher_forced(examples).is_right.sum()) for examples in asked]
        put(f"| {name} | {' | '.join(map(str, right))} |")


if __name__ == "__main__":
    main()
