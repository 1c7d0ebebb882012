"""The answers of a trained model: teacher-forced in one pass, and decoded greedily with a cache.

The model is causal and one row's result does not depend on the others, so decoding greedily gives the right answer
exactly when the teacher-forced argmax is right at every position of the answer: one forward pass scores a suite, and
only the wrong answers have to be decoded.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harness.capture import Replayed
from harness.examples import Examples
from harness.model import NO_DROPOUT, FrozenModel
from harness.positions import Positions
from harness.protocol import Terms
from harness.ragged import Ragged
from harness.sequences import Sequences

EVALUATION_BATCH = 256
"""Rows of every evaluation batch; the last is filled up: one static shape, and all rows are computed the same way."""


class Part(NamedTuple):
    """The problems of a set whose prompts have the same width; only sets in `encoding.LONGER` may have several."""

    rows: NDArray[np.int64]
    """(n,): where they stand in the set."""
    examples: Examples


def parts_of(sequences: Sequences, device: torch.device) -> list[Part]:
    return [Part(rows, Examples.of(part, device)) for rows, part in sequences.by_width()]


class Forced(NamedTuple):
    """Which predictions are right, each after the right prefix, counted up to EOS."""

    is_right: NDArray[np.bool_]
    """(N,): whether every token of the answer is right, EOS included."""
    digit_accuracy: float
    """Share of answer tokens, EOS not counted, that are predicted right, in [0, 1]."""


class Decoder:
    """Finds a trained model's answers; on a GPU, passes for a shape that comes again are recorded if they can be."""

    def __init__(self, model: FrozenModel, positions: Positions, *, pad_id: int, eos_id: int) -> None:
        self._model, self._positions = model, positions
        self._pad_id, self._eos_id = pad_id, eos_id
        device = model.output_bias.device
        self.forced_pass = Replayed(self._forced_batch, device)
        self.greedy_pass = Replayed(self._greedy_batch, device)

    def teacher_forced(self, data: Examples) -> Forced:
        """Scores `data` with one forward pass a batch."""
        rights: list[Tensor] = []
        counts: list[Tensor] = []
        for batch, count in _filled_batches(data):
            prompts, answers = batch.token_ids.split_with_sizes((batch.prompt_length, batch.answer_length), dim=1)
            is_right, hits, is_digit = self.forced_pass(prompts, answers, batch.layout)
            rights.append(is_right[:count].clone())
            counts.append(torch.stack((hits[:count].sum(), is_digit[:count].sum())))
        right_digits, digits = torch.stack(counts).sum(dim=0).tolist()
        return Forced(torch.cat(rights).cpu().numpy(), right_digits / digits)

    def greedy(self, data: Examples) -> Ragged:
        """The answers to the prompts of `data`; an answer ends before its EOS, or, without one, at the last column."""
        generated: list[Tensor] = []
        for batch, count in _filled_batches(data):
            answers = self.greedy_pass(batch.token_ids[:, : batch.prompt_length], batch.layout)
            generated.append(answers[:count].clone())
        return _until(torch.cat(generated).cpu().numpy().astype(np.int32), self._eos_id)

    def answers(self, data: Examples) -> Ragged:
        """The same as `greedy`, but faster.

        Where the teacher-forced argmax is right throughout, the right ids are the answer, so only the other rows are
        decoded token by token.
        """
        is_right = self.teacher_forced(data).is_right
        targets = data.token_ids[:, data.prompt_length :].cpu().numpy().astype(np.int32)
        answers, wrong = _until(targets, self._eos_id), np.flatnonzero(~is_right)
        if len(wrong) == 0:
            return answers
        decoded = self.greedy(data.take(torch.from_numpy(wrong).to(data.token_ids.device)))
        source = np.arange(len(data))
        source[wrong] = len(data) + np.arange(len(wrong))
        return Ragged.concatenate([answers, decoded]).take(source)

    def answers_by_set(self, sets: Mapping[str, Sequence[Part]]) -> dict[str, Ragged]:
        """`answers` to every set, by its name."""
        groups = list(by_shape(sets).values())
        answers = Ragged.concatenate([self.answers(_joined(group)) for group in groups])
        rows = _rows_by_set(groups)
        return {name: answers.take(rows[name]) for name in sets}

    def accuracies(self, sets: Mapping[str, Sequence[Part]]) -> dict[str, float]:
        """The share of every set, by its name, whose answers are right."""
        groups = list(by_shape(sets).values())
        is_right = np.array([right for group in groups for right in self.teacher_forced(_joined(group)).is_right])
        rows = _rows_by_set(groups)
        return {name: float(is_right[rows[name]].mean()) for name in sets}

    @torch.inference_mode()
    def _forced_batch(self, prompts: Tensor, answers: Tensor, layout: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compares predictions with the known answers (B, A) to prompts (B, P).

        Returns which rows are right, (B,); which digits are predicted right, (B, A); and which tokens of the answers
        are digits, that is neither EOS nor PAD, (B, A).
        """
        token_ids, first = torch.cat((prompts, answers[:, :-1]), dim=1), prompts.shape[1] - 1
        terms = self._terms(layout)
        logits = self._model(token_ids, terms, first=first, dropout=NO_DROPOUT, embedding_dropout=NO_DROPOUT)
        hits = logits.argmax(dim=-1) == answers
        is_digit = (answers != self._pad_id) & (answers != self._eos_id)
        return (hits | (answers == self._pad_id)).all(dim=1), hits & is_digit, is_digit

    @torch.inference_mode()
    def _greedy_batch(self, prompts: Tensor, layout: Tensor) -> Tensor:
        """(B, A) int64: the answers to prompts (B, P), EOS and whatever follows it included."""
        length, prompt_length = layout.shape[1], prompts.shape[1]
        terms = self._terms(layout)
        logits, cache = self._model.prefill(prompts, terms, length)
        answers = [logits.argmax(dim=-1)]
        is_over = answers[-1] == self._eos_id
        for position in range(prompt_length, length):
            # A pass that may be recorded does not ask whether all have ended: it would have to wait for the device.
            if not self.greedy_pass.can_record and bool(is_over.all()):
                break
            answers.append(self._model.extend(answers[-1], terms, position, cache).argmax(dim=-1))
            is_over |= answers[-1] == self._eos_id
        answer_length = length - prompt_length + 1
        return F.pad(torch.stack(answers, dim=-1), (0, answer_length - len(answers)), value=self._eos_id)

    def _terms(self, layout: Tensor) -> Terms:
        """The terms in evaluation mode, which draw nothing: `graph.build` refuses graphs that would."""
        return self._positions.terms(layout, training=False, generator=torch.Generator())


def by_shape(sets: Mapping[str, Sequence[Part]]) -> dict[tuple[int, int], list[tuple[str, Part]]]:
    """The parts of all sets by their shape, each with the name of its set.

    What has one shape goes through the model together, so that a few rows do not take a batch of their own.
    """
    groups: dict[tuple[int, int], list[tuple[str, Part]]] = {}
    for name, parts in sets.items():
        for part in parts:
            groups.setdefault(part.examples.shape, []).append((name, part))
    return groups


def _joined(group: Sequence[tuple[str, Part]]) -> Examples:
    return Examples.concatenated([part.examples for _, part in group])


def _rows_by_set(groups: Sequence[Sequence[tuple[str, Part]]]) -> dict[str, NDArray[np.int64]]:
    """Where each set's problems, in order, stand among those of all groups, one after the other."""
    places: dict[str, list[tuple[int, int]]] = {}
    start = 0
    for name, part in chain.from_iterable(groups):
        places.setdefault(name, []).extend(zip(part.rows.tolist(), range(start, start + len(part.rows)), strict=True))
        start += len(part.rows)
    return {name: np.array([place for _, place in sorted(own)]) for name, own in places.items()}


def _until(token_ids: NDArray[np.int32], eos_id: int) -> Ragged:
    """The rows of (N, A), each up to its first EOS."""
    is_end = token_ids == eos_id
    lengths = np.where(is_end.any(axis=1), is_end.argmax(axis=1), token_ids.shape[1]).astype(np.int32)
    return Ragged.from_flat(token_ids[np.arange(token_ids.shape[1]) < lengths[:, None]], lengths)


def _filled_batches(data: Examples) -> list[tuple[Examples, int]]:
    """Batches of `EVALUATION_BATCH` rows and how many of them count; the last batch repeats its final row."""
    batches: list[tuple[Examples, int]] = []
    for start in range(0, len(data), EVALUATION_BATCH):
        batch = data.rows(start, start + EVALUATION_BATCH)
        count = len(batch)
        if count < EVALUATION_BATCH:
            batch = batch.take(torch.arange(EVALUATION_BATCH, device=data.token_ids.device).clamp(max=count - 1))
        batches.append((batch, count))
    return batches
