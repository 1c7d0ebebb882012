"""Which six-digit sums are right, by the width of their prompts: `python docs/experiments/by_width.py NAME…`.

Trains the first seed of `quick-length`, as its trial does, and counts the right answers to the published sums of six
digits by how many columns wider than any trained prompt theirs is. Where that is none, the other operand has four
digits or fewer, and `=` stands where it stood in training.
"""

import sys
from pathlib import Path

import torch

from harness.decoding import Decoder, parts_of
from harness.encoding import encode
from harness.preparation import Job, export_positions, make_trainer
from harness.processor import set_up_processor
from harness.submissions import discover, the_one
from harness.task import fixed_suites, training_problems
from harness.terminal import put
from harness.track import load_track
from harness.training import train

TRACK = load_track("quick-length")
DIGITS, SEED, CPU = 5, 0, torch.device("cpu")


def main() -> None:
    set_up_processor()
    found = discover(Path.cwd())
    put("| folder | columns more than trained: right of so many |\n|---|---|")
    for name in sys.argv[1:]:
        job = Job(the_one(found, name), TRACK, DIGITS, [SEED], CPU)
        sets = {"train": training_problems(TRACK, DIGITS), **fixed_suites(TRACK, DIGITS)}
        encoded = encode(job.submission, sets, max_digits=job.max_digits, shuffle_seed=SEED)
        parts = {name: parts_of(own, CPU) for name, own in encoded.sets.items()}
        (trained,) = parts.pop("train")
        asked = [part.examples for own in parts.values() for part in own]
        (positions,) = export_positions(job, trained.examples, asked)
        trainer = make_trainer(job, encoded.vocabulary, trained.examples, positions, SEED)
        train([trainer], trainer.settings.num_steps, lambda step, losses: None)
        pad_id, eos_id = encoded.vocabulary.pad_id, encoded.vocabulary.eos_id
        decoder = Decoder(trainer.model, positions, pad_id=pad_id, eos_id=eos_id)
        counts: list[str] = []
        for rows, examples in parts["lengths/6"]:
            right = int(decoder.teacher_forced(examples).is_right.sum())
            counts.append(f"{examples.prompt_length - trained.examples.prompt_length}: {right} of {len(rows)}")
        put(f"| {name} | {', '.join(counts)} |")


if __name__ == "__main__":
    main()
