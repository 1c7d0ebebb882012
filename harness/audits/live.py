"""Audits inside a trial, on its own problems (rules T20, T30, T40, T57, T70, T90, T95; T58 is in `spelling.py`).

The texts that they send travel shuffled among the trial's problems, in the same requests, and are drawn anew for every
trial.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from harness.audits.chance import at_least, fisher
from harness.audits.footprint import Digit, Edit, check_columns, check_spread, edits_of, footprints, judged
from harness.audits.prompts import MIN_PROMPTS, operand_lengths, with_other_units
from harness.audits.spelling import Texts
from harness.audits.tokens import MAX_CHARACTERS
from harness.host.client import Host, Vocabulary
from harness.records import Score
from harness.rules import Finding, gate
from harness.submissions import Submission
from harness.task import Problems, strata

NUM_EDITS = 4000
NUM_NUMBERS = 500
MAX_AGAIN = 20_000
SIGNIFICANCE = 1e-4
MIN_DISTINCT = 0.9
"""Least share of the fresh problems that must be distinct; at two digits 0.42 of them are, at three 0.97."""
MAX_UNTRAINED = 0.01
"""Highest exact match of a model that has not been trained."""

Ids = Mapping[str, list[int]]


class Probes(NamedTuple):
    """An audit's texts that travel with the problems of a trial."""

    prompts: list[str]
    """Some of the scored prompts, and as many of those that are trained on."""
    edits: list[Edit]
    numbers: list[str]
    """Random numbers, in pairs that differ in the last digit, sent among the answers; their ids are planted among those
    that the model generates."""

    def texts(self) -> list[str]:
        """What is sent among the prompts."""
        return [*self.prompts, *(edit.text for edit in self.edits)]


def probes_of(scored: Mapping[str, Problems], trained: Problems, rng: np.random.Generator) -> Probes:
    """`MIN_PROMPTS` or more scored prompts and as many trained ones, edits of their digits, and up to 500 numbers.

    Trained ones have a share of their own, since a tokenizer could write those alone in another way: as problems of the
    lengths that are tested, say. The numbers are as long as answers.
    """
    digits = max(problems.a.shape[1] for problems in scored.values())
    drawn: set[str] = set()
    for problems in (scored.values(), [trained]):
        pool = sorted({prompt for own in problems for prompt in own.prompts()} - drawn)
        count = min(len(pool), max(MIN_PROMPTS, NUM_EDITS // (6 * digits)))
        drawn.update(rng.choice(pool, count, replace=False).tolist())
    prompts = rng.permutation(sorted(drawn)).tolist()
    lengths = rng.integers(1, digits + 2, NUM_NUMBERS // 2).tolist()
    numbers = {"".join(map(str, rng.integers(0, 10, length))).lstrip("0") or "0" for length in lengths}
    numbers |= {with_other_units(number) for number in numbers}
    return Probes(prompts, edits_of(prompts, rng), sorted(numbers))


def check_siblings(probes: Probes, ids: Ids) -> list[Finding]:
    """T40, T57 and T70 on the ids that the trial itself got.

    Args:
        ids: of `probes.texts()`.
    """
    originals = [ids[prompt] for prompt in probes.prompts]
    edited = [ids[edit.text] for edit in probes.edits]
    found = footprints(probes.prompts, originals, probes.edits, edited)
    findings = [*check_columns(found), *check_spread(probes.prompts, originals, probes.edits, edited)]
    return findings + list(judged("T70", found, probes.prompts, originals))


def check_again(
    submission: Submission,
    vocabulary: Vocabulary,
    max_digits: int,
    prompts: Texts,
    probed: Ids,
    rng: np.random.Generator,
) -> list[Finding]:
    """T20: another process, sent the trial's prompts without the probes, gives the same ids; and T70 on lone edits.

    A lone edit is the only one of its prompt in its process (`_check_lone_edits`).

    Args:
        prompts: by set, the texts and the ids that the trial got for them; at most `MAX_AGAIN` of each set are sent.
        probed: the ids of the prompts whose edits the trial sent. All of these are sent again: a tokenizer that was
            honest about them because it saw their edits is not honest here.
    """
    first = dict(probed) | _first_of(prompts)
    order = rng.permutation(sorted(first)).tolist()
    with Host(submission, "prompts", max_digits=max_digits, hash_seed=1) as host:
        again = host.encode(order, vocabulary).rows()
    if findings := list(_differing_again(order, first, again)):
        return findings
    drawn = ("fresh/", "fresh_lengths/")
    fresh = [text for name, (texts, _) in prompts.items() if name.startswith(drawn) for text in texts]
    return _check_lone_edits(submission, vocabulary, max_digits, first, fresh, rng)


def check_answers_again(
    submission: Submission,
    vocabulary: Vocabulary,
    max_digits: int,
    answers: Texts,
    rng: np.random.Generator,
) -> list[Finding]:
    """T20: another process, sent the trial's answers, at most `MAX_AGAIN` of each set, gives the same ids."""
    first = _first_of(answers)
    order = rng.permutation(sorted(first)).tolist()
    with Host(submission, "answers", max_digits=max_digits, hash_seed=1) as host:
        again = host.encode(order, vocabulary).rows()
    return list(_differing_again(order, first, again))


def _first_of(sets: Texts) -> dict[str, list[int]]:
    """The ids of the first `MAX_AGAIN` texts of each set."""
    return {
        text: row
        for texts, ids in sets.values()
        for text, row in zip(texts[:MAX_AGAIN], ids.take(np.arange(min(len(ids), MAX_AGAIN))).rows(), strict=True)
    }


def _differing_again(order: Sequence[str], first: Ids, again: Sequence[list[int]]) -> Iterator[Finding]:
    for text, row in [pair for pair in zip(order, again, strict=True) if pair[1] != first[pair[0]]][:1]:
        seen = f"encode({text!r}) was {first[text]} in the trial and {row} in another process"
        yield gate("T20", f"{seen}; keep no state, draw no random numbers, depend on the order of no set")


def _check_lone_edits(
    submission: Submission,
    vocabulary: Vocabulary,
    max_digits: int,
    first: Mapping[str, list[int]],
    fresh: Sequence[str],
    rng: np.random.Generator,
) -> list[Finding]:
    """T70: in four more processes, fresh prompts are each replaced by one edit, which nothing there sets apart.

    Where several edits of one prompt are sent together, a tokenizer that sees the whole request can find the prompt
    that they all resemble, and write that group honestly. So each process gets one edit of a prompt at most, in place
    of the prompt. Four edits are enough: of the digits of one column and of the one below it, in both operands. A token
    that depends on a carry between the two columns changes with all four.

    Args:
        first: the ids that the trial got, for every prompt that is sent.
        fresh: prompts drawn for this trial, which alone are replaced: the absence of a published one would show.
    """
    known = sorted(prompt for prompt in set(fresh) & first.keys() if min(operand_lengths(prompt)) > 1)
    if not known:  # one digit has no column below
        return []
    prompts: list[str] = rng.choice(known, min(len(known), MIN_PROMPTS), replace=False).tolist()
    above = [int(rng.integers(1, min(operand_lengths(prompt)))) for prompt in prompts]
    edits = {(edit.prompt, edit.digit): edit for edit in edits_of(prompts, rng) if edit.text not in first}
    rest = first.keys() - set(prompts)
    sent: list[Edit] = []
    ids: list[list[int]] = []
    for operand, below in product((0, 1), (0, 1)):
        places = [(index, Digit(operand, column - below)) for index, column in enumerate(above)]
        own = [edits[place] for place in places if place in edits]
        order = rng.permutation(sorted({*rest, *(edit.text for edit in own)})).tolist()
        with Host(submission, "prompts", max_digits=max_digits, hash_seed=1) as host:
            encoded = dict(zip(order, host.encode(order, vocabulary).rows(), strict=True))
        sent += own
        ids += [encoded[edit.text] for edit in own]
    originals = [first[prompt] for prompt in prompts]
    return list(judged("T70", footprints(prompts, originals, sent, ids), prompts, originals))


def check_planted(numbers: Sequence[str], decoded: Sequence[str]) -> Iterator[Finding]:
    """T30: numbers whose ids are planted among the generated ones come back unchanged."""
    wrong = [(number, text) for number, text in zip(numbers, decoded, strict=True) if number != text]
    for number, text in wrong[:1]:
        seen = f"decode of the ids of {number!r} is {text[:MAX_CHARACTERS]!r} among the answers of the trial"
        others = f"{len(wrong)} of {len(numbers)} planted numbers do not come back"
        yield gate("T30", f"{seen}; {others}. Let decode undo encode and know nothing else")


def check_published(scored: Mapping[str, Score], problems: Mapping[str, Problems]) -> Iterator[Finding]:
    """T90: published problems are no easier than those of the same law that were drawn when the trial began.

    `test` is held against `fresh`, and each length beyond the trained ones against fresh problems of that length:
    Fisher, p < 1e-4 over as many tests as there are. Not applied where the fresh ones repeat: at two digits a split
    holds only hundreds of pairs, the same in every trial, and which of them are published makes a difference that is
    more than chance.

    Args:
        scored: every suite's score, by name.
        problems: every suite, by name.
    """
    pairs = {"test": "fresh"} | {f"lengths/{n}": f"fresh_lengths/{n}" for n in strata(scored, "fresh_lengths")}
    for known, drawn in pairs.items():
        prompts = problems[drawn].prompts()
        if len(set(prompts)) < MIN_DISTINCT * len(prompts):
            continue
        test, fresh = scored[known], scored[drawn]
        probability = fisher((test.correct, test.total), (fresh.correct, fresh.total))
        if probability < SIGNIFICANCE / len(pairs):
            seen = f"{test.correct} of {test.total} right on `{known}`, {fresh.correct} of {fresh.total} on `{drawn}`"
            why = f"p = {probability:.1g}, though both have the same distribution"
            message = f"{seen} ({why}); remove whatever knows the published ones"
            yield Finding("T90", "review", message)


def check_untrained(num_right: int, answers: Sequence[str]) -> Iterator[Finding]:
    """T95: before the first step, no more than 1 % of the answers are right, beyond chance.

    A model that always gives the commonest answer is right as often as that one occurs; with few problems or few digits
    chance alone exceeds 1 %, so only an excess that is not chance counts: binomial, p < 1e-4.
    """
    (_, commonest), *_ = Counter(answers).most_common(1)
    chance = max(MAX_UNTRAINED, commonest / len(answers))
    if num_right > chance * len(answers) and at_least(num_right, len(answers), chance) < SIGNIFICANCE:
        seen = f"the untrained model answers {num_right} of {len(answers)} problems right, chance gives {chance:.1%}"
        yield gate("T95", f"{seen}; find where the answer stands in the tokens or in the positions")
