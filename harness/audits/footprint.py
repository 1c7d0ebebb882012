"""Footprints: which digits of a problem each token of its prompt depends on (rules T40, T50, T57, T60, T70, T80).

A sum or a carry can be hidden in a token, in the order of two tokens, in an alphabet or in the number of pads; the
place where it is hidden must change with a distant digit of the other operand. So no list of tricks is needed: change a
digit, and see which tokens change (*move*).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from harness.audits.chance import sign_test
from harness.audits.prompts import operands
from harness.rules import Finding, gate

REDRAWS = 3
"""At most how often each digit is drawn anew; there may be no other that keeps the order of the operands."""
GATE_SHARE = 0.005
"""A tokenizer is refused if more than this share of its tokens have too wide a footprint."""
CARRY_PAIRS = 600
CARRY_SIGNIFICANCE = 1e-6
MAX_POSITIONAL = 3
"""Most digits of one operand in a token, and most characters of an answer in an id, of a positional format."""

Ids = Sequence[int]


class Digit(NamedTuple):
    """A digit of a problem: of operand 0 (a) or 1 (b), in the column of 10**column."""

    operand: int
    column: int

    def __str__(self) -> str:
        return f"{'ab'[self.operand]}'s digit of 10^{self.column}"


class Edit(NamedTuple):
    """`text` is the problem `prompt` (an index) with one digit drawn anew."""

    prompt: int
    digit: Digit
    text: str


class Breach(NamedTuple):
    """A token that depends on both operands and on more than one column, and two edits that show it."""

    prompt: int
    token: int
    edits: tuple[Edit, Edit]


class Footprints(NamedTuple):
    num_tokens: int
    widest: int
    """Most digits of one operand that a token depends on."""
    breaches: list[Breach]
    columns: dict[int, dict[tuple[int, int], str]]
    """For the id of each token that depends on both digits of one column: the pairs of digits that it stands for, the
    smaller first, each with a prompt in which it does."""


def edits_of(prompts: Sequence[str], rng: np.random.Generator) -> list[Edit]:
    """Edits in which each digit of each prompt is drawn anew, `REDRAWS` times or as often as it can be.

    Edits keep the operands' lengths and which operand is larger, since the layout of a format may follow either. Of two
    equal operands only a may become the larger: a format that writes the larger one first, in groups of digits, has one
    operand's edits in its first place then, and the other's in its second.
    """
    edits: list[Edit] = []
    for index, prompt in enumerate(prompts):
        both = operands(prompt)
        order = _order(both) or 1
        for operand, digits in enumerate(both):
            for place, old in enumerate(digits):
                lowest = 1 if place == 0 and len(digits) > 1 else 0
                others = [str(digit) for digit in range(lowest, 10) if str(digit) != old]
                numbers = [f"{digits[:place]}{new}{digits[place + 1 :]}" for new in rng.permutation(others).tolist()]
                changed = [(number, both[1]) if operand == 0 else (both[0], number) for number in numbers]
                kept = [pair for pair in changed if _order(pair) == order][:REDRAWS]
                digit = Digit(operand, len(digits) - 1 - place)
                edits += [Edit(index, digit, "+".join(pair) + "=") for pair in kept]
    return edits


def moved(original: Ids, edited: Ids) -> set[int]:
    """Places in `original` of the tokens that differ; if the lengths do, all between the common beginning and end."""
    if len(original) == len(edited):
        return {place for place, (one, other) in enumerate(zip(original, edited, strict=True)) if one != other}
    before, after = _in_common(original, edited)
    return set(range(before, len(original) - after))


def footprints(
    prompts: Sequence[str], originals: Sequence[Ids], edits: Sequence[Edit], edited: Sequence[Ids]
) -> Footprints:
    """What the tokens of `originals`, the ids of `prompts`, depend on; `edited[i]` are the ids of `edits[i].text`."""
    seen: dict[tuple[int, int], dict[Digit, Edit]] = defaultdict(dict)
    for edit, ids in zip(edits, edited, strict=True):
        for token in moved(originals[edit.prompt], ids):
            seen[edit.prompt, token].setdefault(edit.digit, edit)
    breaches: list[Breach] = []
    columns: dict[int, dict[tuple[int, int], str]] = defaultdict(dict)
    widest = 0
    for (prompt, token), by_digit in sorted(seen.items()):
        widest = max(widest, *(sum(digit.operand == operand for digit in by_digit) for operand in (0, 1)))
        if evidence := _too_wide(by_digit):
            breaches.append(Breach(prompt, token, evidence))
        elif len(by_digit) == 2 and len({digit.column for digit in by_digit}) == 1:
            digits = _column_of(prompts[prompt], next(iter(by_digit)).column)
            columns[originals[prompt][token]].setdefault(digits, prompts[prompt])
    return Footprints(sum(map(len, originals)), widest, breaches, columns)


def check_columns(found: Footprints) -> Iterator[Finding]:
    """T40: a token that depends on both digits of a column tells which two they are, though not whose is which."""
    for token_id, pairs in found.columns.items():
        if len(pairs) > 1:
            (one, prompt), (other, another) = list(pairs.items())[:2]
            message = (
                f"id {token_id} moves with both digits of a column: {one[0]} and {one[1]} in encode({prompt!r}), "
                f"{other[0]} and {other[1]} in encode({another!r}). One id for several pairs of digits "
                "hides which they are, as a sum or a carry does: give each pair an id, or each digit"
            )
            yield gate("T40", message)
            return


def judged(rule: str, found: Footprints, prompts: Sequence[str], ids: Sequence[Ids]) -> Iterator[Finding]:
    """The finding of T50 or T70: `gate` above 0.5 % of the tokens, `review` above none."""
    if not found.breaches:
        return
    prompt, token, edits = found.breaches[0]
    share = len(found.breaches) / found.num_tokens
    one, other = edits
    message = (
        f"token {token + 1} of encode({prompts[prompt]!r}), id {ids[prompt][token]}, moves in "
        f"encode({one.text!r}) with {one.digit}, and in encode({other.text!r}) with {other.digit}; so do "
        f"{len(found.breaches)} of {found.num_tokens} tokens ({share:.2%}). Each token may depend on one operand or on "
        "one column, else it can carry a part of the sum: compute it from less"
    )
    level = "gate" if share > GATE_SHARE else "review"
    yield Finding(rule, level, message)


def check_spread(
    prompts: Sequence[str], originals: Sequence[Ids], edits: Sequence[Edit], edited: Sequence[Ids]
) -> Iterator[Finding]:
    """T57: an edit of one digit moves one token."""
    counts = [_num_moved(originals[edit.prompt], ids) for edit, ids in zip(edits, edited, strict=True)]
    spread = [index for index, count in enumerate(counts) if count > 1]
    if not spread:
        return
    worst = max(spread, key=counts.__getitem__)
    message = (
        f"encode({prompts[edits[worst].prompt]!r}) and encode({edits[worst].text!r}) differ in one digit and in "
        f"{counts[worst]} tokens; more than one moves in {len(spread)} of {len(edits)} such pairs. A number may then "
        "be written as a longer one, or positions add by where tokens stand: write each digit in one token, or say why "
        "not, and a maintainer may clear it"
    )
    yield Finding("T57", "review", message)


class CarryPair(NamedTuple):
    """Two edits of the same digit of a, each as texts before and after; only the first flips that column's carry."""

    flipping: tuple[str, str]
    keeping: tuple[str, str]


def carry_pairs(digits: int, rng: np.random.Generator) -> list[CarryPair]:
    """`CARRY_PAIRS` pairs with operands of `digits` digits; within a pair, b differs in the edited column alone."""
    pairs: list[CarryPair] = []
    while len(pairs) < CARRY_PAIRS:
        a, b = rng.integers(1, 10, (2, digits)).tolist()
        column = int(rng.integers(0, digits))
        old, new = (1 + rng.permutation(9)[:2]).tolist()
        flipping, keeping = (1 + rng.permutation(9)[:2]).tolist()
        if (old + flipping > 9) == (new + flipping > 9) or (old + keeping > 9) != (new + keeping > 9):
            continue
        edits = [[_written(a, column, x, b, y) for x in (old, new)] for y in (flipping, keeping)]
        if all(_order(one) == _order(other) for one, other in edits):
            texts = [("+".join(one) + "=", "+".join(other) + "=") for one, other in edits]
            pairs.append(CarryPair(*texts))
    return pairs


def check_carry(pairs: Sequence[CarryPair], encoded: dict[str, list[int]]) -> Iterator[Finding]:
    """T60: no more tokens move where the edit flips a carry than where it does not; exact sign test, p < 1e-6."""
    differences = [
        _num_moved(*(encoded[text] for text in pair.flipping)) - _num_moved(*(encoded[text] for text in pair.keeping))
        for pair in pairs
    ]
    more, fewer = sum(one > 0 for one in differences), sum(one < 0 for one in differences)
    probability = sign_test(more, fewer)
    if probability < CARRY_SIGNIFICANCE:
        pair = pairs[max(range(len(pairs)), key=differences.__getitem__)]
        shown = "; ".join(
            f"encode({one!r}) {encoded[one]} and encode({other!r}) {encoded[other]} {what}"
            for (one, other), what in ((pair.flipping, "differ by a carry"), (pair.keeping, "do not"))
        )
        message = (
            f"{shown}. The same edit moves more tokens where it flips a carry in {more} of {len(pairs)} pairs, fewer "
            f"in {fewer} (p = {probability:.1g}). No token may depend on a carry: find where the "
            "digits of one column decide the token of another, and remove it"
        )
        yield gate("T60", message)


def _written(a: list[int], column: int, x: int, b: list[int], y: int) -> list[str]:
    """The operands as texts, with digits x and y in that column, counted from the left."""
    return ["".join(map(str, [*number[:column], digit, *number[column + 1 :]])) for number, digit in ((a, x), (b, y))]


def _num_moved(one: Ids, other: Ids) -> int:
    if len(one) == len(other):
        return len(moved(one, other))
    return max(len(one), len(other)) - sum(_in_common(one, other))


def _in_common(one: Ids, other: Ids) -> tuple[int, int]:
    """Lengths of the common beginning and of the common end after it."""
    shorter = min(len(one), len(other))
    before = next((i for i in range(shorter) if one[i] != other[i]), shorter)
    room = shorter - before
    after = next((i for i in range(room) if one[-1 - i] != other[-1 - i]), room)
    return before, after


def _too_wide(by_digit: dict[Digit, Edit]) -> tuple[Edit, Edit] | None:
    """Two edits, one of each operand, in different columns, if there are such."""
    for one, edit in by_digit.items():
        for other, another in by_digit.items():
            if one.operand != other.operand and one.column != other.column:
                return edit, another
    return None


def _column_of(prompt: str, column: int) -> tuple[int, int]:
    """The two digits in the column of 10**column, the smaller first."""
    one, other = sorted(int(number[-1 - column]) for number in operands(prompt))
    return one, other


def _order(both: Sequence[str]) -> int:
    a, b = map(int, both)
    return (a > b) - (a < b)
