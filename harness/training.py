"""Training: one loop over batches that lie on the device, nothing in a step waits for the host."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.model import Dropout, FrozenModel
from harness.positions import Positions
from harness.randomness import generator
from harness.sequences import Sequences
from harness.track import TrainingDefinition


@dataclass(frozen=True, slots=True)
class Batches:
    """Sequences on the device, in order; batch i is rows i * batch_size and on."""

    token_ids: Tensor
    """(N, L + 1) int64."""
    layout: Tensor
    """(N, L) int64 of `Kind`."""
    prompt_length: int

    @classmethod
    def of(cls, sequences: Sequences, device: torch.device) -> "Batches":
        token_ids = torch.from_numpy(sequences.token_ids).to(device, torch.int64)
        layout = torch.from_numpy(sequences.layout).to(device, torch.int64)
        return cls(token_ids, layout, sequences.prompt_length)

    def rows(self, start: int, stop: int) -> "Batches":
        return Batches(self.token_ids[start:stop], self.layout[start:stop], self.prompt_length)


class Drift(NamedTuple):
    """See `records.Drift`."""

    rows: int
    touched_rows: int
    touched: float | None
    untouched: float | None


class Trainer:
    """The state of one training: weights, optimiser, random streams, the losses so far."""

    def __init__(
        self,
        model: FrozenModel,
        positions: Positions,
        data: Batches,
        settings: TrainingDefinition,
        *,
        dropout: float,
        pad_id: int,
        seed: int,
    ) -> None:
        """
        Args:
            data: one epoch; every epoch goes through it in the same order.
            dropout: inside the model; the positional embedding brings its own.
            pad_id: targets of this id do not count.
            seed: of the trial; dropout and random positions draw from streams of their own.
        """
        self.model, self.positions, self.data, self.settings, self.pad_id = model, positions, data, settings, pad_id
        device = data.token_ids.device
        self.batches_per_epoch = len(data.token_ids) // settings.batch_size
        self.losses = torch.zeros(settings.num_steps, device=device)
        self._dropout = Dropout(dropout, generator(seed, "dropout", device))
        self._embedding_dropout = Dropout(positions.dropout, generator(seed, "embedding dropout", device))
        self._positions_generator = generator(seed, "positions", device)
        self._parameters = [parameter for module in (model, positions) for parameter in module.parameters()]
        self._flat = _flatten(self._parameters)
        self._start = self._flat.detach().clone()
        self._optimizer = torch.optim.AdamW(
            [self._flat], lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )

    def step(self, index: int) -> None:
        """One optimiser step on batch `index` of the training; the loss stays on the device."""
        start = index % self.batches_per_epoch * self.settings.batch_size
        batch = self.data.rows(start, start + self.settings.batch_size)
        loss = self._loss(batch)
        gradients = torch.autograd.grad(loss, self._parameters, materialize_grads=True)
        self._flat.grad = torch.cat([gradient.flatten() for gradient in gradients])
        self._optimizer.param_groups[0]["lr"] = self._learning_rate(index)
        self._optimizer.step()
        self.losses[index] = loss.detach()

    def run(self, every: int, report: Callable[[int, float | None], None]) -> None:
        """All steps; calls `report(steps done, mean loss since last)` before the first and after `every` so many."""
        report(0, None)
        done = 0
        for index in range(self.settings.num_steps):
            self.step(index)
            if (index + 1) % every == 0 or index + 1 == self.settings.num_steps:
                report(index + 1, self.losses[done : index + 1].mean().item())
                done = index + 1

    def weights(self) -> Tensor:
        """A copy of all parameters, those of the positions included, (P,) float32."""
        return self._flat.detach().clone()

    def load(self, weights: Tensor) -> None:
        """Puts back what `weights` gave."""
        with torch.no_grad():
            self._flat.copy_(weights)

    def drift(self) -> Drift | None:
        """How far the rows of the largest table of the positions have moved since the start, None without a table.

        A row is touched if it ever got a gradient: if Adam's second moment is not zero all along it.
        """
        tables = [parameter for parameter in self.positions.parameters() if parameter.dim() == 2]
        if not tables:
            return None
        table = max(tables, key=lambda parameter: parameter.numel())
        before = self._parameters[: next(i for i, one in enumerate(self._parameters) if one is table)]
        start = sum(parameter.numel() for parameter in before)
        part = slice(start, start + table.numel())
        moments: Tensor = self._optimizer.state[self._flat]["exp_avg_sq"]
        is_touched = (moments[part].view_as(table) != 0).any(dim=1)
        moved = (self._flat.detach()[part] - self._start[part]).view_as(table).square().mean(dim=1)

        def root_mean(rows: Tensor) -> float | None:
            return math.sqrt(float(moved[rows].mean())) if bool(rows.any()) else None

        return Drift(len(table), int(is_touched.sum()), root_mean(is_touched), root_mean(~is_touched))

    def _loss(self, batch: Batches) -> Tensor:
        """Mean cross-entropy, in nats, of the answer's tokens and its EOS."""
        inputs, first = batch.token_ids[:, :-1], batch.prompt_length - 1
        terms = self.positions.terms(batch.layout, training=True, generator=self._positions_generator)
        logits = self.model(
            inputs, terms, first=first, dropout=self._dropout, embedding_dropout=self._embedding_dropout
        )
        targets = batch.token_ids[:, batch.prompt_length :]
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=self.pad_id)

    def _learning_rate(self, index: int) -> float:
        """learning_rate * min(1, (index + 1) / warmup_steps, (num_steps - index) / (cooldown_steps + 1))"""
        settings = self.settings
        rising = (index + 1) / max(1, settings.warmup_steps)
        falling = (settings.num_steps - index) / (settings.cooldown_steps + 1)
        return settings.learning_rate * min(1.0, rising, falling)


def _flatten(parameters: list[nn.Parameter]) -> nn.Parameter:
    """One parameter whose parts the given ones become: AdamW works element by element, so one buffer takes one kernel
    where a hundred tensors take a hundred, and the numbers are the same."""
    with torch.no_grad():
        flat = torch.cat([parameter.flatten() for parameter in parameters])
        start = 0
        for parameter in parameters:
            parameter.data = flat[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
    return nn.Parameter(flat)
