"""Linear probes: which carries can be read off the states of a trained model, in which layer, and how early.

The course notebook asked one such question: does the state at `=` tell whether the sum has more digits than the
operands? Here it is asked for the carry into every column, in every layer, and again after every token of the answer.

A probe is a logistic regression on standardised states (Alain & Bengio 2016, "Understanding intermediate layers using
linear classifier probes", arXiv:1610.01644). It is fitted on problems of one split and judged on those of another, and
the model was trained on neither. A carry that a probe reads is not necessarily one that the model uses; and since much
can be read off random features too, the model is probed before its training as well.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from harness.decoding import EVALUATION_BATCH, Decoder
from harness.model import NO_DROPOUT
from harness.preparation import prepare
from harness.records import Score
from harness.submissions import Submission
from harness.task import Problems, fixed_suites, fresh_problems, training_problems
from harness.track import Track
from harness.training import Batches, Trainer, train
from harness.trial import Progress

FIT_SEED = 0
"""Seeds the problems that probes are fitted on, so that a probe gives the same result every time."""
MAX_ITERATIONS = 1000

Accuracies = list[float | None]
"""One probe for each label; None for a label that does not vary in the problems of the fit."""


class Probing(NamedTuple):
    """What probes read off one trained model."""

    labels: list[str]
    """`10^k`: a carry into that column; `longer`: the sum has more digits than either operand."""
    commonest: list[float]
    """By label: the accuracy of always giving the answer that is commoner in the test."""
    untrained: Accuracies
    """At `=`, in the last layer before the training."""
    layers: list[Accuracies]
    """At `=`, by layer."""
    positions: list[Accuracies]
    """In the last layer, at `=` and after every token of the right answer."""
    num_fitted: int
    test: Score
    """The model's exact match on the problems that the probes are judged on."""


def probe(
    submission: Submission,
    track: Track,
    digits: int,
    seed: int,
    device: torch.device,
    report: Callable[[Progress], None],
) -> Probing:
    """Trains the trial of that seed again, and probes it for carries.

    Raises:
        SubmissionError: the submission broke its contract.
    """
    # The suites decide how wide a trial's sequences are, and so which rows a table of positions has.
    fit = fresh_problems(track, digits, FIT_SEED)
    sets = {"train": training_problems(track, digits), "fit": fit, **fixed_suites(track, digits)}
    trainer, data, vocabulary = prepare(submission, track, digits, seed, sets, device)
    num_steps = trainer.settings.num_steps
    labels, test_labels = carries(fit), carries(sets["test"])

    def accuracies_of(fitted: NDArray[np.float32], judged: NDArray[np.float32]) -> Accuracies:
        return [accuracy(fitted, labels[name], judged, test_labels[name]) for name in labels]

    def states() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return states_of(trainer, data["fit"]), states_of(trainer, data["test"])

    def note(step: int, _losses: list[float] | None) -> None:
        report(Progress("train", step, num_steps))

    report(Progress("probe", 0, num_steps))
    fitted, judged = states()
    untrained = accuracies_of(fitted[-1][:, 0], judged[-1][:, 0])
    train([trainer], max(1, num_steps // track.evaluation.curve_points), note)
    report(Progress("probe", num_steps, num_steps))
    fitted, judged = states()
    decoder = Decoder(trainer.model, trainer.positions, pad_id=vocabulary.pad_id, eos_id=vocabulary.eos_id)
    is_right = decoder.teacher_forced(data["test"]).is_right
    return Probing(
        labels=list(labels),
        commonest=[max(float(label.mean()), 1 - float(label.mean())) for label in test_labels.values()],
        untrained=untrained,
        layers=[accuracies_of(one[:, 0], other[:, 0]) for one, other in zip(fitted, judged, strict=True)],
        positions=[accuracies_of(fitted[-1][:, place], judged[-1][:, place]) for place in range(fitted.shape[2])],
        num_fitted=len(fit),
        test=Score(correct=int(is_right.sum()), total=len(is_right)),
    )


def carries(problems: Problems) -> dict[str, NDArray[np.bool_]]:
    """What probes look for, each (N,): `57+68=` has `10^1` and `10^2` and is `longer`, `7+8=` has `10^1` and is too."""
    found: dict[str, NDArray[np.bool_]] = {}
    carry = np.zeros(len(problems), np.bool_)
    for column in range(problems.a.shape[1]):
        carry = problems.a[:, column] + problems.b[:, column] + carry > 9
        found[f"10^{column + 1}"] = carry
    longest = np.maximum(_num_digits(problems.a), _num_digits(problems.b))
    return {**found, "longer": np.array([len(answer) for answer in problems.answers()]) > longest}


def _num_digits(operands: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(N, columns), least significant first -> (N,), 1 for zero."""
    columns = np.arange(1, operands.shape[1] + 1)
    return np.where(operands > 0, columns, 1).max(axis=1)


@torch.inference_mode()
def states_of(trainer: Trainer, data: Batches) -> NDArray[np.float32]:
    """The outputs of every layer from `=` on, while the model reads the right answers: (layers, N, A, d_model).

    A is the number of columns of an answer, its EOS included: the state at `=` predicts the first of them.
    """
    model, positions, device = trainer.model, trainer.positions, data.token_ids.device
    first = data.prompt_length - 1
    seen: list[list[Tensor]] = [[] for _ in model.layers]

    def keep(index: int) -> Callable[[nn.Module, object, tuple[Tensor, object]], None]:
        def hook(_layer: nn.Module, _inputs: object, outputs: tuple[Tensor, object]) -> None:
            seen[index].append(outputs[0][:, -data.answer_length :].cpu())

        return hook

    hooks = [layer.register_forward_hook(keep(index)) for index, layer in enumerate(model.layers)]
    try:
        for start in range(0, len(data), EVALUATION_BATCH):  # the last batch is filled up with its last row
            rows = torch.arange(start, start + EVALUATION_BATCH, device=device).clamp(max=len(data) - 1)
            batch = data.take(rows)
            terms = positions.terms(batch.layout, training=False, generator=torch.Generator())
            model(batch.token_ids[:, :-1], terms, first=first, dropout=NO_DROPOUT, embedding_dropout=NO_DROPOUT)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack([torch.cat(layer)[: len(data)] for layer in seen]).numpy()


def accuracy(
    states: NDArray[np.float32],
    labels: NDArray[np.bool_],
    test_states: NDArray[np.float32],
    test_labels: NDArray[np.bool_],
) -> float | None:
    """The share of the test that a probe fitted on `states` (N, d_model) gets right; None if all `labels` are alike."""
    if labels.all() or not labels.any():
        return None
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS)).fit(states, labels)
    return float(fitted.score(test_states, test_labels))
