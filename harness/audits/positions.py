"""Audits of a positional embedding: what its graphs compute on real layouts (rules P00, P10, P20, P40)."""

import time
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.audits.prompts import SEED, operand_lengths
from harness.audits.tokens import MAX_DIGITS
from harness.decoding import EVALUATION_BATCH
from harness.encoding import encode
from harness.host.client import Host
from harness.model import shape_of
from harness.positions import Positions, Program, receive_positions
from harness.protocol import Kind, Terms
from harness.randomness import generator
from harness.rules import Finding, gate
from harness.sequences import Sequences
from harness.submissions import Submission
from harness.task import Split, UniformDigits, draw
from harness.track import ModelDefinition

BATCH_SIZE = 64
"""Examples of a training step where no track says otherwise, as in most."""
NUM_KINDS = 2000
MAX_KINDS_SHOWN = 12
NUM_REPLACEMENTS = 4
"""How often a batch's other rows are replaced: what depends on a parity of theirs stays as it is every other time."""
MAX_SECONDS = 300
"""For all widths; a graph within the limits of `graph.py` may take seconds, and is run some twenty times at each."""
MAX_SIZE = 1e3
CAUSAL_TOLERANCE = 1e-6
ROW_TOLERANCE = 1e-5
"""Relative, and absolute for values below 1."""


def check_positions(
    submission: Submission, widths: Sequence[int] = MAX_DIGITS, batch_size: int = BATCH_SIZE
) -> Iterator[Finding]:
    """P00, P10, P20 and P40 at every max_digits in `widths`; the export itself raises errors of P00 and P30.

    The graphs are of the sizes that a trial runs: a submission's Python sees the shape of the batch, and may give any
    other shape another graph.
    """
    start = time.monotonic()
    for max_digits in widths:
        if time.monotonic() - start > MAX_SECONDS:
            message = f"audits of the positions had not ended after {MAX_SECONDS} seconds; compute the terms from less"
            yield gate("P00", message)
            return
        if findings := list(check_kinds(submission, max_digits)):
            yield from findings
            return
        count = max(batch_size, EVALUATION_BATCH)
        problems = draw(UniformDigits(max_digits), Split.TRAIN, count=count, track_seed=SEED, seed=SEED)
        sequences = encode(submission, {"any": problems}, max_digits=max_digits, shuffle_seed=0).sets["any"]
        positions = _export(submission, sequences, max_digits, batch_size)
        layouts = torch.from_numpy(sequences.layout.astype(np.int64))
        trained, layout = layouts[:batch_size], layouts[:EVALUATION_BATCH]
        for training in (True, False):
            terms = _terms(positions, trained if training else layout, training=training)
            if findings := list(check_finite(terms, training=training, max_digits=max_digits)):
                yield from findings
                return
        if max_digits == widths[0]:
            again = _export(submission, sequences, max_digits, batch_size, hash_seed=1)
            yield from check_repeatable(positions, again, trained, layout)
        yield from check_gradient(positions, trained)
        yield from check_rows(positions, trained, training=True)
        yield from check_blind(positions, problems.prompts(), layouts, np.random.default_rng(SEED))
        yield from check_causal(positions, layout, sequences.prompt_length)


def check_kinds(submission: Submission, digits: int = MAX_DIGITS[0]) -> Iterator[Finding]:
    """P10: prompts of equal operand lengths have the same kinds, once runs of one kind are collapsed."""
    problems = draw(UniformDigits(digits), Split.TRAIN, count=NUM_KINDS, track_seed=SEED, seed=SEED)
    sequences = encode(submission, {"any": problems}, max_digits=digits, shuffle_seed=SEED).sets["any"]
    seen: dict[tuple[int, ...], tuple[str, list[Kind]]] = {}
    for prompt, layout in zip(problems.prompts(), sequences.layout[:, : sequences.prompt_length], strict=True):
        runs = [Kind(kind) for kind, _ in groupby(layout.tolist()) if kind != Kind.PAD]
        lengths = operand_lengths(prompt)
        other, expected = seen.setdefault(lengths, (prompt, runs))
        if runs != expected:
            one, two = (" ".join(kind.name for kind in kinds[:MAX_KINDS_SHOWN]) for kinds in (expected, runs))
            message = (
                f"encode({other!r}) has the kinds {one}, and encode({prompt!r}), with operands of the same lengths, "
                f"{two}; kinds may depend on the lengths, never on the digits"
            )
            yield gate("P10", message)
            return


def check_blind(
    positions: Positions, prompts: Sequence[str], layouts: Tensor, rng: np.random.Generator
) -> Iterator[Finding]:
    """P10 and P40 in the batches that are scored: terms do not follow the digits, and a row's terms are its own.

    Args: see `check_digits`.
    """
    for rows in _in_batches(len(layouts)):
        if findings := list(check_rows(positions, layouts[rows])):
            yield from findings
            return
    yield from check_digits(positions, prompts, layouts, rng)


def check_digits(
    positions: Positions, prompts: Sequence[str], layouts: Tensor, rng: np.random.Generator
) -> Iterator[Finding]:
    """P10: what positions read of a batch stays the same, to the bit, when problems of equal lengths share a layout.

    A trial makes them share one (`trial._sharing_layouts`), so that positions which follow the digits could not help
    there; here they are refused as well. The terms would not show it: a table may be zero before it is trained, and
    angles a whole turn apart are equal.

    Args:
        positions: with a program for evaluation at this length.
        layouts: (n, L) int64, of the prompts, in order.
        rng: draws the problem whose layout the others share.
    """
    lengths = [operand_lengths(prompt) for prompt in prompts]
    drawn = {lengths[row]: row for row in rng.permutation(len(prompts)).tolist()}
    for rows in _in_batches(len(layouts)):
        alike = [drawn[lengths[row]] for row in rows]
        batch, shared = layouts[rows], layouts[alike]
        if torch.equal(batch, shared):
            continue
        for (line, one), (_, other) in zip(positions.readings(batch), positions.readings(shared), strict=True):
            if _bits(one) != _bits(other):
                place = int((batch != shared).any(dim=1).nonzero()[0])
                message = (
                    f"encode({prompts[alike[place]]!r}) and encode({prompts[rows[place]]!r}), with operands of "
                    f"the same lengths, have different layouts, and the positions follow them: {line}. Where digits "
                    "move the layout, positions may not read it: give problems of the same lengths the same layout, "
                    "or read from it only what is the same in both"
                )
                yield gate("P10", message)
                return


def _in_batches(num_rows: int) -> Iterator[list[int]]:
    """The rows in order, `EVALUATION_BATCH` at a time; the last one is repeated until its batch is full."""
    for start in range(0, num_rows, EVALUATION_BATCH):
        yield [min(row, num_rows - 1) for row in range(start, start + EVALUATION_BATCH)]


def _bits(tensor: Tensor) -> bytes:
    """Equality of numbers would hide the sign of a zero."""
    return tensor.cpu().contiguous().numpy().tobytes()


def check_rows(positions: Positions, batch: Tensor, *, training: bool = False) -> Iterator[Finding]:
    """P40: a row's terms stay the same when half of the other rows are replaced, and follow it when rows change places.

    In training rows do not change places, since what is drawn belongs to a place.

    Args:
        batch: (B, L) int64, of a shape that a program has.
    """
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(batch))
    others: list[tuple[Tensor, Sequence[int] | NDArray[np.int64], NDArray[np.int64], str]] = []
    for shift in range(1, NUM_REPLACEMENTS + 1):
        kept = np.flatnonzero(rng.random(len(batch)) < 0.5)
        replaced = batch.roll(shift, dims=0)
        replaced[kept] = batch[kept]
        others.append((replaced, kept, kept, "with the other rows of its batch"))
    if not training:
        others.append((batch[order], range(len(batch)), order, "with its place in the batch"))
    terms = _terms(positions, batch, training=training)
    for other, now, then, when in others:
        for name in _terms_that_differ(_terms(positions, other, training=training), terms, now, then):
            message = (
                f"Terms.{name} of a problem changes {when}, which would reveal the batch that it is in; compute every "
                "row from that row of the layout alone"
            )
            yield gate("P40", message)
            return


def _terms_that_differ(
    one: Terms, other: Terms, rows: Sequence[int] | NDArray[np.int64], others: Sequence[int] | NDArray[np.int64]
) -> Iterator[str]:
    """Names of the terms in which one of `rows` of `one` differs from that of `others` of `other`.

    A term that is shared by the whole batch is compared as it is.
    """
    for name in Terms.__slots__:
        here, there = getattr(one, name), getattr(other, name)
        if here is None:
            continue
        if len(here) > 1:
            here, there = here[torch.as_tensor(rows)], there[torch.as_tensor(others)]
        # At another place in a matrix product, a row may be summed in another order.
        if not torch.allclose(here, there, rtol=ROW_TOLERANCE, atol=ROW_TOLERANCE, equal_nan=True):
            yield name


def check_gradient(positions: Positions, layout: Tensor) -> Iterator[Finding]:
    """P00: in training, terms can be differentiated with respect to the parameters."""
    terms = positions.terms(layout, training=True, generator=generator(0, "audit"))
    trained = [getattr(terms, name) for name in Terms.__slots__]
    trained = [term for term in trained if term is not None and term.requires_grad]
    if not trained:
        return
    try:
        total = torch.stack([term.sum() for term in trained]).sum()
        torch.autograd.grad(total, list(positions.parameters()), allow_unused=True)
    except RuntimeError as error:
        reason = f"the terms have no gradient: {str(error).splitlines()[0][:200]}"
        remedy = "use operators that torch can differentiate, or detach() what needs no gradient"
        if "aten::copy" in str(error):
            remedy = "do not assign into a tensor (`x[..., 0::2] = …`); put it together with torch.stack or torch.cat"
        yield gate("P00", f"{reason}; {remedy}")


def check_repeatable(positions: Positions, again: Positions, trained: Tensor, layout: Tensor) -> Iterator[Finding]:
    """P00: the exports of two processes are equal to the bit.

    A process exports everything twice, but imports the file once, so it cannot notice what is drawn at import, from the
    clock, or by an order that depends on hashing.

    Args:
        again: the other export, from a process with another hash seed.
        trained: (B, L) int64, of the shape of the programs for training; `layout` of those for evaluation.
    """
    pairs = list(zip(positions.state_dict().values(), again.state_dict().values(), strict=False))
    is_same = positions.description() == again.description()
    for training in (True, False) if is_same else ():
        batch = trained if training else layout
        one, other = (_terms(each, batch, training=training) for each in (positions, again))
        pairs += [
            (getattr(one, name), getattr(other, name)) for name in Terms.__slots__ if getattr(one, name) is not None
        ]
    if not is_same or not all(torch.allclose(*pair, rtol=0, atol=0, equal_nan=True) for pair in pairs):
        message = (
            "two processes that import the file build other positions from the same seed, so that no trial could be "
            "repeated; draw with torch alone, inside __init__ or forward, and from no clock and no set's order"
        )
        yield gate("P00", message)


def check_finite(terms: Terms, *, training: bool, max_digits: int) -> Iterator[Finding]:
    """P00: every number of every term is finite and at most 1e3 in size; angles may be as large as they like."""
    mode = "training" if training else "evaluation"
    for name in Terms.__slots__:
        term: Tensor | None = getattr(terms, name)
        if term is None:
            continue
        where = f"Terms.{name} at max_digits {max_digits}, in {mode}"
        if not bool(term.isfinite().all()):
            remedy = "look for a division by zero or log(0), and let a mask add -1e3 instead of -inf"
            yield gate("P00", f"{where}, holds NaN or infinity; {remedy}")
        elif "angles" not in name and (size := float(term.detach().abs().max())) > MAX_SIZE:
            yield gate("P00", f"{where}, is {size:.3g} in size; at most {MAX_SIZE:g} is allowed, scale it")


def check_causal(positions: Positions, layout: Tensor, prompt_length: int) -> Iterator[Finding]:
    """P20: the terms of a layout that is cut after `=` are the whole layout's terms, cut there, to 1e-6."""
    whole = _terms(positions, layout, training=False)
    for length in _cut_lengths(prompt_length, layout.shape[1]):
        cut = _terms(positions, layout[:, :length], training=False)
        for name in Terms.__slots__:
            long, short = getattr(whole, name), getattr(cut, name)
            if long is None and short is None:
                continue
            if long is None or short is None:
                yield gate(
                    "P20",
                    f"Terms.{name} is returned at one length and not at another; return it always",
                )
                return
            long = long[:, :, :length, :length] if name == "bias" else long[:, :length]
            worst = float((long - short).detach().abs().max())
            if worst > CAUSAL_TOLERANCE:
                where = f"when the layout is cut to {length} of {layout.shape[1]} positions"
                seen = f"Terms.{name} changes by {worst:.3g} {where}"
                yield gate(
                    "P20",
                    f"{seen}; an answer position may not know what follows, so do not count from the end",
                )
                return


def _export(
    submission: Submission, sequences: Sequences, max_digits: int, batch_size: int, *, hash_seed: int = 0
) -> Positions:
    length = sequences.length
    programs = [Program(True, batch_size, length), Program(False, EVALUATION_BATCH, length)]
    programs += [Program(False, EVALUATION_BATCH, cut) for cut in _cut_lengths(sequences.prompt_length, length)]
    shape = shape_of(ModelDefinition(), max_digits=max_digits, max_length=length)
    with Host(submission, "positions", hash_seed=hash_seed) as host:
        return receive_positions(host, submission.name, shape, programs, seed=0, device=torch.device("cpu"))


def _cut_lengths(prompt_length: int, length: int) -> list[int]:
    """Right after `=`, in the middle of the answer, and before its last position."""
    return sorted({prompt_length, (prompt_length + length) // 2, length - 1} - {length})


def _terms(positions: Positions, layout: Tensor, *, training: bool) -> Terms:
    with torch.no_grad():
        return positions.terms(layout, training=training, generator=generator(0, "audit"))
