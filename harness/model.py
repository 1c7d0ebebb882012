"""The frozen model: a causal transformer that learns to add, exact to `torch.nn.TransformerEncoder`.

Shapes: B batch, L positions, D d_model, H heads, K head_dim, F feed-forward width, V vocabulary. In the layers
positions come first, (L, B, D): the heads of all rows at one position then lie together, so that queries, keys and
values go into batched products as the projection wrote them, without a copy.

Post-norm, ReLU, biases everywhere, one more LayerNorm behind the last layer, dropout at torch's four places of a layer.
Written out rather than built from torch's modules for three reasons: the terms of a positional embedding act inside
attention; head width 8 is far below what fused attention kernels are made for, so plain batched products are faster on
a CPU; and only answer positions need the last layer's queries, its feed-forward and logits.
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
    """Keys and values of one layer, (L, B * H, K) each, rotated as attention uses them."""

    keys: Tensor
    values: Tensor


@dataclass(slots=True)
class Dropout:
    """Inverted dropout from a generator of its own: (p, generator), or p = 0 and nothing happens.

    Masks are cut from 64-bit random words, 16 bits an element, which on a CPU costs a ninth of `bernoulli_`; p is
    thereby rounded to a multiple of 2**-16 (0.1 becomes 0.100006), and the scale to the p that is really drawn.
    """

    p: float
    generator: torch.Generator | None

    def __call__(self, x: Tensor) -> Tensor:
        threshold = min(round(self.p * 65536), 65535)
        if threshold == 0:
            return x
        num_words = (x.numel() + 3) // 4
        words = torch.empty(num_words, dtype=torch.int64, device=x.device)
        words.random_(-(2**63), None, generator=self.generator)
        sixteen_bits = words.view(torch.int16)[: x.numel()].view(x.shape)
        # sixteen_bits >= lowest, as 0 or 1: a comparison and its conversion to float take twice as long on a CPU.
        lowest = threshold - 32768
        kept = sixteen_bits.clamp_(lowest - 1, lowest).sub_(lowest - 1).to(x.dtype)
        return x * kept.mul_(65536 / (65536 - threshold))


class FrozenModel(nn.Module):
    """See the module's docstring; `forward` trains and scores, `prefill` and `extend` decode with a cache."""

    def __init__(self, definition: ModelDefinition, vocab_size: int, seed: int) -> None:
        """Weights as torch's own `nn.Transformer` starts them, drawn on the CPU, so that they are the same everywhere.

        | tensor | start |
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
        self.token_embedding = nn.Parameter(torch.empty(vocab_size, definition.d_model))
        self.output_weight = nn.Parameter(torch.empty(vocab_size, definition.d_model))
        self.output_bias = nn.Parameter(torch.zeros(vocab_size))
        self.layers = nn.ModuleList(Layer(definition) for _ in range(definition.num_layers))
        self.norm = LayerNorm(definition.d_model)
        with torch.no_grad():
            for name in ("token_embedding", "output_weight"):
                bound, rng = EMBEDDING_BOUND, generator(seed, name)
                getattr(self, name).uniform_(-bound, bound, generator=rng)
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
        x = embedding_dropout(self._embed(token_ids, terms, slice(None))).transpose(0, 1).contiguous()
        bias = _mask_future(terms.bias, token_ids, x, self.definition.num_heads)
        for index, layer in enumerate(self.layers):
            queries_from = first if index == len(self.layers) - 1 else 0
            x, _ = layer(x, terms.angles, bias, queries_from=queries_from, dropout=dropout)
        return self._logits(x).transpose(0, 1)

    def prefill(self, token_ids: Tensor, terms: Terms, max_length: int) -> tuple[Tensor, list[KeyValue]]:
        """Logits (B, V) behind the prompt, and the cache of its keys and values with room for `max_length` positions.

        Args:
            token_ids: (B, P) int64, the prompts.
            terms: for the whole sequence, of which the first P positions are used.
        """
        length = token_ids.shape[1]
        x = self._embed(token_ids, terms, slice(0, length)).transpose(0, 1).contiguous()
        bias = None if terms.bias is None else terms.bias[..., :length, :length]
        bias = _mask_future(bias, token_ids, x, self.definition.num_heads)
        angles = None if terms.angles is None else terms.angles[:, :length]
        cache: list[KeyValue] = []
        for layer in self.layers:
            x, (keys, values) = layer(x, angles, bias, queries_from=0, dropout=NO_DROPOUT)
            room = (max_length, *keys.shape[1:])
            cache.append(KeyValue(keys.new_zeros(room), values.new_zeros(room)))
            cache[-1].keys[:length] = keys
            cache[-1].values[:length] = values
        return self._logits(x[-1]), cache

    def extend(self, token_ids: Tensor, terms: Terms, position: int, cache: list[KeyValue]) -> Tensor:
        """Logits (B, V) behind one more token; writes its keys and values into the cache.

        Args:
            token_ids: (B,) int64, at `position`.
            terms: for the whole sequence.
        """
        here = slice(position, position + 1)
        x = self._embed(token_ids[:, None], terms, here).transpose(0, 1)
        angles = None if terms.angles is None else terms.angles[:, here]
        bias = x.new_zeros(1, 1, 1, position + 1) if terms.bias is None else terms.bias[..., here, : position + 1]
        bias = _for_layers(bias, len(token_ids), self.definition.num_heads)
        for layer, stored in zip(self.layers, cache, strict=True):
            assert isinstance(layer, Layer)
            x = layer.extend(x, angles, bias, position, stored)
        return self._logits(x[0])

    def _embed(self, token_ids: Tensor, terms: Terms, positions: slice) -> Tensor:
        x = F.embedding(token_ids, self.token_embedding) * math.sqrt(self.definition.d_model)
        if terms.embedding_angles is not None:
            x = rotate(x, terms.embedding_angles[:, positions])
        if terms.embedding is not None:
            x = x + terms.embedding[:, positions]
        return x

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(self.norm(x), self.output_weight, self.output_bias)


class LayerNorm(nn.Module):
    """Layer normalisation over the last dimension, eps 1e-5."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias)


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
        self.attention_norm = LayerNorm(width)
        self.feedforward_norm = LayerNorm(width)

    def initialise(self, rng: torch.Generator) -> None:
        for weight in (self.qkv_weight, self.attention_weight, self.inner_weight, self.outer_weight):
            nn.init.xavier_uniform_(weight, generator=rng)
        for bias, weight in ((self.inner_bias, self.inner_weight), (self.outer_bias, self.outer_weight)):
            bound = 1 / math.sqrt(weight.shape[1])
            bias.uniform_(-bound, bound, generator=rng)

    def forward(
        self, x: Tensor, angles: Tensor | None, bias: Tensor, *, queries_from: int, dropout: Dropout
    ) -> tuple[Tensor, KeyValue]:
        """x (L, B, D) -> (L - queries_from, B, D), and the keys and values of all L positions.

        `bias` is added to the scaled scores; (1|B * H, L, W), -inf where attention may not look.
        """
        queries, keys, values = self._heads(x)
        if queries_from > 0:
            queries, x, bias = queries[queries_from:], x[queries_from:], bias[:, queries_from:]
        if angles is not None:
            queries = self._rotate(queries, angles[:, queries_from:])
            keys = self._rotate(keys, angles)
        attended = self._attend(queries, keys, values, bias, dropout)
        return self._feed_forward(x, attended, dropout), KeyValue(keys, values)

    def extend(self, x: Tensor, angles: Tensor | None, bias: Tensor, position: int, stored: KeyValue) -> Tensor:
        """x (1, B, D) at `position` -> (1, B, D); attends to what is stored, and stores its own keys and values."""
        queries, keys, values = self._heads(x)
        if angles is not None:
            queries, keys = self._rotate(queries, angles), self._rotate(keys, angles)
        stored.keys[position : position + 1] = keys
        stored.values[position : position + 1] = values
        known = slice(0, position + 1)
        attended = self._attend(queries, stored.keys[known], stored.values[known], bias, NO_DROPOUT)
        return self._feed_forward(x, attended, NO_DROPOUT)

    def _heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """x (L, B, D) -> queries, keys and values (L, B * H, K)."""
        length, _, width = x.shape
        rows = x.reshape(-1, width)
        weight, bias = self.qkv_weight.view(3, width, width), self.qkv_bias.view(3, 1, width)
        packed = torch.baddbmm(bias, rows.expand(3, *rows.shape), weight.transpose(1, 2))
        return packed.view(3, length, -1, self.head_dim).unbind(0)

    def _rotate(self, x: Tensor, angles: Tensor) -> Tensor:
        """x (L, B * H, K) by angles (1|B, L, K/2)."""
        per_head = x.unflatten(1, (-1, self.num_heads))
        return rotate(per_head, angles.transpose(0, 1)[:, :, None]).flatten(1, 2)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor, dropout: Dropout) -> Tensor:
        """(Lq, B * H, K), twice (Lk, B * H, K) and a bias (1|B * H, Lq, W) with W >= Lk -> (Lq, B, D)."""
        num_queries, num_keys = len(queries), len(keys)
        widened = F.pad(keys, (0, 0, 0, 0, 0, bias.shape[-1] - num_keys))
        scores = torch.baddbmm(
            bias, queries.transpose(0, 1), widened.permute(1, 2, 0), alpha=1 / math.sqrt(self.head_dim)
        )
        weights = dropout(scores.softmax(dim=-1)[..., :num_keys])
        attended = torch.bmm(weights, values.transpose(0, 1))
        return attended.transpose(0, 1).reshape(num_queries, -1, self.num_heads * self.head_dim)

    def _feed_forward(self, x: Tensor, attended: Tensor, dropout: Dropout) -> Tensor:
        """The rest of the layer behind attention's heads, (L, B, D) each."""
        x = self.attention_norm(x + dropout(F.linear(attended, self.attention_weight, self.attention_bias)))
        inner = dropout(F.linear(x, self.inner_weight, self.inner_bias).relu())
        return self.feedforward_norm(x + dropout(F.linear(inner, self.outer_weight, self.outer_bias)))


NO_DROPOUT = Dropout(0.0, None)


def shape_of(definition: ModelDefinition, *, max_digits: int, max_length: int) -> ModelShape:
    """What a positional embedding is told of the model and the trial."""
    return ModelShape(
        d_model=definition.d_model,
        num_heads=definition.num_heads,
        head_dim=definition.head_dim,
        num_layers=definition.num_layers,
        max_digits=max_digits,
        max_length=max_length,
    )


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """x (…, L, W) with dimension i and i + W/2 turned by angles (…, L, W/2), as `protocol.Terms` says."""
    first, second = x.chunk(2, dim=-1)
    cosine, sine = angles.cos(), angles.sin()
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)


def _mask_future(bias: Tensor | None, token_ids: Tensor, like: Tensor, num_heads: int) -> Tensor:
    """The bias as layers take it, with -inf above the diagonal: filled, not added, so that no bias lifts the mask."""
    batch, length = token_ids.shape
    if bias is None:
        bias = like.new_zeros(1, 1, length, length)
    future = torch.ones(length, length, dtype=torch.bool, device=like.device).triu(1)
    return _for_layers(bias.masked_fill(future, float("-inf")), batch, num_heads)


def _for_layers(bias: Tensor, batch: int, num_heads: int) -> Tensor:
    """(1|B, 1|H, Lq, Lk) -> (1|B * H, Lq, max(Lk, `SOFTMAX_WIDTH`)), widened by columns of -inf."""
    bias = F.pad(bias, (0, max(0, SOFTMAX_WIDTH - bias.shape[-1])), value=float("-inf"))
    if bias.shape[:2] == (1, 1):
        return bias[0]
    return bias.expand(batch, num_heads, -1, -1).flatten(0, 1)
