"""Rule T58: numbers are written with their own digits; by hand, and on folders that write short ones as long ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from bad_folders import TINY, make_submission

from harness.audits.spelling import check_answers, check_units
from harness.audits.tokens import check_decode
from harness.fingerprint import harness_fingerprint
from harness.host.client import Host
from harness.ranking.standing import State, state_of
from harness.trial import run_job

DIGITS = [*"0123456789", "+", "=", ""]
GROUPS = [*map(str, range(100)), ""]
"""Two digits an id, of which `00` to `09` decode alone as the numbers that they are."""


@pytest.mark.parametrize(
    ("texts", "ids"),
    [
        (DIGITS, [1, 0, 2, 3]),
        (DIGITS, [3, 2, 0, 1]),
        (DIGITS, [3, 2, 0, 1, 0, 0, 0]),
        (DIGITS, [12, 1, 12, 0, 12, 2, 12, 3]),
        (GROUPS, [10, 23]),
        (GROUPS, [23, 10]),
        (DIGITS, [1, 2, 3]),  # as an id that stands for `02` may decode alone to `2`
    ],
    ids=["as written", "reversed", "filled up with zeros", "between hints", "groups", "groups, reversed", "fewer"],
)
def test_an_answer_of_1023_may_be_written_so(texts: list[str], ids: list[int]) -> None:
    assert list(check_answers(texts, ["1023"], [ids])) == []


@pytest.mark.parametrize(
    "ids", [[1, 0, 2, 3, 7], [1, 2, 0], [2, 0, 1, 3], [1, 0, 2, 0, 3], [3, 0, 0, 2, 0, 1], [12, 12, 12, 12]]
)
def test_an_answer_of_1023_may_not_be_written_so(ids: list[int]) -> None:
    (finding,) = check_answers(DIGITS, ["45", "1023"], [[5, 4], ids])
    assert (finding.rule, finding.level) == ("T58", "review")
    assert "encode('1023'), decoded one by one, give" in finding.message
    assert "1 of 2 answers" in finding.message


NUMBERS = ["7", "8", "46", "47", "1023", "1025"]


def test_the_last_digit_is_at_one_place_from_either_end() -> None:
    forwards = [[int(digit) for digit in number] for number in NUMBERS]
    backwards = [row[::-1] for row in forwards]
    padded = [row + [0] * (6 - len(row)) for row in backwards]
    for rows in (forwards, backwards, padded):
        assert list(check_units(NUMBERS, rows)) == []
    shifted = [[0, 0, 0, *row[:3]] if len(number) < 3 else row for number, row in zip(NUMBERS, padded, strict=True)]
    (finding,) = check_units(NUMBERS, shifted)
    assert "the last digit of '1025' is in id 1 of its answer, that of '47' in id 4" in finding.message
    filled = [[0, 0, 0, *row] if len(number) < 3 else row for number, row in zip(NUMBERS, padded, strict=True)]
    (finding,) = check_units(NUMBERS, filled)
    assert "encode('7') has 9 ids, more than the longer encode('1023'), which has 6" in finding.message
    doubled = [[row[0], *row] for row in backwards]
    (finding,) = check_units(NUMBERS, doubled)
    assert "encode('1023') and encode('1025') differ in the last digit and in 2 ids" in finding.message


CHARACTERS = "return [CHARACTERS.index(character) for character in {}]"
BACK = "text = ''.join(CHARACTERS[i] for i in token_ids if i < len(CHARACTERS))\nreturn {}"
FILLED = {
    "constants before": ("'7421' + text if len(text) < 3 and '=' not in text else text", "text.removeprefix('7421')"),
    "zeros behind": (
        "text + '0000' if len(text) < 2 and '=' not in text else text",
        "text[:-4] if len(text) > 4 and text.endswith('0000') else text",
    ),
}


@pytest.mark.parametrize("case", FILLED)
def test_short_numbers_that_are_written_as_long_ones_are_reviewed_before_a_trial_and_in_it(
    tmp_path: Path, case: str
) -> None:
    """Both would confuse a few true numbers with what they write, as T10 sees where there are as many digits."""
    written, read = FILLED[case]
    submission = make_submission(tmp_path, encode=CHARACTERS.format(f"({written})"), decode=BACK.format(read))
    with Host(submission, "answers", max_digits=6) as host:
        vocabulary = host.describe()
    (finding,), _ = check_decode(submission, vocabulary, 6, np.random.default_rng(0))
    assert (finding.rule, finding.level) == ("T58", "review")
    (record,) = run_job(submission, TINY, 1, [0], torch.device("cpu"), lambda progress: None)
    assert [each.rule for each in record.audits if each.level == "review"] == ["T58"]
    assert state_of(record, submission, TINY, harness_fingerprint()).state is State.REVIEW
