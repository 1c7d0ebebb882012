"""The decoy task (rule T97): is a submission good at addition alone?"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from harness.decoding import Decoder
from harness.preparation import Job, prepare
from harness.records import Score
from harness.rules import Finding
from harness.submissions import Submission
from harness.task import Digits, Problems, fixed_suites, training_problems
from harness.track import Track, load_track
from harness.training import train

TRACK = "quick"
LEARNED = 0.5
"""Addition counts as learned from this exact match on."""


@dataclass(frozen=True, slots=True)
class Exchanged(Problems):
    """Prompts made from (a, b), with the sums of `exchanged` as answers."""

    exchanged: Problems

    def take(self, rows: NDArray[np.int64]) -> "Exchanged":
        return Exchanged(self.a[rows], self.b[rows], self.exchanged.take(rows))

    def answers(self) -> list[str]:
        return self.exchanged.answers()


def decoy_of(problems: Problems, permutation: Digits) -> Exchanged:
    """Exchanges the digits of both operands before they are added; the prompts stay as they are.

    With 1 and 2 exchanged, `12+31=` has the answer of 21+32. `permutation`: (10,); it keeps 0 as 0, so that a number
    keeps its length and the zeros that a format may put in front of it still add nothing.
    """
    return Exchanged(problems.a, problems.b, Problems(permutation[problems.a], permutation[problems.b]))


def check_decoy(submission: Submission, rng: np.random.Generator) -> list[Finding]:
    """T97: a submission that learns addition also learns the decoy, at least half as well.

    It may set more epochs than this track has, for one that has them; it gets as many as there are here.

    Raises:
        SubmissionError: the submission broke its contract.
    """
    track = load_track(TRACK)
    submission = _with_at_most(track.training.epochs, submission)
    while True:
        permutation = np.concatenate([[0], 1 + rng.permutation(9)]).astype(np.uint8)
        if not (permutation[1:] == np.arange(1, 10)).any():
            break
    addition = _score(submission, track, np.arange(10, dtype=np.uint8))
    decoy = _score(submission, track, permutation)
    return judged(addition, decoy)


def judged(addition: Score, decoy: Score) -> list[Finding]:
    """The finding, if only addition is learned."""
    shares = [score.correct / score.total for score in (addition, decoy)]
    if shares[0] < LEARNED or shares[1] >= shares[0] / 2:
        return []
    message = (
        f"exact match on addition is {shares[0]:.3f}, on the decoy (digits exchanged before they are added) "
        f"{shares[1]:.3f}; say in the pull request why the format helps addition alone"
    )
    return [Finding("T97", "review", message)]


def _with_at_most(epochs: int, submission: Submission) -> Submission:
    own = submission.manifest.hyperparameters
    shorter = own.model_copy(update={"epochs": min(own.epochs or epochs, epochs)})
    return replace(submission, manifest=submission.manifest.model_copy(update={"hyperparameters": shorter}))


def _score(submission: Submission, track: Track, permutation: Digits) -> Score:
    """Trains and tests on the track's first number of digits, with its first seed."""
    digits, seed = track.digits[0], track.seeds[0]
    sets = {"train": training_problems(track, digits), "test": fixed_suites(track, digits)["test"]}
    decoys = {name: decoy_of(problems, permutation) for name, problems in sets.items()}
    job = Job(submission, track, digits, [seed], torch.device("cpu"))
    trainer, data, vocabulary = prepare(job, decoys)
    train([trainer], trainer.settings.num_steps, lambda _steps, _losses: None)
    decoder = Decoder(trainer.model, trainer.positions, pad_id=vocabulary.pad_id, eos_id=vocabulary.eos_id)
    is_right = decoder.teacher_forced(data["test"]).is_right
    return Score(correct=int(is_right.sum()), total=len(is_right))
