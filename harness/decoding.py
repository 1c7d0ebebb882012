"""What a trained model answers: teacher-forced in one pass, and greedily with a cache.

The model is causal and one row's result does not depend on the others, so decoding greedily gives the right answer
exactly when the teacher-forced argmax is right at every position of the answer: one forward pass scores a suite, and
only the wrong answers have to be decoded.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harness.model import NO_DROPOUT, FrozenModel
from harness.positions import Positions
from harness.ragged import Ragged
from harness.training import Batches

EVALUATION_BATCH = 256
"""Rows of every evaluation batch, the last one filled up: one static shape, and every row is computed alike."""


class Forced(NamedTuple):
    """Predictions after the right prefix; counted up to EOS."""

    is_right: NDArray[np.bool_]
    """(N,): every token of the answer, EOS included."""
    digit_accuracy: float
    """Share of answer tokens, EOS not counted, that are predicted right, in [0, 1]."""


def teacher_forced(model: FrozenModel, positions: Positions, data: Batches, *, pad_id: int, eos_id: int) -> Forced:
    """Scores `data` with one forward pass a batch."""
    rights: list[Tensor] = []
    tokens = right_tokens = 0
    for batch, count in _filled_batches(data):
        with torch.inference_mode():
            terms = positions.terms(batch.layout, training=False, generator=_NO_GENERATOR)
            first = batch.prompt_length - 1
            logits = model(
                batch.token_ids[:, :-1], terms, first=first, dropout=NO_DROPOUT, embedding_dropout=NO_DROPOUT
            )
            targets = batch.token_ids[:count, batch.prompt_length :]
            hits = logits[:count].argmax(dim=-1) == targets
            rights.append((hits | (targets == pad_id)).all(dim=1))
            is_digit = (targets != pad_id) & (targets != eos_id)
            tokens += int(is_digit.sum())
            right_tokens += int((hits & is_digit).sum())
    return Forced(torch.cat(rights).cpu().numpy(), right_tokens / tokens)


def greedy(model: FrozenModel, positions: Positions, data: Batches, *, eos_id: int) -> Ragged:
    """Generates answers from the prompts of `data`; each ends before its EOS, or where the room for answers ends."""
    generated: list[Tensor] = []
    for batch, count in _filled_batches(data):
        generated.append(_greedy_batch(model, positions, batch, eos_id)[:count])
    token_ids = torch.cat(generated).cpu().numpy().astype(np.int32)
    is_end = token_ids == eos_id
    lengths = np.where(is_end.any(axis=1), is_end.argmax(axis=1), token_ids.shape[1]).astype(np.int32)
    return Ragged.from_flat(token_ids[np.arange(token_ids.shape[1]) < lengths[:, None]], lengths)


@torch.inference_mode()
def _greedy_batch(model: FrozenModel, positions: Positions, batch: Batches, eos_id: int) -> Tensor:
    """(B, A) int64: the answers, EOS and whatever follows it included."""
    length, prompt_length = batch.layout.shape[1], batch.prompt_length
    terms = positions.terms(batch.layout, training=False, generator=_NO_GENERATOR)
    logits, cache = model.prefill(batch.token_ids[:, :prompt_length], terms, length)
    answers = [logits.argmax(dim=-1)]
    is_over = answers[-1] == eos_id
    for position in range(prompt_length, length):
        if bool(is_over.all()):
            break
        answers.append(model.extend(answers[-1], terms, position, cache).argmax(dim=-1))
        is_over |= answers[-1] == eos_id
    answer_length = length - prompt_length + 1
    return F.pad(torch.stack(answers, dim=1), (0, answer_length - len(answers)), value=eos_id)


def _filled_batches(data: Batches) -> list[tuple[Batches, int]]:
    """Batches of `EVALUATION_BATCH` rows and how many of them count; the last repeats its final row."""
    batches: list[tuple[Batches, int]] = []
    for start in range(0, len(data.token_ids), EVALUATION_BATCH):
        batch = data.rows(start, start + EVALUATION_BATCH)
        count = len(batch.token_ids)
        if count < EVALUATION_BATCH:
            rows = torch.arange(EVALUATION_BATCH, device=data.token_ids.device).clamp(max=count - 1)
            batch = Batches(batch.token_ids[rows], batch.layout[rows], batch.prompt_length)
        batches.append((batch, count))
    return batches


_NO_GENERATOR = torch.Generator()
"""Evaluation graphs draw nothing: `graph.build` refuses those that would."""
