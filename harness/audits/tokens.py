"""Audits of a tokenizer, through the very hosts that a trial uses (rules T00, T10, T20)."""

from collections.abc import Iterator

import numpy as np

from harness.audits.findings import Finding, gate
from harness.host.client import Host, Vocabulary
from harness.ragged import Ragged
from harness.submissions import Submission
from harness.task import Split, UniformDigits, draw

MAX_DIGITS = (3, 20)
"""Two operand lengths that every tokenizer is built for: a short one, and one beyond 64 bits."""
NUM_PURE_TEXTS = 2000
NUM_UNRELATED_TEXTS = 5000
NUM_SUMS = 2000


def check_tokenizer(submission: Submission) -> Iterator[Finding]:
    """T00, T10 and T20, at every one of `MAX_DIGITS`; a rule that cannot be checked ends the audit with its finding."""
    vocabularies: list[Vocabulary] = []
    for max_digits in MAX_DIGITS:
        with Host(submission, "answers", max_digits=max_digits) as host:
            vocabularies.append(host.describe())
            yield from check_round_trip(submission, host, vocabularies[-1], max_digits)
    yield from check_one_vocabulary(submission, vocabularies)
    yield from check_purity(submission, vocabularies[0], MAX_DIGITS[0])


def check_one_vocabulary(submission: Submission, vocabularies: list[Vocabulary]) -> Iterator[Finding]:
    """T00: vocab_size, pad_id and eos_id are the same for every max_digits, and every id decodes alike."""
    first, second = vocabularies
    if first == second:
        return
    differing = [name for name in ("vocab_size", "pad_id", "eos_id") if getattr(first, name) != getattr(second, name)]
    seen = "; ".join(
        f"{name} is {getattr(first, name)} at max_digits {MAX_DIGITS[0]} and {getattr(second, name)} at {MAX_DIGITS[1]}"
        for name in differing
    )
    message = f"{seen or 'an id decodes differently at two max_digits'}; the vocabulary must not depend on max_digits"
    yield gate(submission.name, "T00", message)


def check_round_trip(submission: Submission, host: Host, vocabulary: Vocabulary, max_digits: int) -> Iterator[Finding]:
    """T10: decode(encode(s)) == s for 0 to 9999 and for random sums of every length up to max_digits + 1."""
    answers = [str(number) for number in range(10_000)] + _random_sums(max_digits)
    decoded = host.decode(host.encode(answers, vocabulary))
    wrong = [(answer, got) for answer, got in zip(answers, decoded, strict=True) if answer != got]
    for answer, got in wrong[:1]:
        seen = f"decode(encode({answer!r})) is {got[:64]!r} at max_digits {max_digits}"
        message = f"{seen}, and {len(wrong)} of {len(answers)} answers do not come back; make decode invert encode"
        yield gate(submission.name, "T10", message)


def check_purity(submission: Submission, vocabulary: Vocabulary, max_digits: int) -> Iterator[Finding]:
    """T20: the same texts, after other texts and in another order, and in a process with another hash seed."""
    problems = draw(UniformDigits(max_digits), Split.TRAIN, count=NUM_PURE_TEXTS, track_seed=20)
    unrelated = draw(UniformDigits(max_digits), Split.TEST, count=NUM_UNRELATED_TEXTS, track_seed=20).prompts()
    texts = problems.prompts()
    reverse = np.arange(len(texts))[::-1]
    with Host(submission, "prompts", max_digits=max_digits) as host:
        first = host.encode(texts, vocabulary)
        host.encode(unrelated, vocabulary)
        again = host.encode(texts[::-1], vocabulary).take(reverse)
    with Host(submission, "prompts", max_digits=max_digits, hash_seed=1) as host:
        elsewhere = host.encode(texts, vocabulary)
    for other, when in ((again, "after other texts, in another order"), (elsewhere, "in another process")):
        for index in _differing(first, other)[:1]:
            one, two = first.rows()[index], other.rows()[index]
            message = f"encode({texts[index]!r}) is {one}, and {two} {when}; keep no state, draw nothing, order no set"
            yield gate(submission.name, "T20", message)


def _differing(first: Ragged, second: Ragged) -> list[int]:
    pairs = zip(first.rows(), second.rows(), strict=True)
    return [index for index, (one, two) in enumerate(pairs) if one != two]


def _random_sums(max_digits: int) -> list[str]:
    """Numbers of every length from 1 to max_digits + 1, equally many."""
    rng = np.random.default_rng(20)
    sums: list[str] = []
    for index in range(NUM_SUMS):
        digits = rng.integers(0, 10, size=index % (max_digits + 1) + 1).tolist()
        sums.append("".join(map(str, digits)).lstrip("0") or "0")
    return sums
