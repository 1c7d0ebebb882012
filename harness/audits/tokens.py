"""Audits of a tokenizer, through the same hosts that a trial uses (rules T00 to T60, and the tag T80)."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.audits.footprint import (
    MAX_POSITIONAL,
    CarryPair,
    Edit,
    Footprints,
    carry_pairs,
    check_carry,
    check_columns,
    check_spread,
    edits_of,
    footprints,
    judged,
)
from harness.audits.prompts import MIN_PROMPTS, SEED, operand_lengths, operands, with_other_units
from harness.audits.recoverable import alike_problems, check_recoverable, small_problems
from harness.audits.spelling import check_spelling
from harness.errors import HostError, SubmissionError
from harness.host.client import Host, Vocabulary
from harness.ragged import Ragged
from harness.rules import Finding, gate
from harness.submissions import Submission
from harness.task import CarryChain, Problems, Split, UniformDigits, UniformLengths, draw

MAX_DIGITS = (3, 20)
"""Two operand lengths that every tokenizer is audited at: a short one, and one beyond 64 bits.

Those of a track that is to be run are added to them.
"""
NUM_PURE_TEXTS = 2000
NUM_UNRELATED_TEXTS = 5000
NUM_SUMS = 2000
NUM_COUNTED = 2000
NUM_ALONE = 20
NUM_GARBAGE = 2000
NUM_EDITED_DIGITS = 1200
"""About this many digits are drawn anew at each max_digits."""
MAX_CHARACTERS = 64
MAX_ADDED = 0.05
"""Share of pairs of numbers, added with a carry, whose sum decode may hit by chance."""


def check_tokenizer(submission: Submission, widths: Sequence[int] = MAX_DIGITS) -> list[Finding]:
    """T00 to T60 and T80, at every max_digits in `widths`.

    The prompts are audited only if the contract, the answers and purity are in order: the footprint of a tokenizer that
    draws its ids at random says nothing.
    """
    findings: list[Finding] = []
    vocabularies: list[Vocabulary] = []
    for max_digits in widths:
        with Host(submission, "answers", max_digits=max_digits) as host:
            vocabularies.append(host.describe())
            findings += check_round_trip(host, vocabularies[-1], max_digits)
    findings += check_one_vocabulary(widths, vocabularies)
    findings += check_purity(submission, vocabularies[0], widths[0])
    if findings:
        return findings
    is_positional = True
    for max_digits, vocabulary in zip(widths, vocabularies, strict=True):
        rng = np.random.default_rng([SEED, max_digits])
        hygiene, typical_change = check_decode(submission, vocabulary, max_digits, rng)
        found, prompts = check_prompts(submission, vocabulary, max_digits)
        findings += [*hygiene, *prompts]
        is_positional &= max(found.widest, typical_change) <= MAX_POSITIONAL
    findings = list({(finding.rule, finding.level): finding for finding in findings}.values())
    return [*findings, writing_tag(is_positional=is_positional)]


def check_one_vocabulary(widths: Sequence[int], vocabularies: list[Vocabulary]) -> Iterator[Finding]:
    """T00: vocab_size, pad_id and eos_id are the same for every max_digits, and every id decodes alike."""
    first = vocabularies[0]
    others = [(width, other) for width, other in zip(widths, vocabularies, strict=True) if other != first]
    if not others:
        return
    width, second = others[0]
    differing = [name for name in ("vocab_size", "pad_id", "eos_id") if getattr(first, name) != getattr(second, name)]
    seen = "; ".join(
        f"{name} is {getattr(first, name)} at max_digits {widths[0]} and {getattr(second, name)} at {width}"
        for name in differing
    )
    message = f"{seen or 'an id decodes differently at two max_digits'}; the vocabulary must not depend on max_digits"
    yield gate("T00", message)


def check_round_trip(host: Host, vocabulary: Vocabulary, max_digits: int) -> Iterator[Finding]:
    """T10: decode(encode(s)) == s for 0 to 9999, or as far as sums go, and for random sums.

    The random ones have every length up to max_digits + 1.
    """
    answers = [*map(str, range(min(10_000, 10 ** (max_digits + 1)))), *_random_sums(max_digits)]
    decoded = host.decode(host.encode(answers, vocabulary))
    wrong = [(answer, got) for answer, got in zip(answers, decoded, strict=True) if answer != got]
    for answer, got in wrong[:1]:
        seen = f"decode(encode({answer!r})) is {got[:64]!r} at max_digits {max_digits}"
        message = f"{seen}, and {len(wrong)} of {len(answers)} answers do not come back; make decode invert encode"
        yield gate("T10", message)


def check_purity(submission: Submission, vocabulary: Vocabulary, max_digits: int) -> Iterator[Finding]:
    """T20: texts keep their ids after others, in another order, under another hash seed; twenty of them also alone.

    Answers are tried under another hash seed alone: what could be hidden in them, the model would have to learn.
    """
    problems = draw(UniformDigits(max_digits), Split.TRAIN, count=NUM_PURE_TEXTS, track_seed=SEED)
    unrelated = draw(UniformDigits(max_digits), Split.TEST, count=NUM_UNRELATED_TEXTS, track_seed=SEED).prompts()
    texts = problems.prompts()
    reverse = np.arange(len(texts))[::-1]
    with Host(submission, "prompts", max_digits=max_digits) as host:
        first = host.encode(texts, vocabulary)
        host.encode(unrelated, vocabulary)
        again = host.encode(texts[::-1], vocabulary).take(reverse)
    with Host(submission, "prompts", max_digits=max_digits, hash_seed=1) as host:
        elsewhere = host.encode(texts, vocabulary)
    alone: list[Ragged] = []
    for text in texts[:NUM_ALONE]:
        with Host(submission, "prompts", max_digits=max_digits) as host:
            alone.append(host.encode([text], vocabulary))
    few, answers = first.take(np.arange(NUM_ALONE)), problems.answers()
    answer_ids: list[Ragged] = []
    for hash_seed in (0, 1):
        with Host(submission, "answers", max_digits=max_digits, hash_seed=hash_seed) as host:
            answer_ids.append(host.encode(answers, vocabulary))
    for encoded, one_time, other, when in (
        (texts, first, again, "after other texts, in another order"),
        (texts, first, elsewhere, "in another process"),
        (texts, few, Ragged.concatenate(alone), "alone in its process"),
        (answers, *answer_ids, "in another process"),
    ):
        for index in _differing(one_time, other)[:1]:
            one, two = one_time.rows()[index], other.rows()[index]
            seen = f"encode({encoded[index]!r}) is {one}, and {two} {when}"
            message = f"{seen}; keep no state, draw no random numbers, depend on the order of no set"
            yield gate("T20", message)


def check_decode(
    submission: Submission, vocabulary: Vocabulary, max_digits: int, rng: np.random.Generator
) -> tuple[list[Finding], int]:
    """T58, and T30 in a process that has seen no text; and the characters of an answer that an id changes (median)."""
    sums = _random_sums(max_digits)
    numbers = [number for number in sums if len(number) <= max_digits]
    half = len(numbers) // 2
    numbers = numbers[: 2 * half]
    pairs = [f"{a}+{b}=" for a, b in zip(numbers[:half], numbers[half:], strict=True)]
    spelled = [*numbers, *(number for number in sums if len(number) > max_digits)]
    written = [*spelled, *map(with_other_units, spelled)]
    with Host(submission, "answers", max_digits=max_digits) as host:
        encoded = host.encode(written, vocabulary)
    answers = encoded.take(np.arange(len(numbers)))
    with Host(submission, "prompts", max_digits=max_digits) as host:
        prompts = host.encode(pairs, vocabulary)
    spelling = check_spelling(vocabulary, {"numbers": (written, encoded)})
    rows, longest = answers.rows(), int(answers.lengths.max())
    garbage = [rng.integers(0, vocabulary.vocab_size, longest).tolist() for _ in range(NUM_GARBAGE)]
    sent = {
        "answers": answers,
        "prompts": prompts,
        "both": Ragged.of([one + other for one, other in zip(rows[:half], rows[half:], strict=True)]),
        "garbage": Ragged.of(garbage),
        "changed": Ragged.of(_each_with_one_changed(rows, rng)),
    }
    try:
        with Host(submission, "decode", max_digits=max_digits) as host:
            decoded = iter(host.decode(Ragged.concatenate(list(sent.values()))))
    except HostError as error:
        message = f"decode, given ids at random: {error.message}; let it answer any ids at once"
        return [*spelling, gate("T30", message)], 0
    except SubmissionError as error:
        return [*spelling, gate("T30" if error.rule == "T00" else error.rule, error.message)], 0
    texts = {name: [next(decoded) for _ in range(len(part))] for name, part in sent.items()}
    changes = [_num_changed(one, other) for one, other in zip(texts["answers"], texts["changed"], strict=True)]
    return spelling + judge_decode(numbers, pairs, garbage, texts), int(np.median(changes))


def judge_decode(
    numbers: Sequence[str],
    pairs: Sequence[str],
    garbage: Sequence[list[int]],
    texts: Mapping[str, Sequence[str]],
) -> list[Finding]:
    """T30, judged by what decode wrote.

    Only sums with a carry are counted: 0 and 4 written one after the other, or 20 and 3 one over the other, are sums
    that nobody has added.

    Args:
        pairs: prompts, each with two of the numbers.
        garbage: ids drawn at random.
        texts: what decode wrote, by what it was given: `answers`, the ids of the numbers; `prompts`, those of the
            pairs; `both`, those of a pair's two numbers, one after the other; and `garbage`.
    """
    findings: list[Finding] = []
    wrong = [(number, text) for number, text in zip(numbers, texts["answers"], strict=True) if number != text]
    for number, text in wrong[:1]:
        seen = f"decode of the ids of {number!r} is {text[:MAX_CHARACTERS]!r} in a process that has not encoded it"
        findings.append(gate("T30", f"{seen}; keep nothing from encode for decode"))
    too_long = [(ids, text) for ids, text in zip(garbage, texts["garbage"], strict=True) if len(text) > MAX_CHARACTERS]
    for ids, text in too_long[:1]:
        seen = f"decode({ids}) gives {len(text)} characters; at most {MAX_CHARACTERS} are allowed"
        findings.append(gate("T30", f"{seen}: let an id stand for a few characters"))
    carrying = [index for index, pair in enumerate(pairs) if _has_carry(*operands(pair))]
    for what, got in (("a prompt", texts["prompts"]), ("two numbers", texts["both"])):
        added = [(pairs[index], got[index]) for index in carrying if got[index] == _sum_of(pairs[index])]
        if len(added) > MAX_ADDED * len(carrying):
            pair, text = added[0]
            count = f"{len(added)} of {len(carrying)} cases with a carry"
            seen = f"decode of the ids of {what}, {pair!r}, is the sum {text!r} in {count}"
            findings.append(gate("T30", f"{seen}, so `encode` or `decode` has added them: remove the arithmetic"))
    return findings


def check_prompts(submission: Submission, vocabulary: Vocabulary, max_digits: int) -> tuple[Footprints, list[Finding]]:
    """T40 to T60, with all their prompts shuffled into one request."""
    with Host(submission, "prompts", max_digits=max_digits) as host:
        return judge_prompts(max_digits, SEED, lambda texts: host.encode(texts, vocabulary).rows())


class Asked(NamedTuple):
    """The prompts of T40 to T60."""

    prompts: list[str]
    edits: list[Edit]
    pairs: list[CarryPair]
    alike: list[str]
    counted: Problems
    order: list[str]
    """All of them, each once, as they are sent."""


@lru_cache(maxsize=8)
def asked(max_digits: int, seed: int) -> Asked:
    """Kept for the next tokenizer, since drawing them takes longer than judging what becomes of them."""
    rng = np.random.default_rng([seed, max_digits])
    prompts = _footprint_prompts(max_digits, int(rng.integers(2**32)))
    edits, pairs = edits_of(prompts, rng), carry_pairs(max_digits, rng)
    alike = alike_problems(max_digits, rng) + (small_problems() if max_digits == MAX_DIGITS[0] else [])
    counted_seed = int(rng.integers(2**32))
    counted = draw(UniformDigits(max_digits), Split.TEST, count=NUM_COUNTED, track_seed=SEED, seed=counted_seed)
    texts = [*prompts, *(edit.text for edit in edits), *(text for pair in pairs for edit in pair for text in edit)]
    order = rng.permutation(sorted({*texts, *alike, *counted.prompts()})).tolist()
    return Asked(prompts, edits, pairs, alike, counted, order)


def judge_prompts(
    max_digits: int, seed: int, encode: Callable[[list[str]], list[list[int]]]
) -> tuple[Footprints, list[Finding]]:
    """`check_prompts`, for anything that encodes a list of prompts, drawn by this seed."""
    prompts, edits, pairs, alike, counted, order = asked(max_digits, seed)
    encoded = dict(zip(order, encode(order), strict=True))
    ids = [encoded[prompt] for prompt in prompts]
    edited = [encoded[edit.text] for edit in edits]
    found = footprints(prompts, ids, edits, edited)
    findings = list(check_recoverable(alike, [encoded[prompt] for prompt in alike]))
    findings += check_columns(found)
    findings += judged("T50", found, prompts, ids)
    findings += check_counts([(counted, Ragged.of([encoded[prompt] for prompt in counted.prompts()]))])
    findings += check_spread(prompts, ids, edits, edited)
    findings += check_carry(pairs, encoded)
    return found, findings


def check_counts(sets: Iterable[tuple[Problems, Ragged]]) -> Iterator[Finding]:
    """T55: in each set, prompts with operands of the same lengths have the same number of ids; the first that have not.

    Args:
        sets: problems, and the ids of their prompts.
    """
    for problems, ids in sets:
        largest = problems.largest_alike(ids.lengths)
        fewer = np.flatnonzero(ids.lengths < largest)
        if not len(fewer):
            continue
        row, prompts = int(fewer[0]), problems.prompts()
        lengths = operand_lengths(prompts[row])
        same = [index for index, prompt in enumerate(prompts) if operand_lengths(prompt) == lengths]
        other = next(index for index in same if ids.lengths[index] == largest[row])
        column, share = _told_by(ids.lengths[same], problems.take(np.array(same)))
        message = (
            f"encode({prompts[row]!r}) gave {ids.lengths[row]} ids, encode({prompts[other]!r}), with operands of the "
            f"same lengths, {ids.lengths[other]}, so that digits move the columns of tokens, and positions that number "
            f"the columns can add: the number of ids alone tells (x + y) mod 10 in {share:.0%} of {len(same)} such "
            f"prompts, x and y being the digits of 10^{column}. Give numbers of one length equally many ids, filling "
            "each up with at least one that decodes to nothing; or say why not, and a maintainer may clear it"
        )
        yield Finding("T55", "review", message)
        return


def _told_by(counts: NDArray[np.int32], problems: Problems) -> tuple[int, float]:
    """The column k of which the counts tell (a_k + b_k) mod 10 best, and how often a guess by the count is right."""
    shares: list[float] = []
    for a, b in zip(problems.a.T, problems.b.T, strict=True):
        hits = Counter(zip(counts.tolist(), ((a + b) % 10).tolist(), strict=True))
        best: dict[int, int] = {}
        for (count, _), number in hits.items():
            best[count] = max(best.get(count, 0), number)
        shares.append(sum(best.values()) / len(problems))
    column = int(np.argmax(shares))
    return column, shares[column]


def writing_tag(*, is_positional: bool) -> Finding:
    """T80: `positional`, or `re-encoding`."""
    kind = "positional" if is_positional else "re-encoding"
    return Finding("T80", "tag", kind)


def _footprint_prompts(max_digits: int, seed: int) -> list[str]:
    """In equal parts uniform problems, those in which a carry runs through two columns, and those of every length.

    With such a carry an edit of one digit moves digits of the sum in other columns too. Short operands are what tracks
    of length generalisation train on.
    """
    count = max(MIN_PROMPTS, NUM_EDITED_DIGITS // (2 * max_digits)) // 2
    laws = (UniformDigits(max_digits), CarryChain(max_digits, min(2, max_digits)), UniformLengths(max_digits))
    drawn = [draw(law, Split.TEST, count=count, track_seed=SEED, seed=seed).prompts() for law in laws]
    return list(dict.fromkeys(prompt for prompts in drawn for prompt in prompts))


def _each_with_one_changed(rows: list[list[int]], rng: np.random.Generator) -> list[list[int]]:
    """Every row with one id replaced by what stands there in a different row of the same length, if there is one."""
    place_of: dict[int, dict[tuple[int, ...], int]] = {}
    for row in rows:
        same_length = place_of.setdefault(len(row), {})
        same_length.setdefault(tuple(row), len(same_length))
    distinct = {length: list(same_length) for length, same_length in place_of.items()}
    changed = [list(row) for row in rows]
    for row in changed:
        candidates = distinct[len(row)]
        if len(candidates) > 1:
            drawn = int(rng.integers(len(candidates) - 1))
            other = candidates[drawn + (drawn >= place_of[len(row)][tuple(row)])]  # any but itself
            differing = [column for column, (one, two) in enumerate(zip(row, other, strict=True)) if one != two]
            column = differing[int(rng.integers(len(differing)))]
            row[column] = other[column]
    return changed


def _num_changed(one: str, other: str) -> int:
    """Characters that differ, both texts aligned to the right."""
    width = max(len(one), len(other))
    return sum(x != y for x, y in zip(one.rjust(width), other.rjust(width), strict=True))


def _has_carry(one: str, other: str) -> bool:
    return any(int(x) + int(y) > 9 for x, y in zip(reversed(one), reversed(other), strict=False))


def _sum_of(prompt: str) -> str:
    return str(sum(map(int, operands(prompt))))


def _differing(first: Ragged, second: Ragged) -> list[int]:
    pairs = zip(first.rows(), second.rows(), strict=True)
    return [index for index, (one, two) in enumerate(pairs) if one != two]


@cache
def _random_sums(max_digits: int) -> tuple[str, ...]:
    """Numbers of every length from 1 to max_digits + 1, equally many."""
    rng = np.random.default_rng(SEED)
    sums: list[str] = []
    for index in range(NUM_SUMS):
        digits = rng.integers(0, 10, size=index % (max_digits + 1) + 1).tolist()
        sums.append("".join(map(str, digits)).lstrip("0") or "0")
    return tuple(sums)
