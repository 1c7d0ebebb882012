"""A job made ready to train: its problems encoded, its positions exported, its trainers built.

Trials begin here, and so does whatever else trains or audits a submission as a trial does. The audit of published
problems depends on that: a submission must not be able to tell it from a trial.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.audits.live import Probes, probes_of
from harness.decoding import EVALUATION_BATCH
from harness.encoding import Encoded, encode
from harness.errors import SubmissionError
from harness.examples import Examples
from harness.host.client import Host, Vocabulary
from harness.model import FrozenModel, shape_of
from harness.positions import Positions, Program, receive_positions
from harness.randomness import derived_seed
from harness.submissions import Submission
from harness.task import Problems, fixed_suites, fresh_suites, training_problems, validation_problems
from harness.track import Track
from harness.training import Trainer


class Job(NamedTuple):
    """The trials of one submission at one number of digits that train side by side."""

    submission: Submission
    track: Track
    digits: int
    seeds: Sequence[int]
    device: torch.device

    @property
    def max_digits(self) -> int:
        """What the tokenizer and the positions are built with, as the contract says."""
        return self.track.max_digits(self.digits)


class ProblemsOfJob(NamedTuple):
    """What a job trains on and is scored on."""

    fresh: list[dict[str, Problems]]
    """For each seed the suites that were drawn for it: `fresh`, and `fresh_lengths/…` if the track has them."""
    fixed: dict[str, Problems]
    """The other suites, by name."""
    unscored: dict[str, Problems]
    """`train` and `validation/…`."""

    @property
    def scored(self) -> dict[str, Problems]:
        """Every suite by the name under which it is encoded: `fresh/1` is that of the second seed."""
        drawn = {f"{suite}/{index}": own for index, suites in enumerate(self.fresh) for suite, own in suites.items()}
        return self.fixed | drawn

    @property
    def sets(self) -> dict[str, Problems]:
        """All that is encoded."""
        return self.unscored | self.scored


def draw_problems(job: Job, fresh_seeds: Sequence[int]) -> ProblemsOfJob:
    """Draws the problems of a job; `fresh_seeds`, one for each trial, are those of what is fresh."""
    track, digits = job.track, job.digits
    return ProblemsOfJob(
        fresh=[fresh_suites(track, digits, fresh_seed) for fresh_seed in fresh_seeds],
        fixed=fixed_suites(track, digits),
        unscored={"train": training_problems(track, digits), **validation_problems(track, digits)},
    )


def encode_with_probes(job: Job, problems: ProblemsOfJob) -> tuple[Encoded, Probes]:
    """Tokenises a job's problems, with texts of the audits hidden among them.

    Raises:
        SubmissionError: the tokenizer broke its contract.
    """
    rng = np.random.default_rng(secrets.randbits(63))
    probes = probes_of(problems.scored, problems.unscored["train"], rng)
    encoded = encode(
        job.submission,
        problems.sets,
        max_digits=job.max_digits,
        shuffle_seed=secrets.randbits(63),
        prompt_probes=probes.texts(),
        answer_probes=probes.numbers,
    )
    return encoded, probes


def export_positions(job: Job, trained: Examples, asked: Sequence[Examples]) -> list[Positions]:
    """Each seed's positional embedding, for the training batch and for the evaluation batch of every width.

    Args:
        trained: the training problems.
        asked: what the model is evaluated on.

    Raises:
        SubmissionError: the positions broke their contract.
    """
    submission, track = job.submission, job.track
    trained_length, lengths = trained.layout.shape[-1], {examples.layout.shape[-1] for examples in asked}
    programs = [Program(True, track.training.batch_size, trained_length)]
    programs += [Program(False, EVALUATION_BATCH, length) for length in sorted(lengths)]
    shape = shape_of(track.model, max_digits=job.max_digits, max_length=max(lengths))
    # On a GPU a lookup outside its table raises no exception with a line, but ends this process.
    layouts = distinct_layouts(trained, asked, programs) if job.device.type == "cuda" else None
    exported: list[Positions] = []
    for seed in job.seeds:
        own_seed = derived_seed(seed, "positions")
        with Host(submission, "positions") as host:
            exported.append(
                receive_positions(
                    host, submission.name, shape, programs, seed=own_seed, device=job.device, layouts=layouts
                )
            )
    if len({own.description() for own in exported}) > 1:
        message = "another seed gives other terms, dropout or parameters; let __init__ draw initial values alone"
        raise SubmissionError(submission.name, "P00", message)
    return exported


def distinct_layouts(
    trained: Examples, asked: Sequence[Examples], programs: Sequence[Program]
) -> dict[Program, Tensor]:
    """The distinct layouts that each program meets, (n, L) on the CPU; they are few, as they tell only lengths."""
    found: dict[Program, Tensor] = {}
    for program in programs:
        met = [trained.layout] if program.training else [examples.layout for examples in asked]
        rows = [layout.unique(dim=0) for layout in met if layout.shape[-1] == program.length]
        found[program] = torch.cat(rows).unique(dim=0).cpu()
    return found


def make_trainer(job: Job, vocabulary: Vocabulary, data: Examples, positions: Positions, seed: int) -> Trainer:
    """The trainer of one seed before its first step; `data` is one epoch."""
    submission, track = job.submission, job.track
    return Trainer(
        FrozenModel(track.model, vocabulary.vocab_size, derived_seed(seed, "weights")).to(job.device),
        positions,
        data,
        submission.training(track.training),
        dropout=submission.dropout(track.model),
        pad_id=vocabulary.pad_id,
        seed=seed,
    )


class Prepared(NamedTuple):
    """A trainer before its first step, and every set of problems as the model sees it."""

    trainer: Trainer
    data: dict[str, Examples]
    vocabulary: Vocabulary


def prepare(job: Job, sets: Mapping[str, Problems]) -> Prepared:
    """Makes the only seed of a job ready, on problems of one's own and without audits.

    A set of longer problems is in one piece here, as wide as its widest; a trial asks it in parts.

    Args:
        sets: problems by name; those called `train` are one epoch, and on the others a model can be asked.

    Raises:
        SubmissionError: the submission broke its contract.
    """
    (seed,) = job.seeds
    encoded = encode(job.submission, sets, max_digits=job.max_digits, shuffle_seed=seed)
    data = {name: Examples.of(sequences, job.device) for name, sequences in encoded.sets.items()}
    asked = [examples for name, examples in data.items() if name != "train"]
    (positions,) = export_positions(job, data["train"], asked)
    return Prepared(make_trainer(job, encoded.vocabulary, data["train"], positions, seed), data, encoded.vocabulary)
