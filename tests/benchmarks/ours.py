"""What is measured: a trainer on the problems of the yardstick."""

import torch
from plain_loop import BATCHES, SUBMISSIONS, TRACK

from harness.encoding import encode
from harness.examples import Examples
from harness.model import FrozenModel
from harness.preparation import Job, export_positions
from harness.submissions import Submission, read_folder
from harness.task import Split, UniformDigits, draw
from harness.track import load_track
from harness.training import Trainer

CPU = torch.device("cpu")


def trainer_and_data(name: str, digits: int) -> tuple[Trainer, Examples]:
    """A trainer and its data: the problems of the yardstick."""
    submission, track = read_folder(SUBMISSIONS / name), load_track(TRACK)
    assert isinstance(submission, Submission)
    count = BATCHES * track.training.batch_size
    problems = draw(UniformDigits(digits), Split.TRAIN, count=count, track_seed=track.seed)
    encoded = encode(submission, {"train": problems}, max_digits=digits, shuffle_seed=0)
    data = Examples.of(encoded.sets["train"], CPU)
    (positions,) = export_positions(Job(submission, track, digits, [0], CPU), data, [data])
    model = FrozenModel(track.model, encoded.vocabulary.vocab_size, seed=0)
    settings = track.training.model_copy(update={"problems": count, "epochs": 1})
    dropout, pad_id = track.model.dropout, encoded.vocabulary.pad_id
    return Trainer(model, positions, data, settings, dropout=dropout, pad_id=pad_id, seed=0), data
