"""One training made ready to run, for what trains outside of a trial: the decoy task and the probes."""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from harness import encoding
from harness.host.client import Vocabulary
from harness.model import FrozenModel
from harness.randomness import derived_seed
from harness.submissions import Submission
from harness.task import Problems
from harness.track import Track
from harness.training import Batches, Trainer
from harness.trial import export_positions_for


class Prepared(NamedTuple):
    """A trainer before its first step, and every set of problems as the model sees it."""

    trainer: Trainer
    data: dict[str, Batches]
    vocabulary: Vocabulary


def prepare(
    submission: Submission,
    track: Track,
    digits: int,
    seed: int,
    sets: Mapping[str, Problems],
    device: torch.device,
) -> Prepared:
    """Encodes the problems, exports the positions and initialises the model, as a trial of that seed does.

    A set of longer problems is in one piece here, as wide as its widest; a trial asks it in parts.

    Args:
        sets: problems by name; those called `train` are one epoch, and on the others a model can be asked.

    Raises:
        SubmissionError: the submission broke its contract.
    """
    max_digits = track.max_digits(digits)
    encoded = encoding.encode(submission, sets, max_digits=max_digits, shuffle_seed=seed)
    data = {name: Batches.of(sequences, device) for name, sequences in encoded.sets.items()}
    asked = [batches for name, batches in data.items() if name != "train"]
    (positions,) = export_positions_for(
        submission, track, data["train"], asked, max_digits=max_digits, seeds=[seed], device=device
    )
    model = FrozenModel(track.model, encoded.vocabulary.vocab_size, derived_seed(seed, "weights")).to(device)
    trainer = Trainer(
        model,
        positions,
        data["train"],
        submission.training(track.training),
        dropout=submission.dropout(track.model),
        pad_id=encoded.vocabulary.pad_id,
        seed=seed,
    )
    return Prepared(trainer, data, encoded.vocabulary)
