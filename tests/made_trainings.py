"""Small models, positions and additions for the tests of the torch side, made without hosts."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from harness.examples import Examples
from harness.model import FrozenModel
from harness.positions import Positions, Program
from harness.protocol import Kind, Terms
from harness.track import ModelDefinition, TrainingDefinition
from harness.training import Trainer

TINY = ModelDefinition(d_model=32, num_heads=4, num_layers=2, feedforward=48)
VOCAB_SIZE, PAD_ID, EOS_ID = 14, 12, 13
"""Of a character tokenizer: ten digits, `+` 10, `=` 11, PAD, EOS."""


def additions(pairs: Iterable[tuple[int, int]], *, width: int = 1) -> Examples:
    """`7+5=` with answer `12` -> 7 10 5 11 1 2 EOS; prompts on `width` digits an operand, answers on one more."""
    rows: list[list[int]] = []
    layouts: list[list[int]] = []
    prompt_length, answer_length = 2 * width + 2, width + 2
    for a, b in pairs:
        prompt = [*map(int, str(a)), 10, *map(int, str(b)), 11]
        answer = [*map(int, str(a + b)), EOS_ID]
        left, right = prompt_length - len(prompt), answer_length - len(answer)
        rows.append([PAD_ID] * left + prompt + answer + [PAD_ID] * right)
        kinds = [{10: Kind.PLUS, 11: Kind.EQUALS}.get(token_id, Kind.NUMBER) for token_id in prompt]
        layouts.append([Kind.PAD] * left + kinds + [Kind.ANSWER] * (answer_length - 1))
    return Examples(torch.tensor(rows), torch.tensor(layouts), prompt_length)


def random_pairs(count: int, *, width: int = 1, seed: int = 0) -> list[tuple[int, int]]:
    rng = torch.Generator().manual_seed(seed)
    drawn = torch.randint(10**width, (count, 2), generator=rng).tolist()
    return [(a, b) for a, b in drawn]


def random_terms(
    definition: ModelDefinition, length: int, *, batch: int = 1, heads: int | None = None, seed: int = 0
) -> Terms:
    """All four terms at once, of about the size that matters."""
    rng = torch.Generator().manual_seed(length + 1000 * seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    return Terms(
        embedding=draw(batch, length, definition.d_model),
        embedding_angles=draw(batch, length, definition.d_model // 2),
        angles=draw(batch, length, definition.head_dim // 2),
        bias=draw(batch, heads or definition.num_heads, length, length),
    )


def fixed_positions(terms: Terms, programs: Iterable[Program], *, trainable: bool = False) -> Positions:
    """Positions that give `terms`, whatever the layout; `trainable`: and train them."""
    tensors = {name: tensor for name in Terms.__slots__ if (tensor := getattr(terms, name)) is not None}

    def look_up(_layout: Tensor, _generator: torch.Generator, *state: Tensor) -> tuple[Tensor, ...]:
        return state

    programs = list(programs)
    return Positions(
        {name: tensor.clone() for name, tensor in tensors.items()},
        trainable=set(tensors) if trainable else set(),
        graphs=dict.fromkeys(programs, look_up),
        names=dict.fromkeys(programs, tuple(tensors)),
        dropout=0.0,
        tables=set(),
    )


def sinusoids(length: int, d_model: int) -> Terms:
    angles = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, d_model, 2) / d_model)
    return Terms(embedding=torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[None])


def made_trainer(
    data: Examples,
    *,
    definition: ModelDefinition = TINY,
    terms: Terms | None = None,
    trainable: bool = False,
    dropout: float = 0.0,
    vocab_size: int = VOCAB_SIZE,
    seed: int = 0,
    steps: int = 50,
    **settings: float,
) -> Trainer:
    """A trainer on `data`, 64 rows a step; sinusoidal positions unless `terms` are given."""
    length = data.layout.shape[-1]
    terms = sinusoids(length, definition.d_model) if terms is None else terms
    programs = [Program(True, 64, length), Program(False, 256, length)]
    steps_an_epoch = len(data) // 64
    device = data.token_ids.device
    return Trainer(
        FrozenModel(definition, vocab_size, seed).to(device),
        fixed_positions(terms, programs, trainable=trainable).to(device),
        data,
        TrainingDefinition.model_validate(
            {"problems": 64 * steps_an_epoch, "epochs": math.ceil(steps / steps_an_epoch), **settings}
        ),
        dropout=dropout,
        pad_id=PAD_ID,
        seed=seed,
    )


def on(device: str, data: Examples) -> Examples:
    return Examples(data.token_ids.to(device), data.layout.to(device), data.prompt_length)


def drawing_trainer(*, seed: int = 0, device: str = "cpu", **settings: float) -> Trainer:
    """Twelve steps with dropout everywhere, positions that draw and averaged weights: all that a step can have."""
    data = on(device, additions(random_pairs(256, width=2), width=2))
    trainer = made_trainer(data, dropout=0.1, seed=seed, steps=12, averaging=0.9, **settings)
    trainer._embedding_dropout.p = 0.1

    def draw(layout: Tensor, generator: torch.Generator, *_: Tensor) -> tuple[Tensor]:
        return (torch.rand(1, layout.shape[1], TINY.d_model, generator=generator, device=layout.device),)

    for program in trainer.positions._graphs:
        trainer.positions._graphs[program] = draw  # type: ignore[index]
    return trainer
