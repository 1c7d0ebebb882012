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
        if not any(written) or not any(_spells("".join(own), answer) for own in (written, written[::-1])):
            wrong.append((answer, "".join(written)))
    if wrong and not any(spelled for _, spelled in wrong):
        seen = f"decode([id]) shows nothing for any id of encode({wrong[0][0]!r}), as for those of {len(wrong)} of"
        yield Finding("T58", "review", f"{seen} {len(answers)} answers; let decode show the digit of every single id")
        return
    for answer, spelled in wrong[:1]:
        seen = f"the ids of encode({answer!r}), decoded one by one, give {spelled[:64]!r}"
        yield _review(f"{seen}; the digits of {len(wrong)} of {len(answers)} answers are other ones")


def check_units(texts: Sequence[str], numbers: Sequence[str], rows: Rows) -> Iterator[Finding]:
    """T58: the last digit of an answer is in one id, at one place at every length, from the beginning or from the end.

    Or the first digit is at one place from the beginning, and only ids that decode to nothing follow the last. And no
    number has more ids than a longer one: else what is at one place from the end could be moved by filling.

    Args:
        texts: what each id decodes to on its own.
        numbers: those that differ in the last digit alone are compared; the others must show theirs at the same place.
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
        places[changed[0], changed[0] - len(ids)].append(number)
    fixed = [found.pop() for found in map(set, zip(*places, strict=True)) if len(found) == 1]
    strays = [
        [number for number, ids in zip(numbers, rows, strict=True) if not _shows(texts, ids, place, number[-1])]
        for place in fixed
    ]
    if places and all(strays) and not _begin_at_one_place(texts, numbers, rows):
        in_order = sorted((start + 1, found[0]) for (start, _), found in places.items())
        (here, number), (there, another) = in_order[0], in_order[-1]
        seen = f"the last digit of {number!r} is in id {here} of its answer, that of {another!r} in id {there}"
        if strays:
            seen = f"the last digit of {strays[0][0]!r} is not where those of other answers are, as of {number!r}"
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


def check_gaps(texts: Sequence[str], answers: Sequence[str], rows: Rows) -> Iterator[Finding]:
    """T58: ids that decode to nothing stand inside all numbers at the same distances from the last digit, or in none.

    Else short numbers could be spread over the columns of long ones.
    """
    spread: dict[tuple[int, ...], str] = {}
    for answer, written in _read(texts, answers, rows):
        from_the_end = [place for place, text in enumerate(reversed(written)) if text]
        spread.setdefault(tuple(place - from_the_end[0] for place in from_the_end), answer)
    digits: dict[int, str] = {}
    gaps: dict[int, str] = {}
    for distances, answer in spread.items():
        digits = dict.fromkeys(distances, answer) | digits
        gaps = dict.fromkeys({*range(max(distances, default=0))} - {*distances}, answer) | gaps
    for distance in sorted(digits.keys() & gaps.keys())[:1]:
        seen = f"among its digits encode({gaps[distance]!r}) has an id that decodes to nothing, and there"
        yield _review(f"{seen} encode({digits[distance]!r}) has a digit, counted from the last one")


def check_spelling(vocabulary: Vocabulary, answers: Texts) -> list[Finding]:
    """T58 on all answers that were written, by set: the first of the three kinds of finding, if there is any."""
    found = {text: ids for texts, rows in answers.values() for text, ids in zip(texts, rows.rows(), strict=True)}
    checks = (check_answers, check_units, check_gaps)
    return [finding for check in checks for finding in check(vocabulary.texts, [*found], [*found.values()])][:1]


def _spells(written: str, answer: str) -> bool:
    same_digits = written.replace("0", "") == answer.replace("0", "")
    return same_digits and len(written.strip("0")) <= len(answer.strip("0"))


def _read(texts: Sequence[str], answers: Sequence[str], rows: Rows) -> Iterator[tuple[str, list[str]]]:
    """Each answer and what its ids decode to, the first digit first: as written, unless it reads backwards alone.

    What reads both ways, such as `11`, is read backwards if all answers can be.
    """
    written = [[texts[token_id] for token_id in ids] for ids in rows]
    both = list(zip(answers, written, strict=True))
    are_backwards = all(_spells("".join(own[::-1]), answer) for answer, own in both)
    for answer, own in both:
        yield answer, own if not are_backwards and _spells("".join(own), answer) else own[::-1]


def _shows(texts: Sequence[str], ids: Sequence[int], place: int, digit: str) -> bool:
    """Whether the id at `place`, counted from the end if negative, is there and ends with the digit."""
    return -len(ids) <= place < len(ids) and texts[ids[place]].endswith(digit)


def _begin_at_one_place(texts: Sequence[str], numbers: Sequence[str], rows: Rows) -> bool:
    """Whether all numbers are written forwards from one place on, with nothing but filling that decodes to nothing."""
    written = [[texts[token_id] for token_id in ids] for ids in rows]
    if any("".join(own) != number for number, own in zip(numbers, written, strict=True)):
        return False
    return len({next(place for place, text in enumerate(own) if text) for own in written}) == 1


def _review(seen: str) -> Finding:
    return Finding("T58", "review", f"{seen}. {REMEDY}")
