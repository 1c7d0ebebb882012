"""Training: one loop over batches that lie on the device, nothing in a step waits for the host.

S seeds of one submission train side by side, each as it would alone: of its own weights, dropout and random positions,
on the same batches. A step is a function of tensors on the device alone, the step's number included, so that a GPU can
record it once and replay it (`capture.py`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.capture import capture
from harness.model import Dropout, FrozenModel
from harness.positions import Positions, stacked_terms
from harness.randomness import generator
from harness.sequences import Sequences
from harness.track import TrainingDefinition


@dataclass(frozen=True, slots=True)
class Batches:
    """Sequences on the device, in order; a leading 1 = the same for all seeds."""

    token_ids: Tensor
    """(S|1, N, L + 1) int64."""
    layout: Tensor
    """(S|1, N, L) int64 of `Kind`."""
    prompt_length: int

    @classmethod
    def of(cls, sequences: Sequence[Sequences], device: torch.device) -> "Batches":
        """Of each seed's sequences, or of the one that all share."""
        token_ids = torch.stack([torch.from_numpy(own.token_ids) for own in sequences])
        layout = torch.stack([torch.from_numpy(own.layout) for own in sequences])
        return cls(token_ids.to(device, torch.int64), layout.to(device, torch.int64), sequences[0].prompt_length)

    def __len__(self) -> int:
        return self.token_ids.shape[1]

    @property
    def answer_length(self) -> int:
        """Columns of an answer, its EOS included."""
        return self.token_ids.shape[-1] - self.prompt_length

    def rows(self, start: int, stop: int) -> "Batches":
        return Batches(self.token_ids[:, start:stop], self.layout[:, start:stop], self.prompt_length)

    @classmethod
    def concatenated(cls, parts: Sequence["Batches"]) -> "Batches":
        """The rows of sets of one shape, one after the other; those that all seeds share are repeated for each if
        any part has its own."""
        num_seeds = max(len(part.token_ids) for part in parts)
        token_ids = torch.cat([part.token_ids.expand(num_seeds, -1, -1) for part in parts], dim=1)
        layout = torch.cat([part.layout.expand(num_seeds, -1, -1) for part in parts], dim=1)
        return cls(token_ids, layout, parts[0].prompt_length)

    @property
    def shape(self) -> tuple[int, int]:
        """Columns of a prompt and of an answer; sets of one shape go through one recorded pass."""
        return self.prompt_length, self.answer_length

    def take(self, rows: Tensor) -> "Batches":
        """The given rows, (n,) int64."""
        return Batches(self.token_ids.index_select(1, rows), self.layout.index_select(1, rows), self.prompt_length)


class Drift(NamedTuple):
    """See `records.Drift`."""

    rows: int
    touched_rows: int
    touched: float | None
    untouched: float | None


class Trainer:
    """The state of S trainings: weights, optimiser, random streams, the losses so far."""

    def __init__(
        self,
        model: FrozenModel,
        positions: Sequence[Positions],
        data: Batches,
        settings: TrainingDefinition,
        *,
        dropout: float,
        pad_id: int,
        seeds: Sequence[int],
    ) -> None:
        """
        Args:
            positions: of each seed.
            data: one epoch; every epoch goes through it in the same order.
            dropout: inside the model; the positional embedding brings its own.
            pad_id: targets of this id do not count.
            seeds: of the trials; dropout and random positions draw from streams of their own.
        """
        self.model, self.positions, self.data, self.settings, self.pad_id = model, positions, data, settings, pad_id
        device = data.token_ids.device
        self.batches_per_epoch = len(data) // settings.batch_size
        self.losses = torch.zeros(settings.num_steps, len(seeds), device=device)
        """(num_steps, S), in nats."""
        self._generators = {
            use: [generator(seed, use, device) for seed in seeds]
            for use in ("dropout", "embedding dropout", "positions")
        }
        self._dropout = Dropout(dropout, self._generators["dropout"])
        self._embedding_dropout = Dropout(positions[0].dropout, self._generators["embedding dropout"])
        parameters = [parameter for module in (model, *positions) for parameter in module.parameters()]
        # Whatever its vocabulary, a model's weights start at multiples of 16 bytes, by which CUDA chooses kernels.
        self._parameters = sorted(parameters, key=lambda parameter: parameter.numel() % 4 > 0)
        self._flat = _flatten(self._parameters)
        self._start = self._flat.detach().clone()
        self._rates = torch.tensor([_learning_rate(settings, index) for index in range(settings.num_steps)]).to(device)
        self._average = torch.zeros_like(self._start)
        self._average_shares = torch.tensor(
            [_average_share(settings.averaging, index) for index in range(settings.num_steps)]
        ).to(device)
        self._step_index = torch.zeros(1, dtype=torch.int64, device=device)
        self._optimizer = torch.optim.AdamW(
            [self._flat],
            lr=self._rates[:1].clone(),
            weight_decay=settings.weight_decay,
            fused=True,
            capturable=device.type == "cuda",
        )

    def step(self) -> None:
        """The next optimiser step; the losses stay on the device. Behind the last one the first comes again."""
        rows = torch.arange(self.settings.batch_size, device=self._step_index.device)
        rows = rows + self._step_index % self.batches_per_epoch * self.settings.batch_size
        losses = self._losses(self.data.take(rows))
        gradients = torch.autograd.grad(losses.sum(), self._parameters, materialize_grads=True)
        self._flat.grad = torch.cat([gradient.flatten() for gradient in gradients])
        self._optimizer.param_groups[0]["lr"].copy_(self._rates.index_select(0, self._step_index))
        self._optimizer.step()
        if self.settings.averaging > 0:
            self._average.lerp_(self._flat.detach(), self._average_shares.index_select(0, self._step_index))
        self.losses.index_copy_(0, self._step_index, losses.detach()[None])
        self._step_index.add_(1).remainder_(self.settings.num_steps)

    def run(self, every: int, report: Callable[[int, list[float] | None], None]) -> None:
        """All steps; calls `report(steps done, each seed's mean loss since last)` before the first and after `every`
        so many, while the model has the weights that it is judged by. It keeps those at the end."""
        report(0, None)
        step, done = self.fast_step(), 0
        for index in range(self.settings.num_steps):
            step()
            is_last = index + 1 == self.settings.num_steps
            if (index + 1) % every == 0 or is_last:
                trained = self.weights()
                if self.settings.averaging > 0:
                    self.load(self._average)
                report(index + 1, self.losses[done : index + 1].mean(dim=0).tolist())
                if not is_last:
                    self.load(trained)
                done = index + 1

    def fast_step(self) -> Callable[[], None]:
        """`step`, as one launch where the device can record it."""
        generators = [rng for group in self._generators.values() for rng in group]
        return capture(self.step, self._step_index.device, generators=generators, state=self._state)

    def weights(self) -> Tensor:
        """A copy of all parameters, those of the positions included, (P,) float32."""
        return self._flat.detach().clone()

    def renewed(self, kept: Tensor, which: Sequence[bool]) -> Tensor:
        """`kept`, as `weights` gave it, with the weights that the seeds in `which`, (S,), have now."""
        num_seeds, device = len(self.positions), self._flat.device
        owner = {parameter: index for index, own in enumerate(self.positions) for parameter in own.parameters()}
        owners = [
            torch.full((parameter.numel(),), owner[parameter], device=device)
            if parameter in owner
            else torch.arange(num_seeds, device=device).repeat_interleave(parameter.numel() // num_seeds)
            for parameter in self._parameters
        ]
        return torch.where(torch.tensor(which, device=device)[torch.cat(owners)], self._flat.detach(), kept)

    def load(self, weights: Tensor) -> None:
        """Puts back what `weights` gave."""
        with torch.no_grad():
            self._flat.copy_(weights)

    def drift(self) -> list[Drift | None]:
        """Of each seed: how far the rows of the largest table of its positions have moved since the start, None
        without a table.

        A row is touched if it ever got a gradient: if Adam's second moment is not zero all along it.
        """
        return [self._drift(positions) for positions in self.positions]

    def _drift(self, positions: Positions) -> Drift | None:
        tables = positions.tables()
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

    def _losses(self, batch: Batches) -> Tensor:
        """(S,): each seed's mean cross-entropy, in nats, of the answer's tokens and its EOS."""
        inputs, first = batch.token_ids[..., :-1], batch.prompt_length - 1
        terms = stacked_terms(self.positions, batch.layout, training=True, generators=self._generators["positions"])
        logits = self.model(
            inputs, terms, first=first, dropout=self._dropout, embedding_dropout=self._embedding_dropout
        )
        targets = batch.token_ids[..., batch.prompt_length :].expand(logits.shape[:-1])
        each = F.cross_entropy(
            logits.flatten(0, -2), targets.flatten(), ignore_index=self.pad_id, reduction="none"
        ).view(len(logits), -1)
        return each.sum(dim=1) / (targets != self.pad_id).flatten(1).sum(dim=1)

    def _state(self) -> list[Tensor]:
        """Every tensor that a step changes and the next one reads."""
        return [self._flat.detach(), self._average, self._step_index, *self._optimizer.state[self._flat].values()]


def _learning_rate(settings: TrainingDefinition, index: int) -> float:
    """learning_rate * min(1, (index + 1) / warmup_steps, (num_steps - index) / (cooldown_steps + 1))"""
    rising = (index + 1) / max(1, settings.warmup_steps)
    falling = (settings.num_steps - index) / (settings.cooldown_steps + 1)
    return settings.learning_rate * min(1.0, rising, falling)


def _average_share(decay: float, index: int) -> float:
    """(1 - decay) / (1 - decay^(index + 1)): what the weights after that step count for in the average so far.

    average_t = average_{t-1} + share_t (w_t - average_{t-1}) is the exponential moving average of w_1 ... w_t without
    its bias towards where it starts (Kingma and Ba 2015, section 7.2).
    """
    return (1 - decay) / (1 - decay ** (index + 1))


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
