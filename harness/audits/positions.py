"""Audits of a positional embedding: what its graphs compute on real layouts (rules P00, P10, P20)."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from harness.audits.findings import Finding, gate
from harness.audits.prompts import SEED, operand_lengths
from harness.audits.tokens import MAX_DIGITS
from harness.decoding import EVALUATION_BATCH
from harness.encoding import encode
from harness.host.client import Host
from harness.model import shape_of
from harness.positions import Positions, Program, receive_positions
from harness.protocol import Kind, Terms
from harness.randomness import generator
from harness.sequences import Sequences
from harness.submissions import Submission
from harness.task import Split, UniformDigits, draw
from harness.track import ModelDefinition

BATCH = 32
NUM_KINDS = 2000
MAX_LAYOUTS = 16
MAX_KINDS_SHOWN = 12
MAX_SIZE = 1e3
CAUSAL_TOLERANCE = 1e-6


def check_positions(submission: Submission, widths: Sequence[int] = MAX_DIGITS) -> Iterator[Finding]:
    """P00, P10 and P20 at every max_digits in `widths`; the export itself raises `SubmissionError` of P00 and P30."""
    for max_digits in widths:
        if findings := list(check_kinds(submission, max_digits)):
            yield from findings
            return
        problems = draw(UniformDigits(max_digits), Split.TRAIN, count=BATCH, track_seed=SEED, seed=SEED)
        sequences = encode(submission, {"any": problems}, max_digits=max_digits, shuffle_seed=0).sets["any"]
        positions = _export(submission, sequences, max_digits)
        layout = torch.from_numpy(sequences.layout.astype(np.int64))
        for training in (True, False):
            terms = _terms(positions, layout, training=training)
            yield from check_finite(submission, terms, training=training, max_digits=max_digits)
        yield from check_causal(submission, positions, layout, sequences.prompt_length)


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
                f"{two}; kinds may tell the lengths and nothing of the digits"
            )
            yield gate(submission.name, "P10", message)
            return


def check_blind(submission: str, positions: Positions, prompts: Sequence[str], layouts: Tensor) -> Iterator[Finding]:
    """P10: where the digits move the layout, the terms do not follow it: they would tell the model what it is to learn.

    Args:
        positions: with a program for evaluation at this length.
        layouts: (n, L) int64, of the prompts.
    """
    alike: dict[tuple[int, ...], dict[tuple[int, ...], int]] = defaultdict(dict)
    for index, (prompt, layout) in enumerate(zip(prompts, layouts.tolist(), strict=True)):
        alike[operand_lengths(prompt)].setdefault(tuple(layout), index)
    rows = list(max(alike.values(), key=len).values())[:MAX_LAYOUTS]
    found = [
        positions.terms(
            layouts[row].expand(EVALUATION_BATCH, -1).contiguous(), training=False, generator=torch.Generator()
        )
        for row in rows
    ]
    for row, terms in zip(rows[1:], found[1:], strict=True):
        for name in Terms.__slots__:
            one, other = getattr(found[0], name), getattr(terms, name)
            if one is not None and not torch.equal(one, other):
                message = (
                    f"encode({prompts[rows[0]]!r}) and encode({prompts[row]!r}), with operands of the same lengths, "
                    f"have different layouts, and Terms.{name} follows them. Where digits move the layout, positions "
                    "may not read it: give problems of the same lengths the same layout, or return the same terms"
                )
                yield gate(submission, "P10", message)
                return


def check_finite(submission: Submission, terms: Terms, *, training: bool, max_digits: int) -> Iterator[Finding]:
    """P00: every number of every term is finite and at most 1e3 in size; angles may be as large as they like."""
    mode = "training" if training else "evaluation"
    for name in Terms.__slots__:
        term: Tensor | None = getattr(terms, name)
        if term is None:
            continue
        where = f"Terms.{name} at max_digits {max_digits}, in {mode}"
        if not bool(term.isfinite().all()):
            yield gate(submission.name, "P00", f"{where}, holds NaN or infinity; look for a division by zero or log(0)")
        elif "angles" not in name and (size := float(term.detach().abs().max())) > MAX_SIZE:
            yield gate(
                submission.name, "P00", f"{where}, is {size:.3g} in size; at most {MAX_SIZE:g} is allowed, scale it"
            )


def check_causal(submission: Submission, positions: Positions, layout: Tensor, prompt_length: int) -> Iterator[Finding]:
    """P20: terms of a layout cut anywhere after `=` equal the cut of the terms, to 1e-6."""
    whole = _terms(positions, layout, training=False)
    for length in _cut_lengths(prompt_length, layout.shape[1]):
        cut = _terms(positions, layout[:, :length], training=False)
        for name in Terms.__slots__:
            long, short = getattr(whole, name), getattr(cut, name)
            if long is None and short is None:
                continue
            if long is None or short is None:
                yield gate(
                    submission.name, "P20", f"Terms.{name} is there at one length and not at another; return it always"
                )
                return
            long = long[:, :, :length, :length] if name == "bias" else long[:, :length]
            worst = float((long - short).detach().abs().max())
            if worst > CAUSAL_TOLERANCE:
                where = f"when the layout is cut to {length} of {layout.shape[1]} positions"
                seen = f"Terms.{name} changes by {worst:.3g} {where}"
                yield gate(
                    submission.name,
                    "P20",
                    f"{seen}; an answer position may not know what follows, so do not count from the end",
                )
                return


def _export(submission: Submission, sequences: Sequences, max_digits: int) -> Positions:
    length = sequences.length
    programs = [Program(True, BATCH, length), Program(False, BATCH, length)]
    programs += [Program(False, BATCH, cut) for cut in _cut_lengths(sequences.prompt_length, length)]
    shape = shape_of(ModelDefinition(), max_digits=max_digits, max_length=length)
    with Host(submission, "positions", max_digits=max_digits) as host:
        return receive_positions(host, submission.name, shape, programs, seed=0, device=torch.device("cpu"))


def _cut_lengths(prompt_length: int, length: int) -> list[int]:
    """Behind `=`, in the middle of the answer, and before its last position."""
    return sorted({prompt_length, (prompt_length + length) // 2, length - 1} - {length})


def _terms(positions: Positions, layout: Tensor, *, training: bool) -> Terms:
    with torch.no_grad():
        return positions.terms(layout, training=training, generator=generator(0, "audit"))
