"""`harness validate --example`: one problem as the model sees it, and what the positions say about it."""

import re

import numpy as np
import torch
from numpy.typing import NDArray
from tabulate import tabulate

from harness.decoding import EVALUATION_BATCH
from harness.encoding import encode
from harness.errors import UsageError
from harness.host.client import Host
from harness.model import shape_of
from harness.positions import Program, receive_positions
from harness.printable import counted, quoted
from harness.protocol import Kind, Terms
from harness.sequences import Sequences
from harness.submissions import Submission
from harness.task import Digits, Problems, Split, UniformDigits, draw, fixed_suites
from harness.track import ModelDefinition, Track

PROBLEM = re.compile(r"(0|[1-9][0-9]*)\+(0|[1-9][0-9]*)=?")
MAX_DIGITS = 50
"""Digits of an operand, as many as a track may have."""
NUM_OTHERS = 256
"""Problems that set the width beside the example where no track does."""
SEED = 0


def problem_of(text: str) -> Problems:
    """`12+34=` or `12+34` as a set of one problem.

    Raises:
        UsageError: it is none.
    """
    found = PROBLEM.fullmatch(text)
    if not found or max(map(len, found.groups())) > MAX_DIGITS:
        allowed = f"two numbers of 1 to {MAX_DIGITS} digits without leading zeros, such as 12+34="
        raise UsageError(f"--example {quoted(text)}: not a problem; write {allowed}")
    columns = max(map(len, found.groups()))
    a, b = (_digits(number, columns) for number in found.groups())
    return Problems(a, b)


def shown_example(submission: Submission, example: Problems, track: Track | None) -> str:
    """The columns of the problem and its sum, and the size and range of the terms that untrained positions give.

    Args:
        example: one problem.
        track: whose widths it is shown in; without one, those of problems of as many digits.

    Raises:
        SubmissionError: the submission broke its contract.
    """
    digits = example.a.shape[1]
    if track:
        digits = next((trained for trained in sorted(track.digits) if trained >= digits), max(track.digits))
    max_digits = max(track.max_digits(digits) if track else digits, example.a.shape[1])
    if track:
        others = fixed_suites(track, digits)["test"]
    else:
        others = draw(UniformDigits(digits), Split.TEST, count=NUM_OTHERS, track_seed=SEED)
    # The names are those that a trial gives to problems as long as the trained ones, and to any that may be longer.
    sets = {"test": others, "lengths/example": example}
    encoded = encode(submission, sets, max_digits=max_digits, shuffle_seed=SEED)
    ((_, sequences),) = encoded.sets["lengths/example"].by_width()
    vocabulary = encoded.vocabulary
    names = {vocabulary.pad_id: "PAD", vocabulary.eos_id: "EOS"}
    kinds = [Kind(kind).name for kind in sequences.layout[0]]
    columns = [
        (column, token_id, names.get(token_id) or quoted(vocabulary.texts[token_id]), kind)
        for column, (token_id, kind) in enumerate(zip(sequences.token_ids[0].tolist(), [*kinds, ""], strict=True))
    ]
    (prompt,), (answer,) = example.prompts(), example.answers()
    where = f"where operands have up to {counted(max_digits, 'digit')}"
    terms = _terms(submission, sequences, track.model if track else ModelDefinition(), max_digits)
    return "\n\n".join(
        (
            f"{submission.name}: {prompt} and its sum, {answer}, as the model sees them {where}",
            tabulate(columns, headers=("column", "id", "decodes to", "kind"), tablefmt="plain"),
            "Positions see the kinds alone; the last column is only predicted. Before training they give:",
            f"{terms}\n",
        )
    )


def _digits(number: str, columns: int) -> Digits:
    """(1, columns), least significant first, then zeros."""
    return np.array([[*map(int, reversed(number)), *[0] * (columns - len(number))]], np.uint8)


def _terms(submission: Submission, sequences: Sequences, model: ModelDefinition, max_digits: int) -> str:
    """Name, size for one problem, least and largest value of each term, in evaluation."""
    program = Program(False, EVALUATION_BATCH, sequences.length)
    shape = shape_of(model, max_digits=max_digits, max_length=sequences.length)
    with Host(submission, "positions") as host:
        cpu = torch.device("cpu")
        positions = receive_positions(host, submission.name, shape, [program], seed=SEED, device=cpu)
    layout: NDArray[np.int64] = np.repeat(sequences.layout.astype(np.int64), EVALUATION_BATCH, axis=0)
    with torch.no_grad():
        terms = positions.terms(torch.from_numpy(layout), training=False, generator=torch.Generator())
    rows: list[tuple[str, str, str]] = []
    for name in Terms.__slots__:
        if (term := getattr(terms, name)) is not None:
            one = term[0].detach()
            least, largest = (float(end) + 0.0 for end in one.aminmax())  # a zero may have a sign
            rows.append((name, " x ".join(map(str, one.shape)), f"{least:.3g} to {largest:.3g}"))
    return tabulate(rows, headers=("term", "size", "values"), tablefmt="plain") if rows else "no terms"
