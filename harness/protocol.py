"""The contract of a submission: everything an entrant needs, and nothing else.

A submission is two classes, named in `submission.yaml`: a tokenizer (any class with the members of `Tokenizer`) and
a positional embedding (a subclass of `PositionalEmbedding`). The harness builds each once a trial, in a process of
its own. Tokens leave that process as numbers and positions leave it as a graph of tensor operators, so neither class
ever meets the model, the data, the clock or the score.

What the harness does with them, for the problem `12+34=` with answer `46`:

    ids         PAD … PAD  encode("12+34=")  encode("46")  EOS  PAD …        all prompts end at the same column
    layout      PAD … PAD  kinds of the ids  ANSWER ANSWER ANSWER ANSWER …   (EOS and PAD after the answer included)
    x           sqrt(d_model) * token_embedding[ids]
    x           rotate(x, embedding_angles) + embedding, then `dropout` while training
    q, k        rotate(q, angles), rotate(k, angles)         in every layer
    scores      q k^T / sqrt(head_dim) + bias                in every layer; then the causal mask, which no bias lifts

A submission may import the standard library, torch, numpy and `harness.protocol`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from torch import Tensor, nn


class Kind(IntEnum):
    """What a position of a sequence holds, without its value: the alphabet of a layout.

    The kind of a prompt token follows from the text that its id decodes to on its own: a digit makes it a `NUMBER`,
    else `+` a `PLUS`, else `=` an `EQUALS`; `pad_id` is `PAD`, all others are `OTHER`. Every position after the prompt
    is `ANSWER`, including EOS and the padding after it, so that a layout tells nothing about the answer.

    `12+34=` in characters, padded to 8 tokens, with room for a 3-digit answer and its EOS (the last token is never an
    input): `PAD PAD NUMBER NUMBER PLUS NUMBER NUMBER EQUALS ANSWER ANSWER ANSWER`.
    """

    PAD = 0
    NUMBER = 1
    PLUS = 2
    EQUALS = 3
    OTHER = 4
    ANSWER = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """The sizes of the frozen model and of the trial, as a positional embedding may need them."""

    d_model: int
    num_heads: int
    head_dim: int
    num_layers: int
    max_digits: int
    """The most digits an operand has in this trial, in training or in test."""
    max_length: int
    """The longest layout of this trial, in positions: layouts are (B, L) with L <= max_length."""


class Tokenizer(Protocol):
    """Turns text into token ids and back. `encode` and `decode` must be pure: equal input, equal output, always.

    For example the notebook's column pairs, with 9 digits: `1265+54323=` -> `43 37 34 27 19 14 14 14 14 10 11`.
    """

    vocab_size: int
    """Number of ids, at most 2048; the same for every `max_digits`."""
    pad_id: int
    """The id the harness pads with, in [0, vocab_size); never in what `encode` returns."""
    eos_id: int
    """The id the harness puts after every answer, in [0, vocab_size); never in what `encode` returns."""

    def __init__(self, max_digits: int) -> None:
        """Builds the tokenizer for operands of at most `max_digits` digits (sums have at most one more)."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt (`"12+34="`) or an answer (`"46"`): ints in [0, vocab_size), no EOS, no PAD.

        A text with `=` is a prompt, one without is an answer.
        """
        ...

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of the ids of an answer up to its EOS: `"46"`.

        A model may generate any ids, and every id of the vocabulary, even PAD and EOS, is decoded alone to learn its
        `Kind`. So never raise, and let the text of a prompt's token show any digit, `+` or `=` that it stands for.
        """
        ...


@dataclass(kw_only=True, slots=True)
class Terms:
    """What a positional embedding returns: float32 tensors computed from the layout alone; `None` = not used.

    A leading 1 means "the same for the whole batch". Terms may be combined; `Terms()` is NoPE.

    Angles rotate pairs of dimensions, one from each half: with half = width / 2, i is paired with i + half,

        y[i]        = x[i] * cos(angle[i]) - x[i + half] * sin(angle[i])
        y[i + half] = x[i + half] * cos(angle[i]) + x[i] * sin(angle[i])        for i in 0 .. half - 1.
    """

    embedding: Tensor | None = None
    """(1|B, L, d_model), added to the scaled token embedding: sinusoidal tables, learned positions, Abacus."""
    embedding_angles: Tensor | None = None
    """(1|B, L, d_model / 2), radians; rotates the scaled token embedding, once, before `embedding` is added."""
    angles: Tensor | None = None
    """(1|B, L, head_dim / 2), radians; rotates queries and keys in every layer: RoPE."""
    bias: Tensor | None = None
    """(1|B, 1|H, L, L), [query, key]; added to the scaled attention scores of every layer: ALiBi, T5, KERPLE, FIRE."""


class PositionalEmbedding(nn.Module):
    """Computes `Terms` from a layout; parameters are trained together with the model.

    It reaches the trainer as a graph, recorded by `torch.export` once in training and once in evaluation mode.
    So write `forward` as tensor arithmetic: branch on `self.training` and on shapes, never on the values of the layout;
    draw random numbers with `torch.randint` and `torch.rand*` (a number from Python's `random` would be frozen into the
    graph); change no buffer. Create tensors on `layout.device`. Parameters and buffers together hold at most 65,536
    numbers.
    """

    dropout: float = 0.0
    """Probability in [0, 1) of dropping an element of the embedding in training, after positions were applied."""

    def __init__(self, shape: ModelShape) -> None:
        """Builds parameters and tables; torch's generator is seeded from the trial before this runs."""
        super().__init__()

    def forward(self, layout: Tensor) -> Terms:
        """Terms for `layout`, (B, L) int64 of `Kind`, L <= `ModelShape.max_length`.

        Prompts are padded with PAD on the left to one width, that of the longest prompt within the trained lengths. On
        a track of length generalisation a longer prompt comes in a longer layout, with fewer PADs or none. So column 0
        need not be where a prompt begins, nor a PAD.
        """
        raise NotImplementedError("a positional embedding needs a `forward(self, layout) -> Terms`")
