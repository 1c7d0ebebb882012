"""Linear probes: which carries can be read off a trained model's states, in which layer, and after which token.

The course notebook asked one such question: does the state at `=` tell whether the sum has more digits than the
operands? Here it is asked for the carry into every column, in every layer, and again after every token of the answer.

A probe is a logistic regression on standardised states (Alain & Bengio 2016, "Understanding intermediate layers using
linear classifier probes", arXiv:1610.01644), fitted on problems of one split and judged on those of another; the model
was trained on neither. Probes show what could be read, not what the model reads, and they succeed without any learning:
on random features (Zhang & Bowman 2018, arXiv:1809.10040), and on plain digits, of which a carry is a linear threshold.
So the untrained model and the operands' digits are probed as well.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from harness.decoding import EVALUATION_BATCH, Decoder
from harness.examples import Examples
from harness.model import NO_DROPOUT
from harness.preparation import Job, prepare
from harness.probe_report import Accuracies, ProbeReport
from harness.records import Score
from harness.submissions import Submission
from harness.task import Problems, fixed_suites, fresh_problems, training_problems, validation_problems
from harness.track import Track
from harness.training import Trainer, train
from harness.trial import Progress

FIT_SEED = 0
"""Seeds the problems that probes are fitted on, so that a probe gives the same result every time."""
MIN_OF_A_KIND = 30
"""Problems with the carry, and without it, that a fit and a test must have at least."""
MAX_ITERATIONS = 1000

Labels = Mapping[str, NDArray[np.bool_]]
Rows = NDArray[np.int64]


class States(NamedTuple):
    """Outputs of layers, float32, before the model's last LayerNorm."""

    at_equals: NDArray[np.float32]
    """(layers, N, d_model), at `=`."""
    last: NDArray[np.float32]
    """(A, N, d_model), of the last layer, at `=` and after every token of the answer but its last."""


class _Set(NamedTuple):
    """Distinct problems, as digits and as the model sees them."""

    problems: Problems
    data: Examples
    labels: Labels


def probe(
    submission: Submission,
    track: Track,
    digits: int,
    seed: int,
    device: torch.device,
    report: Callable[[Progress], None],
) -> ProbeReport:
    """Trains the trial of that seed, and probes it for carries before and after.

    Raises:
        SubmissionError: the submission broke its contract.
    """
    # All suites are encoded, since they decide how wide a trial's sequences are.
    sets = {"train": training_problems(track, digits), "fit": fresh_problems(track, digits, FIT_SEED)}
    sets |= {**fixed_suites(track, digits), **validation_problems(track, digits)}
    num_steps = submission.training(track.training).num_steps
    report(Progress("encode", 0, num_steps))
    trainer, data, vocabulary = prepare(Job(submission, track, digits, [seed], device), sets)
    special = (vocabulary.pad_id, vocabulary.eos_id)
    fit = _distinct(sets["fit"], data["fit"], known=_rows(data["fit"])[:0])
    test = _distinct(sets["test"], data["test"], known=_rows(data["fit"]))
    passing = _passing(test.problems)

    def note(step: int, _losses: list[float] | None) -> None:
        report(Progress("train", step, num_steps))

    with threadpool_limits(1):
        report(Progress("probe", 0, num_steps))
        from_digits = _one_hot(fit.problems), _one_hot(test.problems)
        before = states_of(trainer, fit.data), states_of(trainer, test.data)
        untrained, untrained_by_token = _by_layer(fit, test, *before), _by_token(fit, test, *before, special)
        del before
        train([trainer], max(1, num_steps // track.evaluation.curve_points), note)
        report(Progress("probe", num_steps, num_steps))
        after = states_of(trainer, fit.data), states_of(trainer, test.data)
        decoder = Decoder(trainer.model, trainer.positions, pad_id=vocabulary.pad_id, eos_id=vocabulary.eos_id)
        is_right = decoder.teacher_forced(data["test"]).is_right
        return ProbeReport(
            labels=list(fit.labels),
            digits=accuracies(*from_digits, fit.labels, test.labels),
            untrained=untrained,
            trained=_by_layer(fit, test, *after),
            digits_passing=accuracies(*from_digits, fit.labels, test.labels, passing),
            trained_passing=_by_layer(fit, test, *after, passing),
            untrained_by_token=untrained_by_token,
            trained_by_token=_by_token(fit, test, *after, special),
            num_fitted=len(fit.problems),
            num_judged=len(test.problems),
            seen=float(_is_among(_rows(test.data), _rows(data["train"])).mean()),
            test=Score(correct=int(is_right.sum()), total=len(is_right)),
        )


def _by_layer(fit: _Set, test: _Set, fitted: States, judged: States, where: Labels | None = None) -> list[Accuracies]:
    """The accuracies at `=`, layer by layer."""
    pairs = zip(fitted.at_equals, judged.at_equals, strict=True)
    return [accuracies(one, other, fit.labels, test.labels, where) for one, other in pairs]


def _by_token(fit: _Set, test: _Set, fitted: States, judged: States, special: tuple[int, int]) -> list[Accuracies]:
    """The accuracies in the last layer, at `=` and then after each token, on problems whose answer has not ended."""
    found: list[Accuracies] = []
    for place, (one, other) in enumerate(zip(fitted.last, judged.last, strict=True)):
        goes_on, still = _goes_on(fit.data, place, special), _goes_on(test.data, place, special)
        labels = {name: label[goes_on] for name, label in fit.labels.items()}
        found.append(accuracies(one[goes_on], other, labels, test.labels, dict.fromkeys(test.labels, still)))
    return found


def carries(problems: Problems) -> dict[str, NDArray[np.bool_]]:
    """What probes look for, each (N,).

    `57+68=` carries into `10^1` and `10^2` and is `longer`; of operands written with two digits, `7+8=` carries into
    `10^1` alone, and is longer too.
    """
    found: dict[str, NDArray[np.bool_]] = {}
    carry = np.zeros(len(problems), np.bool_)
    for column in range(problems.a.shape[1]):
        carry = problems.a[:, column] + problems.b[:, column] + carry > 9
        found[f"10^{column + 1}"] = carry
    longest = np.maximum(_num_digits(problems.a), _num_digits(problems.b))
    return {**found, "longer": np.array([len(answer) for answer in problems.answers()]) > longest}


@torch.inference_mode()
def states_of(trainer: Trainer, data: Examples) -> States:
    """What the layers put out while the model reads the prompts and the right answers, N rows."""
    model, positions, device = trainer.model, trainer.positions, data.token_ids.device
    num_layers, num_columns, first = len(model.layers), data.answer_length, data.prompt_length - 1
    at_equals = np.empty((num_layers, len(data), model.definition.d_model), np.float32)
    last = np.empty((num_columns, len(data), model.definition.d_model), np.float32)
    start = 0

    def keep(index: int) -> Callable[[nn.Module, object, tuple[Tensor, object]], None]:
        def hook(_layer: nn.Module, _inputs: object, outputs: tuple[Tensor, object]) -> None:
            rows = slice(start, min(start + EVALUATION_BATCH, len(data)))
            answer = outputs[0][: rows.stop - rows.start, -num_columns:]
            at_equals[index, rows] = answer[:, 0].cpu().numpy()
            if index == num_layers - 1:
                last[:, rows] = answer.transpose(0, 1).cpu().numpy()

        return hook

    hooks = [layer.register_forward_hook(keep(index)) for index, layer in enumerate(model.layers)]
    try:
        for start in range(0, len(data), EVALUATION_BATCH):  # which the hooks read
            # The last batch is filled up with its last row: positions are exported for one size.
            filled = torch.arange(start, start + EVALUATION_BATCH, device=device).clamp(max=len(data) - 1)
            batch = data.take(filled)
            terms = positions.terms(batch.layout, training=False, generator=torch.Generator())
            model(batch.token_ids[:, :-1], terms, first=first, dropout=NO_DROPOUT, embedding_dropout=NO_DROPOUT)
    finally:
        for hook in hooks:
            hook.remove()
    return States(at_equals, last)


def accuracies(
    states: NDArray[np.float32],
    test_states: NDArray[np.float32],
    labels: Labels,
    test_labels: Labels,
    where: Labels | None = None,
) -> Accuracies:
    """For each label, the balanced accuracy on `test_states` of a probe that is fitted on `states`, (N, features).

    Args:
        where: by label, the rows of the test to judge; a label that it lacks is not judged.
    """
    if not (np.isfinite(states).all() and np.isfinite(test_states).all()):  # the training diverged
        return [None for _ in labels]
    found: Accuracies = []
    for name, label in labels.items():
        if where is not None and name not in where:
            found.append(None)
            continue
        rows = np.ones(len(test_states), np.bool_) if where is None else where[name]
        told = test_labels[name][rows]
        if not (_is_varied(label) and _is_varied(told)):
            found.append(None)
            continue
        weighed = LogisticRegression(class_weight="balanced", max_iter=MAX_ITERATIONS)
        is_right = make_pipeline(StandardScaler(), weighed).fit(states, label).predict(test_states[rows]) == told
        found.append(float(is_right[told].mean() + is_right[~told].mean()) / 2)
    return found


def _is_varied(label: NDArray[np.bool_]) -> bool:
    return min(int(label.sum()), int((~label).sum())) >= MIN_OF_A_KIND


def _passing(problems: Problems) -> Labels:
    """By label, (N,): where the digits of the column that would carry sum to nine.

    Whether it does is then up to the column below, and its own digits do not tell. The lowest column has none below it.
    """
    sums = problems.a + problems.b
    return {f"10^{column + 1}": sums[:, column] == 9 for column in range(1, sums.shape[1])}


def _goes_on(data: Examples, place: int, special: tuple[int, int]) -> NDArray[np.bool_]:
    """(N,): where the token that was read last is part of the answer, and not its end or what fills it up."""
    if place == 0:
        return np.ones(len(data), np.bool_)
    return ~np.isin(_rows(data)[:, data.prompt_length + place - 1], special)


def _distinct(problems: Problems, data: Examples, known: Rows) -> _Set:
    """One problem of each row of ids, in order, without those whose row is among the `known` ones."""
    seen = {row.tobytes() for row in known}
    kept: list[int] = []
    for index, row in enumerate(_rows(data)):
        if (key := row.tobytes()) not in seen:
            seen.add(key)
            kept.append(index)
    own = Problems(problems.a[kept], problems.b[kept])
    return _Set(own, data.take(torch.tensor(kept, dtype=torch.int64, device=data.token_ids.device)), carries(own))


def _is_among(token_ids: Rows, others: Rows) -> NDArray[np.bool_]:
    """(N,): which rows of (N, L) are also rows of (M, L)."""
    known = {row.tobytes() for row in others}
    return np.array([row.tobytes() in known for row in token_ids], np.bool_)


def _rows(data: Examples) -> Rows:
    return data.token_ids.cpu().numpy()


def _one_hot(problems: Problems) -> NDArray[np.float32]:
    """(N, 2 * columns * 10)"""
    digits = np.concatenate([problems.a, problems.b], axis=1)
    return np.eye(10, dtype=np.float32)[digits].reshape(len(problems), -1)


def _num_digits(operands: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(N, columns), least significant first -> (N,), 1 for zero."""
    columns = np.arange(1, operands.shape[1] + 1)
    return np.where(operands > 0, columns, 1).max(axis=1)
