"""Training: one loop over batches that lie on the device; nothing in a step waits for the host.

A step is a function of tensors on the device alone, the step's number included, so that a GPU can record it once and
replay it (`capture.py`). The seeds of a submission train side by side: one recording holds a step of each, and a GPU
runs them at the same time.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.capture import capture, side_by_side
from harness.examples import Examples
from harness.model import Dropout, FrozenModel
from harness.positions import Positions
from harness.randomness import generator
from harness.records import Drift
from harness.track import TrainingDefinition


class Trainer:
    """The state of one training run: weights, optimiser, random streams, the losses so far."""

    def __init__(
        self,
        model: FrozenModel,
        positions: Positions,
        data: Examples,
        settings: TrainingDefinition,
        *,
        dropout: float,
        pad_id: int,
        seed: int,
    ) -> None:
        """Prepares weights, optimiser and random streams for the first step.

        Args:
            data: one epoch; every epoch goes through it in the same order.
            dropout: inside the model; the positional embedding brings its own.
            pad_id: targets of this id do not count.
            seed: the trial's seed; dropout and random positions draw from streams of their own.
        """
        self.model, self.positions, self.data, self.settings, self.pad_id = model, positions, data, settings, pad_id
        device = data.token_ids.device
        self.batches_per_epoch = len(data) // settings.batch_size
        self.losses = torch.zeros(settings.num_steps, device=device)
        """(num_steps,), in nats."""
        self.generators = [generator(seed, use, device) for use in ("dropout", "embedding dropout", "positions")]
        dropout_rng, embedding_rng, self._positions_rng = self.generators
        self._dropout = Dropout(dropout, dropout_rng)
        self._embedding_dropout = Dropout(positions.dropout, embedding_rng)
        parameters = [*model.parameters(), *positions.parameters()]
        # Whatever the vocabulary, the model's weights start at multiples of 16 bytes: CUDA chooses kernels by that.
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
        # AdamW makes this state in its first step; that one may be undone, so the state must exist from the start.
        self._optimizer.state[self._flat] = {
            "step": torch.zeros((), device=device),
            "exp_avg": torch.zeros_like(self._start),
            "exp_avg_sq": torch.zeros_like(self._start),
        }

    def step(self) -> None:
        """Takes the next optimiser step; its loss stays on the device. After the last step the first comes again."""
        rows = torch.arange(self.settings.batch_size, device=self._step_index.device)
        rows = rows + self._step_index % self.batches_per_epoch * self.settings.batch_size
        loss = self._loss(self.data.take(rows))
        gradients = torch.autograd.grad(loss, self._parameters, materialize_grads=True)
        self._flat.grad = torch.cat([gradient.flatten() for gradient in gradients])
        self._optimizer.param_groups[0]["lr"].copy_(self._rates.index_select(0, self._step_index))
        self._optimizer.step()
        if self.settings.averaging > 0:
            self._average.lerp_(self._flat.detach(), self._average_shares.index_select(0, self._step_index))
        self.losses.index_copy_(0, self._step_index, loss.detach()[None])
        self._step_index.add_(1).remainder_(self.settings.num_steps)

    def state(self) -> list[Tensor]:
        """Every tensor that a step changes and the next one reads."""
        return [self._flat.detach(), self._average, self._step_index, *self._optimizer.state[self._flat].values()]

    def judged(self) -> Tensor:
        """The weights by which the model is judged, (P,) float32: their average so far if the settings ask for it.

        This is not a copy.
        """
        return self._average if self.settings.averaging > 0 else self._flat.detach()

    def weights(self) -> Tensor:
        """A copy of all parameters, those of the positions included, (P,) float32."""
        return self._flat.detach().clone()

    def load(self, weights: Tensor) -> None:
        """Replaces all parameters by what `weights` or `judged` returned."""
        with torch.no_grad():
            self._flat.copy_(weights)

    def drift(self) -> Drift | None:
        """How far the rows of the positions' largest table are from their initial values, None without a table.

        After `train` has ended these are the weights that the model is judged by. A row is touched if it ever got a
        gradient: if Adam's second moment is nonzero anywhere in it.
        """
        tables = self.positions.tables()
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

        return Drift(
            rows=len(table),
            touched_rows=int(is_touched.sum()),
            touched=root_mean(is_touched),
            untouched=root_mean(~is_touched),
        )

    def _loss(self, batch: Examples) -> Tensor:
        """(): the mean cross-entropy, in nats, of the answer's tokens and its EOS."""
        inputs, first = batch.token_ids[:, :-1], batch.prompt_length - 1
        terms = self.positions.terms(batch.layout, training=True, generator=self._positions_rng)
        logits = self.model(
            inputs, terms, first=first, dropout=self._dropout, embedding_dropout=self._embedding_dropout
        )
        targets = batch.token_ids[:, batch.prompt_length :]
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=self.pad_id)


def train(trainers: Sequence[Trainer], every: int, report: Callable[[int, list[float] | None], None]) -> None:
    """Trains all trainers to the end, side by side; they must have the same number of steps.

    Calls `report(steps done, each trainer's mean loss since the last call)` before the first step, after every `every`
    steps and at the end. During each call the models hold the weights that they are judged by, and after the last
    call they keep them.
    """
    report(0, None)
    step, done, num_steps = fast_step(trainers), 0, trainers[0].settings.num_steps
    for index in range(num_steps):
        step()
        is_last = index + 1 == num_steps
        if (index + 1) % every == 0 or is_last:
            trained = [trainer.weights() for trainer in trainers]
            for trainer in trainers:
                trainer.load(trainer.judged())
            report(index + 1, [float(trainer.losses[done : index + 1].mean()) for trainer in trainers])
            if not is_last:
                for trainer, weights in zip(trainers, trained, strict=True):
                    trainer.load(weights)
            done = index + 1


def fast_step(trainers: Sequence[Trainer]) -> Callable[[], None]:
    """One step of each trainer, as a single launch where the device can record it."""
    device = trainers[0].data.token_ids.device
    return capture(
        side_by_side([trainer.step for trainer in trainers], device),
        device,
        generators=[rng for trainer in trainers for rng in trainer.generators],
        state=[tensor for trainer in trainers for tensor in trainer.state()],
    )


def _learning_rate(settings: TrainingDefinition, index: int) -> float:
    """learning_rate * min(1, (index + 1) / warmup_steps, (num_steps - index) / (cooldown_steps + 1))"""
    rising = (index + 1) / max(1, settings.warmup_steps)
    falling = (settings.num_steps - index) / (settings.cooldown_steps + 1)
    return settings.learning_rate * min(1.0, rising, falling)


def _average_share(decay: float, index: int) -> float:
    """(1 - decay) / (1 - decay^(index + 1)): the share of the weights after that step in the average so far.

    average_t = average_{t-1} + share_t (w_t - average_{t-1}) is the exponential moving average of w_1 ... w_t without
    its bias towards where it starts (Kingma and Ba 2015, section 7.2).
    """
    return (1 - decay) / (1 - decay ** (index + 1))


def _flatten(parameters: list[nn.Parameter]) -> nn.Parameter:
    """One parameter that holds all the given ones, which become views of its parts.

    AdamW works element by element, so one buffer takes one kernel where a hundred tensors take a hundred, and the
    numbers are the same.
    """
    with torch.no_grad():
        flat = torch.cat([parameter.flatten() for parameter in parameters])
        start = 0
        for parameter in parameters:
            parameter.data = flat[start : start + parameter.numel()].view(parameter.shape)
            start += parameter.numel()
    return nn.Parameter(flat)
