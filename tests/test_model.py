"""The frozen model against torch's own encoder, and against attention written out in loops."""

import hashlib
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from made_trainings import TINY, VOCAB_SIZE, random_terms
from scipy.stats import ks_2samp
from torch import Tensor, nn

from harness.model import NO_DROPOUT, SOFTMAX_WIDTH, Dropout, FrozenModel, rotate
from harness.protocol import Terms
from harness.track import ModelDefinition

FROZEN = ModelDefinition()
PAIRS = {
    "self_attn.in_proj_weight": "qkv_weight",
    "self_attn.in_proj_bias": "qkv_bias",
    "self_attn.out_proj.weight": "attention_weight",
    "self_attn.out_proj.bias": "attention_bias",
    "linear1.weight": "inner_weight",
    "linear1.bias": "inner_bias",
    "linear2.weight": "outer_weight",
    "linear2.bias": "outer_bias",
    "norm1.weight": "attention_norm.weight",
    "norm1.bias": "attention_norm.bias",
    "norm2.weight": "feedforward_norm.weight",
    "norm2.bias": "feedforward_norm.bias",
}
"""Names in torch's encoder layer, and in ours."""

INITIAL_WEIGHTS = "43a6763ad4d32b51"
"""Renew: `cd tests && python -c "import test_model; print(test_model.weights_fingerprint())"`"""


def plain(model: FrozenModel, token_ids: Tensor, terms: Terms | None = None, first: int = 0) -> Tensor:
    return model(token_ids, terms or Terms(), first=first, dropout=NO_DROPOUT, embedding_dropout=NO_DROPOUT)


def tokens(batch: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(VOCAB_SIZE, (batch, length), generator=torch.Generator().manual_seed(seed))


def torch_encoder(model: FrozenModel) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(128, 16, 64, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 8, norm=nn.LayerNorm(128), enable_nested_tensor=False)
    with torch.no_grad():
        for theirs, ours in zip(encoder.layers, model.layers, strict=True):
            for name, own in PAIRS.items():
                theirs.get_parameter(name).copy_(ours.get_parameter(own))
        for name in ("weight", "bias"):
            encoder.norm.get_parameter(name).copy_(model.norm.get_parameter(name))
    return encoder


def torch_logits(encoder: nn.TransformerEncoder, model: FrozenModel, token_ids: Tensor) -> Tensor:
    mask = nn.Transformer.generate_square_subsequent_mask(token_ids.shape[1])
    x = encoder(F.embedding(token_ids, model.token_embedding) * math.sqrt(128), mask=mask)
    return F.linear(x, model.output_weight, model.output_bias)


def perturbed(model: FrozenModel) -> FrozenModel:
    """No weight is 0 or 1 any more, so that one left out is seen."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=rng)
    return model


@pytest.mark.parametrize("length", [1, 2, 9, SOFTMAX_WIDTH, SOFTMAX_WIDTH + 1, 33])
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_logits_are_those_of_torchs_encoder(length: int, share: float) -> None:
    model = perturbed(FrozenModel(FROZEN, VOCAB_SIZE, seed=0))
    token_ids, first = tokens(3, length), int(share * length)
    expected = torch_logits(torch_encoder(model), model, token_ids)[:, first:]
    torch.testing.assert_close(plain(model, token_ids, first=first), expected, rtol=0, atol=1e-5)


def gradient_of(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


@pytest.mark.parametrize("length", [9, 20])
def test_gradients_are_those_of_torchs_encoder(length: int) -> None:
    model = perturbed(FrozenModel(FROZEN, VOCAB_SIZE, seed=0))
    encoder, token_ids, first = torch_encoder(model), tokens(4, length), length // 2
    targets = tokens(4, length, seed=1)[:, first:].flatten()
    F.cross_entropy(torch_logits(encoder, model, token_ids)[:, first:].flatten(0, 1), targets).backward()
    shared = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert sorted(shared) == ["output_bias", "output_weight", "token_embedding"]
    model.zero_grad()
    F.cross_entropy(plain(model, token_ids, first=first).flatten(0, 1), targets).backward()
    for name, expected in shared.items():
        torch.testing.assert_close(model.get_parameter(name).grad, expected, rtol=1e-4, atol=1e-6)
    for theirs, ours in zip(encoder.layers, model.layers, strict=True):
        for name, own in PAIRS.items():
            expected = theirs.get_parameter(name).grad
            torch.testing.assert_close(gradient_of(ours.get_parameter(own)), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradient_of(model.norm.weight), encoder.norm.get_parameter("weight").grad)


def test_it_has_668942_parameters_at_a_vocabulary_of_14() -> None:
    model = FrozenModel(FROZEN, 14, seed=0)
    assert sum(parameter.numel() for parameter in model.parameters()) == 668_942


@pytest.mark.parametrize("name", PAIRS)
def test_weights_start_as_those_of_nn_transformer(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        theirs = [
            layer.get_parameter(name).detach().flatten()
            for _ in range(8)  # one encoder's layers are copies of each other, biases included
            for layer in nn.Transformer(128, 16, 1, 1, 64, batch_first=True).encoder.layers
        ]
    ours = [layer.get_parameter(PAIRS[name]).detach().flatten() for layer in FrozenModel(FROZEN, 14, seed=3).layers]
    expected, got = torch.cat(theirs), torch.cat(ours)
    if expected.unique().numel() == 1:
        assert torch.equal(got, expected)
    else:
        assert float(got.abs().max()) == pytest.approx(float(expected.abs().max()), rel=0.01)
        assert float(got.var()) == pytest.approx(float(expected.var()), rel=0.1)
        assert ks_2samp(got.numpy(), expected.numpy()).pvalue > 1e-3


def test_embedding_and_output_head_start_as_in_the_notebook() -> None:
    model = FrozenModel(FROZEN, 2048, seed=3)
    for name in ("token_embedding", "output_weight"):
        weights = model.get_parameter(name).detach()
        assert 0.0999 < float(weights.abs().max()) <= 0.1
        assert float(weights.var()) == pytest.approx(0.2**2 / 12, rel=0.01)
        assert abs(float(weights.mean())) < 1e-3
    assert not model.token_embedding.equal(model.output_weight)
    assert not model.output_bias.any()


def test_the_layers_start_alike_whatever_the_vocabulary_and_differ_by_seed() -> None:
    few, many, other = (FrozenModel(FROZEN, size, seed=seed) for size, seed in ((14, 0), (69, 0), (14, 1)))
    for weight, same, different in zip(*(model.layers.parameters() for model in (few, many, other)), strict=True):
        assert torch.equal(weight, same)
        assert weight.unique().numel() == 1 or not torch.equal(weight, different)
    assert torch.equal(few.token_embedding, many.token_embedding[:14])


def weights_fingerprint() -> str:
    """Of the first 64 numbers of every tensor, to 3 decimals: a last bit may differ from machine to machine."""
    digest = hashlib.sha256()
    for name, parameter in FrozenModel(FROZEN, VOCAB_SIZE, seed=0).named_parameters():
        thousandths = parameter.detach().flatten()[:64].mul(1000).round().to(torch.int16)
        digest.update(f"{name} {tuple(parameter.shape)}".encode() + thousandths.numpy().tobytes())
    return digest.hexdigest()[:16]


def test_the_initial_weights_are_the_pinned_ones() -> None:
    assert weights_fingerprint() == INITIAL_WEIGHTS


def slow_logits(model: FrozenModel, token_ids: Tensor, terms: Terms, dropout: Callable[[Tensor], Tensor]) -> Tensor:
    """The definition of design and contract, number by number, in float64."""
    definition, (batch, length) = model.definition, token_ids.shape
    width = definition.head_dim
    weights = {name: parameter.detach().double() for name, parameter in model.named_parameters()}

    def of(term: Tensor, row: int) -> Tensor:
        return term[row if len(term) > 1 else 0].double()

    def turned(vector: Tensor, angles: Tensor) -> Tensor:
        half, result = len(vector) // 2, vector.clone()
        for i in range(half):
            result[i] = vector[i] * math.cos(angles[i]) - vector[i + half] * math.sin(angles[i])
            result[i + half] = vector[i + half] * math.cos(angles[i]) + vector[i] * math.sin(angles[i])
        return result

    def normal(vectors: Tensor, name: str) -> Tensor:
        centred = vectors - vectors.mean(-1, keepdim=True)
        scale = (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return centred / scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = torch.zeros(batch, length, definition.d_model, dtype=torch.float64)
    for row in range(batch):
        for position in range(length):
            vector = weights["token_embedding"][token_ids[row, position]] * math.sqrt(definition.d_model)
            if terms.embedding_angles is not None:
                vector = turned(vector, of(terms.embedding_angles, row)[position])
            if terms.embedding is not None:
                vector = vector + of(terms.embedding, row)[position]
            x[row, position] = vector
    x = dropout(x)
    for layer in range(definition.num_layers):
        own = {name: weights[f"layers.{layer}.{ours}"] for name, ours in PAIRS.items() if "norm" not in name}
        packed = x @ own["self_attn.in_proj_weight"].T + own["self_attn.in_proj_bias"]
        attention = torch.zeros(batch, definition.num_heads, length, length, dtype=torch.float64)
        values = torch.zeros(batch, definition.num_heads, length, width, dtype=torch.float64)
        for row in range(batch):
            for head in range(definition.num_heads):
                q, k, v = (
                    packed[row, :, part * definition.d_model + head * width :][:, :width].clone() for part in range(3)
                )
                if terms.angles is not None:
                    for position, angles in enumerate(of(terms.angles, row)):
                        q[position], k[position] = turned(q[position], angles), turned(k[position], angles)
                for i in range(length):
                    scores = torch.stack([q[i] @ k[j] / math.sqrt(width) for j in range(i + 1)])
                    if terms.bias is not None:
                        bias = of(terms.bias, row)
                        scores += bias[head if len(bias) > 1 else 0, i, : i + 1]
                    attention[row, head, i, : i + 1] = scores.exp() / scores.exp().sum()
                values[row, head] = v
        attended = (dropout(attention) @ values).transpose(1, 2).flatten(2)
        projected = attended @ own["self_attn.out_proj.weight"].T + own["self_attn.out_proj.bias"]
        x = normal(x + dropout(projected), f"layers.{layer}.attention_norm")
        inner = dropout((x @ own["linear1.weight"].T + own["linear1.bias"]).clamp(min=0))
        x = normal(
            x + dropout(inner @ own["linear2.weight"].T + own["linear2.bias"]), f"layers.{layer}.feedforward_norm"
        )
    return normal(x, "norm") @ weights["output_weight"].T + weights["output_bias"]


TERMS = ("embedding", "embedding_angles", "angles", "bias")


@pytest.mark.parametrize("used", [(), *((name,) for name in TERMS), TERMS], ids=lambda used: "+".join(used) or "none")
@pytest.mark.parametrize(("rows", "heads", "length"), [(1, 1, 5), (2, 4, 5), (1, 4, SOFTMAX_WIDTH + 2)])
def test_every_term_acts_where_the_contract_says(used: tuple[str, ...], rows: int, heads: int, length: int) -> None:
    model = perturbed(FrozenModel(TINY, VOCAB_SIZE, seed=0))
    drawn = random_terms(TINY, length, batch=rows, heads=heads)
    terms, token_ids = Terms(**{name: getattr(drawn, name) for name in used}), tokens(2, length)
    expected = slow_logits(model, token_ids, terms, lambda x: x)
    torch.testing.assert_close(plain(model, token_ids, terms).double(), expected, rtol=0, atol=1e-5)
    cut = plain(model, token_ids, terms, first=3).double()
    torch.testing.assert_close(cut, expected[:, 3:], rtol=0, atol=1e-5)


def test_angles_turn_the_two_halves_of_a_vector_together() -> None:
    right_angle = torch.full((1, 2), math.pi / 2)
    turned = rotate(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), right_angle)
    torch.testing.assert_close(turned, torch.tensor([[-3.0, -4.0, 1.0, 2.0]]))


@pytest.mark.parametrize("length", [9, SOFTMAX_WIDTH + 4])
@pytest.mark.parametrize(("past", "size"), [(0.0, 1e4), (0.0, math.inf), (-1e4, 0.0), (-1e4, 1e4)])
def test_no_bias_lifts_the_causal_mask(length: int, past: float, size: float) -> None:
    model = FrozenModel(TINY, VOCAB_SIZE, seed=0)
    future = torch.ones(length, length).triu(1).bool()
    bias = torch.full((1, 1, length, length), past).masked_fill(future, size)
    token_ids = tokens(2, length)
    before = plain(model, token_ids, Terms(bias=bias))
    torch.testing.assert_close(before, plain(model, token_ids), rtol=0, atol=0.0 if past == 0 else 0.01)
    for position in range(1, length):
        changed = token_ids.clone()
        changed[:, position] = (changed[:, position] + 1) % VOCAB_SIZE
        after = plain(model, changed, Terms(bias=bias))
        assert torch.equal(after[:, :position], before[:, :position])
        assert not torch.equal(after[:, position:], before[:, position:])


class Masks:
    """Stands for dropout: multiplies by masks of its own, and notes the shapes it was called with.

    `width`: of the keys to which attention's weights are widened; what is added is not drawn for.
    """

    def __init__(self, seed: int, width: int | None = None) -> None:
        self.rng = torch.Generator().manual_seed(seed)
        self.width = width
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.shapes.append(tuple(x.shape))
        in_attention = self.width is not None and x.shape[-1] == self.width
        length = x.shape[-2] if in_attention else x.shape[-1]
        mask = torch.randint(2, (*x.shape[:-1], length), generator=self.rng) * 2
        return x * F.pad(mask, (0, x.shape[-1] - length))


def test_dropout_acts_on_the_embedding_and_at_torchs_four_places_of_a_layer_in_their_order() -> None:
    model = perturbed(FrozenModel(TINY, VOCAB_SIZE, seed=0))
    token_ids, masks, same_masks = tokens(2, 5), Masks(0, SOFTMAX_WIDTH), Masks(0)
    got = model(token_ids, Terms(), first=0, dropout=masks, embedding_dropout=masks)
    wide, layer = (2, 5, 32), [(2 * 4, 5, SOFTMAX_WIDTH), (2, 5, 32), (2, 5, 48), (2, 5, 32)]
    assert masks.shapes == [wide, *layer, *layer]
    torch.testing.assert_close(got.double(), slow_logits(model, token_ids, Terms(), same_masks), rtol=0, atol=1e-5)


def test_dropout_is_torchs_dropout_at_the_same_rate() -> None:
    """Torch's own layer in training, many times over: the same mean and variance of the logits."""
    model = FrozenModel(FROZEN, VOCAB_SIZE, seed=0)
    token_ids = tokens(1, 4).expand(4096, 4)
    encoder = torch_encoder(model)
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.1
        elif isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.1
    dropout = Dropout(0.1, torch.Generator().manual_seed(0))
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        theirs = torch_logits(encoder, model, token_ids)
        ours = model(token_ids, Terms(), first=0, dropout=dropout, embedding_dropout=NO_DROPOUT)
    error = theirs.std(0) / math.sqrt(4096)
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 6 * error).all()
    torch.testing.assert_close(ours.std(0), theirs.std(0), rtol=0.1, atol=0)


def test_dropout_sets_a_share_of_p_to_zero_and_keeps_the_mean() -> None:
    count, p = 2_000_000, 6554 / 65536  # 0.1 to the nearest 65536th
    dropped = Dropout(0.1, torch.Generator().manual_seed(0))(torch.ones(count))
    assert float((dropped == 0).double().mean()) == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / count))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - p)])
    neighbours = torch.corrcoef(dropped.view(-1, 4).T)  # four are cut from one random word
    assert float((neighbours - torch.eye(4)).abs().max()) < 5 / math.sqrt(count / 4)


def test_dropout_draws_anew_at_every_call_and_the_same_from_the_same_seed() -> None:
    x = torch.ones(1001)
    one, other = (Dropout(0.5, torch.Generator().manual_seed(7)) for _ in range(2))
    first, second = one(x), one(x)
    assert not torch.equal(first, second)
    assert torch.equal(first, other(x))
    assert torch.equal(second, other(x))
    assert abs(float(torch.corrcoef(torch.stack((first, second)))[0, 1])) < 0.15


def test_dropout_of_zero_is_the_identity_and_of_almost_one_still_finite() -> None:
    x = torch.randn(10, generator=torch.Generator().manual_seed(0))
    assert NO_DROPOUT(x) is x
    almost = Dropout(1 - 1e-9, torch.Generator().manual_seed(0))(torch.ones(1000))
    assert almost.isfinite().all()


def test_dropout_passes_gradients_where_it_passes_values() -> None:
    x = torch.ones(1000, requires_grad=True)
    dropped = Dropout(0.5, torch.Generator().manual_seed(0))(x)
    (gradient,) = torch.autograd.grad(dropped.sum(), x)
    assert torch.equal(dropped, gradient)
