"""Whether numbers are written with their own digits (rule T58), judged by what each id decodes to on its own.

A tokenizer that writes a short problem as a longer one, by multiplying it or by filling columns with constants, trains
the model on lengths that are only tested. A digit that stands where it was not, or was never there, shows it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from harness.audits.footprint import moved
from harness.host.client import Vocabulary
from harness.ragged import Ragged
from harness.rules import Finding

REMEDY = "Write a number with its own digits, at the same places in every length; or say why not, and it may be cleared"

Rows = Sequence[Sequence[int]]
Texts = Mapping[str, tuple[Sequence[str], Ragged]]
"""By set, texts and the ids of each."""


def check_answers(texts: Sequence[str], answers: Sequence[str], rows: Rows) -> Iterator[Finding]:
    """T58: the ids of an answer, each decoded alone, give its digits from either end, with no more zeros among them.

    Zeros before and behind do not count, since padding is zeros in some formats; and a group of digits may decode alone
    to fewer.

    Args:
        texts: what each id decodes to on its own (`Vocabulary.texts`).
        rows: the ids of each answer.
    """
    wrong: list[tuple[str, str]] = []
    for answer, ids in zip(answers, rows, strict=True):
        written = [texts[token_id] for token_id in ids]
        if not any(_spells("".join(own), answer) for own in (written, written[::-1])):
            wrong.append((answer, "".join(written)))
    for answer, spelled in wrong[:1]:
        seen = f"the ids of encode({answer!r}), decoded one by one, give {spelled[:64]!r}"
        yield _review(f"{seen}; the digits of {len(wrong)} of {len(answers)} answers are other ones")


def check_units(numbers: Sequence[str], rows: Rows) -> Iterator[Finding]:
    """T58: the last digit of an answer is in one id, at one place at every length, from the beginning or from the end.

    And no number has more ids than a longer one: else what is at one place from the end could be moved by filling.

    Args:
        numbers: those that differ in the last digit alone are compared.
        rows: the ids of each number.
    """
    alike: dict[str, tuple[str, Sequence[int]]] = {}
    places: dict[tuple[int, int], list[str]] = defaultdict(list)
    for number, ids in sorted(zip(numbers, rows, strict=True)):
        other, before = alike.setdefault(number[:-1], (number, ids))
        if other == number:
            continue
        changed = sorted(moved(before, ids))
        if len(changed) != 1 or len(before) != len(ids):
            yield _review(
                f"encode({other!r}) and encode({number!r}) differ in the last digit and in {len(changed)} ids"
            )
            return
        places[changed[0], len(ids) - changed[0]].append(number)
    if min(len({start for start, _ in places}), len({end for _, end in places})) > 1:
        (here, number), *_, (there, another) = sorted((start, found[0]) for (start, _), found in places.items())
        seen = f"the last digit of {number!r} is in id {here + 1} of its answer, that of {another!r} in id {there + 1}"
        yield _review(f"{seen}; it is at no fixed place, from the beginning or from the end")
        return
    by_length = sorted((len(number), len(ids), number) for number, ids in zip(numbers, rows, strict=True))
    longest = by_length[0]
    for shown in by_length:
        if shown[0] > longest[0] and shown[1] < longest[1]:
            (_, many, number), (_, few, another) = longest, shown
            yield _review(
                f"encode({number!r}) has {many} ids, more than the longer encode({another!r}), which has {few}"
            )
            return
        longest = max(longest, shown, key=lambda each: each[1])


def check_spelling(vocabulary: Vocabulary, answers: Texts) -> list[Finding]:
    """T58 on all answers that were written, by set: the first of the two kinds of finding, if there is any."""
    found = {text: ids for texts, rows in answers.values() for text, ids in zip(texts, rows.rows(), strict=True)}
    distinct, rows = list(found), list(found.values())
    return [*check_answers(vocabulary.texts, distinct, rows), *check_units(distinct, rows)][:1]


def _spells(written: str, answer: str) -> bool:
    same_digits = written.replace("0", "") == answer.replace("0", "")
    return same_digits and len(written.strip("0")) <= len(answer.strip("0"))


def _review(seen: str) -> Finding:
    return Finding("T58", "review", f"{seen}. {REMEDY}")
