"""Throughput: examples per second, and their ratio to a reference, measured alternately.

Absolute rates belong to one machine at one moment. The built-in reference, the frozen model with a sinusoidal table at
the sequence lengths of a character tokenizer, is part of the harness, so the ratio means the same on every board. The
speed of encoding is measured in `encoding.py`, where a host is sent each text once.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from harness.decoding import EVALUATION_BATCH, Decoder
from harness.encoding import Speed
from harness.examples import Examples
from harness.model import FrozenModel
from harness.positions import Positions, Program
from harness.records import Throughput
from harness.track import Track
from harness.training import Trainer, fast_step

TRAIN_ROUNDS = 15
SCORE_ROUNDS = 5
DECODE_ROUNDS = 5
WARM_UP_ROUNDS = 2
"""In the second of them, on a GPU, the passes for scoring and decoding are recorded."""
VOCAB_SIZE, PAD_ID = 14, 12
"""The reference's vocabulary: ten digits, +, =, PAD and EOS."""


def measure(trainer: Trainer, prompts: Examples, track: Track, digits: int, encode: Speed) -> Throughput:
    """Measures training, scoring and decoding of one seed of a submission, and adds `encode`, its speed of encoding.

    Args:
        trainer: the seed's; its weights are useless afterwards.
        prompts: at least one row to score and to decode.
    """
    device = trainer.data.token_ids.device
    reference = reference_trainer(track, digits, device)
    train = _interleaved(fast_step([trainer]), fast_step([reference]), TRAIN_ROUNDS, track.training.batch_size, device)
    own, others = _passes(trainer, prompts), _passes(reference, reference.data)
    score = _interleaved(own.score, others.score, SCORE_ROUNDS, EVALUATION_BATCH, device)
    decode = _interleaved(own.decode, others.decode, DECODE_ROUNDS, EVALUATION_BATCH, device)
    return Throughput(
        encode_examples_per_second=encode.examples_per_second,
        train_examples_per_second=train[0],
        score_examples_per_second=score[0],
        decode_examples_per_second=decode[0],
        encode_ratio=encode.ratio,
        train_ratio=train[1],
        score_ratio=score[1],
        decode_ratio=decode[1],
    )


def reference_trainer(track: Track, digits: int, device: torch.device) -> Trainer:
    """The built-in reference on random tokens: speed does not depend on their values."""
    prompt_length, answer_length = 2 * digits + 2, digits + 2
    length = prompt_length + answer_length - 1
    rng = torch.Generator().manual_seed(0)
    rows = max(track.training.batch_size, EVALUATION_BATCH)
    token_ids = torch.randint(PAD_ID, (rows, length + 1), generator=rng).to(device)
    data = Examples(token_ids, torch.zeros(rows, length, dtype=torch.int64, device=device), prompt_length)
    settings = track.training.model_copy(update={"problems": track.training.batch_size})
    return Trainer(
        FrozenModel(track.model, VOCAB_SIZE, seed=0).to(device),
        _sinusoidal(track.model.d_model, length, settings.batch_size, device),
        data,
        settings,
        dropout=track.model.dropout,
        pad_id=PAD_ID,
        seed=0,
    )


class _Passes(NamedTuple):
    """The passes over one evaluation batch."""

    score: Callable[[], object]
    decode: Callable[[], object]


def _passes(trainer: Trainer, prompts: Examples) -> _Passes:
    """Passes in which no id ends an answer, since rates must not depend on how soon a model says EOS."""
    decoder = Decoder(trainer.model, trainer.positions, pad_id=trainer.pad_id, eos_id=-1)
    batch = _first_rows(prompts)
    return _Passes(lambda: decoder.teacher_forced(batch), lambda: decoder.greedy(batch))


def _sinusoidal(d_model: int, length: int, batch_size: int, device: torch.device) -> Positions:
    """pe[p, 2k] = sin(p / 10000^(2k/d)), pe[p, 2k+1] = cos(same), as a fixed table."""
    rates = 10000.0 ** (-torch.arange(0, d_model, 2) / d_model)
    angles = torch.arange(length)[:, None] * rates
    table = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[None].to(device)
    programs = (Program(True, batch_size, length), Program(False, EVALUATION_BATCH, length))
    return Positions(
        {"table": table},
        trainable=set(),
        graphs=dict.fromkeys(programs, _look_up),
        names=dict.fromkeys(programs, ("embedding",)),
        dropout=0.0,
        tables=set(),
    )


def _look_up(_layout: Tensor, _generator: torch.Generator, table: Tensor) -> tuple[Tensor]:
    return (table,)


def _interleaved(
    ours: Callable[[], object], reference: Callable[[], object], num_rounds: int, examples: int, device: torch.device
) -> tuple[float, float]:
    """Examples per second of `ours`, and the ratio of ours to the reference, each the median over the rounds."""
    rates: list[float] = []
    ratios: list[float] = []
    for round_index in range(WARM_UP_ROUNDS + num_rounds):
        own_s, reference_s = seconds(ours, device), seconds(reference, device)
        if round_index >= WARM_UP_ROUNDS:
            rates.append(examples / own_s)
            ratios.append(reference_s / own_s)
    return median(rates), median(ratios)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long `work` takes, including all that it starts on the device."""
    _synchronise(device)
    start = time.perf_counter()
    work()
    _synchronise(device)
    return time.perf_counter() - start


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _first_rows(data: Examples) -> Examples:
    """One evaluation batch; a shorter set is repeated."""
    rows = torch.arange(EVALUATION_BATCH, device=data.token_ids.device) % len(data)
    return data.take(rows)
