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
from harness.model import FrozenModel
from harness.processor import set_up_processor
from harness.randomness import derived_seed
from harness.submissions import discover, the_one
from harness.task import fixed_suites, training_problems
from harness.terminal import put
from harness.track import load_track
from harness.training import Trainer, train
from harness.trial import export_positions_for

TRACK = load_track("quick-length")
DIGITS, SEED, CPU = 5, 0, torch.device("cpu")


def main() -> None:
    set_up_processor()
    found, max_digits = discover(Path.cwd()), TRACK.max_digits(DIGITS)
    put("| folder | columns more than trained: right of so many |\n|---|---|")
    for name in sys.argv[1:]:
        submission = the_one(found, name)
        sets = {"train": training_problems(TRACK, DIGITS), **fixed_suites(TRACK, DIGITS)}
        encoded = encode(submission, sets, max_digits=max_digits, shuffle_seed=SEED)
        parts = {name: parts_of(own, CPU) for name, own in encoded.sets.items()}
        (trained,) = parts.pop("train")
        asked = [part.batches for own in parts.values() for part in own]
        (positions,) = export_positions_for(
            submission, TRACK, trained.batches, asked, max_digits=max_digits, seeds=[SEED], device=CPU
        )
        vocabulary = encoded.vocabulary
        model = FrozenModel(TRACK.model, vocabulary.vocab_size, derived_seed(SEED, "weights"))
        settings, dropout = submission.training(TRACK.training), submission.dropout(TRACK.model)
        pad_id, eos_id = vocabulary.pad_id, vocabulary.eos_id
        trainer = Trainer(model, positions, trained.batches, settings, dropout=dropout, pad_id=pad_id, seed=SEED)
        train([trainer], settings.num_steps, lambda step, losses: None)
        decoder = Decoder(model, positions, pad_id=pad_id, eos_id=eos_id)
        counts: list[str] = []
        for rows, batches in parts["lengths/6"]:
            right = int(decoder.teacher_forced(batches).is_right.sum())
            counts.append(f"{batches.prompt_length - trained.batches.prompt_length}: {right} of {len(rows)}")
        put(f"| {name} | {', '.join(counts)} |")


if __name__ == "__main__":
    main()
