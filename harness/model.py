"""The frozen model: a causal transformer that learns to add, equivalent to `torch.nn.TransformerEncoder`.

Shapes: B batch, L positions, D d_model, H heads, K head_dim, F feed-forward width, V vocabulary.

Post-norm, ReLU, biases everywhere, one more LayerNorm after the last layer, dropout at torch's four places in a layer.
Written out rather than built from torch's modules for three reasons: the terms of a positional embedding act inside
attention; head width 8 is far below what fused attention kernels are made for, so plain batched products are faster on
a CPU and on a GPU (LOG.md); and only answer positions need the last layer's queries, its feed-forward and logits.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.protocol import ModelShape, Terms
from harness.randomness import generator
from harness.track import ModelDefinition

EMBEDDING_BOUND = 0.1
"""Token embedding and output head start uniform in (-0.1, 0.1), as in the notebook."""


SOFTMAX_WIDTH = 16
"""Attention over fewer keys is widened to this many: torch's CPU softmax is scalar below one AVX-512 vector, and on 9
keys 7 times slower than on 16 of which 7 are masked (LOG.md)."""


class KeyValue(NamedTuple):
    """Keys and values of one layer, (B * H, W, K) each, already rotated for attention; zeros after the last known one.

    Both are views of one tensor, which `extend` writes to in inference mode.
    """

    keys: Tensor
    values: Tensor


@dataclass(slots=True)
class Dropout:
    """Inverted dropout with probability p, drawn from `generator`; with p = 0 nothing happens.

    Masks are cut from 64-bit random words, 16 bits an element, which on a CPU costs a ninth of `bernoulli_`; p is
    thereby rounded to a multiple of 2**-16 (0.1 becomes 0.100006), and the scale fits the p that is really drawn.
    """

    p: float
    generator: torch.Generator | None

    def __call__(self, x: Tensor) -> Tensor:
        threshold = min(round(self.p * 65536), 65535)
        if threshold == 0:
            return x
        words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
        words.random_(-(2**63), None, generator=self.generator)
        sixteen_bits = words.view(torch.int16)[: x.numel()].view(x.shape)
        # This is sixteen_bits >= lowest as 0 or 1; comparing and converting to float takes twice as long on a CPU.
        lowest = threshold - 32768
        kept = sixteen_bits.clamp_(lowest - 1, lowest).sub_(lowest - 1).to(x.dtype)
        return x * kept.mul_(65536 / (65536 - threshold))


NO_DROPOUT = Dropout(0.0, None)


class FrozenModel(nn.Module):
    """The model of the module's docstring; `forward` trains and scores, `prefill` and `extend` decode with a cache."""

    def __init__(self, definition: ModelDefinition, vocab_size: int, seed: int) -> None:
        """Initialises weights as torch's own `nn.Transformer` does, on the CPU, so that they are the same everywhere.

        | tensor | initial values |
        |---|---|
        | token embedding (V, D), output weight (V, D) | uniform(-0.1, 0.1) |
        | every matrix of a layer, the packed (3D, D) one for q, k, v included | Xavier uniform |
        | feed-forward biases | uniform(-b, b), b = 1 / sqrt(width of their input) |
        | attention biases, output bias | 0 |
        | LayerNorm weight, bias | 1, 0 |

        The layers draw from a generator of their own: their weights do not depend on the vocabulary.
        """
        super().__init__()
        self.definition = definition
        width = definition.d_model
        self.token_embedding = nn.Parameter(torch.empty(vocab_size, width))
        self.output_weight = nn.Parameter(torch.empty(vocab_size, width))
        self.output_bias = nn.Parameter(torch.zeros(vocab_size))
        self.layers = nn.ModuleList(Layer(definition) for _ in range(definition.num_layers))
        self.norm = nn.LayerNorm(width)
        with torch.no_grad():
            for name in ("token_embedding", "output_weight"):
                getattr(self, name).uniform_(-EMBEDDING_BOUND, EMBEDDING_BOUND, generator=generator(seed, name))
            rng = generator(seed, "layers")
            for layer in self.layers:
                assert isinstance(layer, Layer)
                layer.initialise(rng)

    def forward(
        self, token_ids: Tensor, terms: Terms, *, first: int, dropout: Dropout, embedding_dropout: Dropout
    ) -> Tensor:
        """Logits at the positions from `first` on: (B, L - first, V).

        Args:
            token_ids: (B, L) int64.
            terms: for those L positions.
            first: the first position that predicts an answer token.
        """
        x = embedding_dropout(self._embed(token_ids, terms, slice(None)))
        bias = self._causal_bias(terms, x, 0, x.shape[1])
        for index, layer in enumerate(self.layers):
            queries_from = first if index == len(self.layers) - 1 else 0
            x, _ = layer(x, terms.angles, bias, queries_from=queries_from, dropout=dropout)
        return self._logits(x)

    def prefill(self, token_ids: Tensor, terms: Terms, max_length: int) -> tuple[Tensor, list[KeyValue]]:
        """Logits (B, V) after the prompt, and the cache of its keys and values, with room for `max_length` positions.

        Args:
            token_ids: (B, P) int64, the prompts.
            terms: for the whole sequence, of which the first P positions are used.
        """
        length = token_ids.shape[-1]
        x = self._embed(token_ids, terms, slice(0, length))
        bias = self._causal_bias(terms, x, 0, max_length)
        angles = None if terms.angles is None else terms.angles[..., :length, :]
        cache: list[KeyValue] = []
        for layer in self.layers:
            x, stored = layer(x, angles, bias, queries_from=0, dropout=NO_DROPOUT)
            cache.append(stored)
        return self._logits(x[:, -1:]).squeeze(1), cache

    def extend(self, token_ids: Tensor, terms: Terms, position: int, cache: list[KeyValue]) -> Tensor:
        """Logits (B, V) after one more token; writes its keys and values into the cache.

        Args:
            token_ids: (B,) int64, at `position`.
            terms: for the whole sequence.
            cache: as returned by `prefill`.
        """
        here = slice(position, position + 1)
        x = self._embed(token_ids[..., None], terms, here)
        angles = None if terms.angles is None else terms.angles[..., here, :]
        bias = self._causal_bias(terms, x, position, cache[0].keys.shape[1])
        for layer, stored in zip(self.layers, cache, strict=True):
            assert isinstance(layer, Layer)
            x = layer.extend(x, angles, bias, position, stored)
        return self._logits(x).squeeze(1)

    def _embed(self, token_ids: Tensor, terms: Terms, positions: slice) -> Tensor:
        """(B, L, D): the token embeddings, scaled, rotated and with `terms.embedding` added."""
        x = F.embedding(token_ids, self.token_embedding) * math.sqrt(self.definition.d_model)
        if terms.embedding_angles is not None:
            x = rotate(x, terms.embedding_angles[:, positions])
        if terms.embedding is not None:
            x = x + terms.embedding[:, positions]
        return x

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(self.norm(x), self.output_weight, self.output_bias)

    def _causal_bias(self, terms: Terms, x: Tensor, first: int, num_keys: int) -> Tensor:
        """The bias that layers add to the scores of the queries in x: (1|B * H, L, W), -inf for every later key.

        The -inf is filled in, not added, so that no bias lifts the mask.

        Args:
            x: (B, L, D), for the positions from `first` on.
            num_keys: how many keys there are, or the cache has room for; W is the larger of this and `SOFTMAX_WIDTH`.
        """
        positions = torch.arange(max(num_keys, SOFTMAX_WIDTH), device=x.device)
        queries = slice(first, first + x.shape[1])
        if terms.bias is None:
            bias = x.new_zeros(1, 1, x.shape[1], len(positions))
        else:
            bias = terms.bias[..., queries, :num_keys]
            bias = F.pad(bias, (0, len(positions) - bias.shape[-1]))
        bias = bias.masked_fill(positions > positions[queries, None], float("-inf"))
        if bias.shape[:2] == (1, 1):
            return bias[0]
        return bias.expand(x.shape[0], self.definition.num_heads, -1, -1).flatten(0, 1)


class Layer(nn.Module):
    """One post-norm encoder layer: x = norm(x + attention(x)); x = norm(x + feedforward(x))."""

    def __init__(self, definition: ModelDefinition) -> None:
        super().__init__()
        width, inner = definition.d_model, definition.feedforward
        self.num_heads, self.head_dim = definition.num_heads, definition.head_dim
        self.qkv_weight = nn.Parameter(torch.empty(3 * width, width))
        self.qkv_bias = nn.Parameter(torch.zeros(3 * width))
        self.attention_weight = nn.Parameter(torch.empty(width, width))
        self.attention_bias = nn.Parameter(torch.zeros(width))
        self.inner_weight = nn.Parameter(torch.empty(inner, width))
        self.inner_bias = nn.Parameter(torch.empty(inner))
        self.outer_weight = nn.Parameter(torch.empty(width, inner))
        self.outer_bias = nn.Parameter(torch.empty(width))
        self.attention_norm = nn.LayerNorm(width)
        self.feedforward_norm = nn.LayerNorm(width)

    def initialise(self, rng: torch.Generator) -> None:
        """Draws the weights."""
        for weight in (self.qkv_weight, self.attention_weight, self.inner_weight, self.outer_weight):
            nn.init.xavier_uniform_(weight, generator=rng)
        for bias, weight in ((self.inner_bias, self.inner_weight), (self.outer_bias, self.outer_weight)):
            bound = 1 / math.sqrt(weight.shape[-1])
            bias.uniform_(-bound, bound, generator=rng)

    def forward(
        self, x: Tensor, angles: Tensor | None, bias: Tensor, *, queries_from: int, dropout: Dropout
    ) -> tuple[Tensor, KeyValue]:
        """x (B, L, D) -> (B, L - queries_from, D), and the keys and values of all L positions.

        `bias`, (1|B * H, L, W), is added to the scaled scores; it is -inf where attention may not look.
        """
        length = x.shape[1]
        queries, keys, values = self._heads(x, angles, bias.shape[-1])
        if queries_from > 0:
            x, bias = x[:, queries_from:], bias[:, queries_from:]
        attended = self._attend(queries[:, queries_from:length], keys, values, bias, dropout)
        return self._feed_forward(x, attended, dropout), KeyValue(keys, values)

    def extend(self, x: Tensor, angles: Tensor | None, bias: Tensor, position: int, stored: KeyValue) -> Tensor:
        """x (B, 1, D) at `position` -> the same shape; stores its keys and values, and attends to what is stored.

        All W rows of the cache go into the products, including the zeros after `position`, where the bias is -inf:
        a slice of the rows would be copied for each product.
        """
        queries, keys, values = self._heads(x, angles, 1)
        stored.keys[:, position : position + 1] = keys
        stored.values[:, position : position + 1] = values
        attended = self._attend(queries, stored.keys, stored.values, bias, NO_DROPOUT)
        return self._feed_forward(x, attended, NO_DROPOUT)

    def _heads(self, x: Tensor, angles: Tensor | None, widened: int) -> tuple[Tensor, ...]:
        """x (B, L, D) -> queries, keys and values (B * H, W, K), with zeros from L up to W = `widened`.

        Copied, so that each head's rows are contiguous: batched products on strided ones take twice as long on a CPU.
        """
        packed = F.linear(x, self.qkv_weight, self.qkv_bias).unflatten(-1, (3, self.num_heads, self.head_dim))
        heads = packed.permute(2, 0, 3, 1, 4)  # (3, B, H, L, K)
        if angles is not None:
            heads = torch.cat((rotate(heads[:2], angles[:, None]), heads[2:]))
        padding = widened - x.shape[1]
        heads = F.pad(heads, (0, 0, 0, padding)) if padding else heads.contiguous()
        return heads.flatten(1, 2).unbind(0)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor, dropout: Dropout) -> Tensor:
        """Queries (B * H, Lq, K), keys and values (B * H, W, K), bias (1|B * H, Lq, W) -> (B * H, Lq, K)."""
        scores = torch.baddbmm(bias, queries, keys.transpose(1, 2), alpha=1 / math.sqrt(self.head_dim))
        return torch.bmm(dropout(scores.softmax(dim=-1)), values)

    def _feed_forward(self, x: Tensor, attended: Tensor, dropout: Dropout) -> Tensor:
        """The rest of the layer after attention: x (B, L, D) and the heads' outputs (B * H, L, K) -> (B, L, D)."""
        attended = attended.view(-1, self.num_heads, *attended.shape[1:]).transpose(1, 2).flatten(2)
        x = self.attention_norm(x + dropout(F.linear(attended, self.attention_weight, self.attention_bias)))
        inner = dropout(F.linear(x, self.inner_weight, self.inner_bias).relu())
        return self.feedforward_norm(x + dropout(F.linear(inner, self.outer_weight, self.outer_bias)))


def shape_of(definition: ModelDefinition, *, max_digits: int, max_length: int) -> ModelShape:
    """What a positional embedding is told about the model and the trial."""
    return ModelShape(
        d_model=definition.d_model,
        num_heads=definition.num_heads,
        head_dim=definition.head_dim,
        num_layers=definition.num_layers,
        max_digits=max_digits,
        max_length=max_length,
    )


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """x (…, L, W) with each pair of dimensions i, i + W/2 rotated by angles (…, L, W/2), as in `protocol.Terms`."""
    first, second = x.chunk(2, dim=-1)
    cosine, sine = angles.cos(), angles.sin()
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
