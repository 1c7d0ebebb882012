"""The yardstick does the work that it is measured at: it is the same model, and it learns."""

import torch
from made_trainings import TINY, sinusoids
from torch import Tensor

from harness.commands.plain_loop import Characters, PlainLoop, PlainModel
from harness.model import NO_DROPOUT, FrozenModel
from harness.protocol import Terms

PAIRS = {
    "self_attn.in_proj_": "qkv_",
    "self_attn.out_proj.": "attention_",
    "linear1.": "inner_",
    "linear2.": "outer_",
    "norm1.": "attention_norm.",
    "norm2.": "feedforward_norm.",
}


def with_weights_of(model: FrozenModel, length: int) -> PlainModel:
    plain = PlainModel(TINY, 14, length)
    with torch.no_grad():
        plain.embedding.weight.copy_(model.token_embedding)
        plain.head.weight.copy_(model.output_weight)
        plain.head.bias.copy_(model.output_bias)
        for kind in ("weight", "bias"):
            plain.encoder.get_parameter(f"norm.{kind}").copy_(model.norm.get_parameter(kind))
            for theirs, ours in zip(plain.encoder.layers, model.layers, strict=True):
                for name, own in PAIRS.items():
                    theirs.get_parameter(name + kind).copy_(ours.get_parameter(own + kind))
    return plain.eval()


def test_it_is_the_frozen_model_under_a_sinusoidal_table() -> None:
    token_ids = torch.randint(14, (3, 12), generator=torch.Generator().manual_seed(0))
    model = FrozenModel(TINY, 14, seed=4)
    embedding = sinusoids(12, TINY.d_model).embedding
    assert isinstance(embedding, Tensor)
    terms = Terms(embedding=embedding)
    expected = model(token_ids, terms, first=0, dropout=NO_DROPOUT, embedding_dropout=NO_DROPOUT)
    torch.testing.assert_close(with_weights_of(model, 12)(token_ids), expected, rtol=0, atol=1e-5)


def test_it_learns_sums_of_one_digit_and_says_them_as_text() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        loop = PlainLoop(PlainModel(TINY, 14, 12), Characters(1), learning_rate=3e-3)
        pairs = [(a, b) for a in range(5) for b in range(5)]
        prompts, sums = [f"{a}+{b}=" for a, b in pairs], [str(a + b) for a, b in pairs]
        for _ in range(400):
            loop.train_step(prompts, sums)
    assert sum(map(str.__eq__, loop.answer(prompts, num_tokens=2), sums)) >= 23
