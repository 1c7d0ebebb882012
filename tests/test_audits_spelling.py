"""Rule T58: numbers are written with their own digits; by hand, and on folders that write short ones as long ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_folders import TINY, make_submission

from harness.audits.spelling import check_answers, check_gaps, check_units
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


@pytest.mark.parametrize("ids", [[1, 0, 2, 3, 7], [1, 2, 0], [2, 0, 1, 3], [1, 0, 2, 0, 3], [3, 0, 0, 2, 0, 1]])
def test_an_answer_of_1023_may_not_be_written_so(ids: list[int]) -> None:
    (finding,) = check_answers(DIGITS, ["45", "1023"], [[5, 4], ids])
    assert (finding.rule, finding.level) == ("T58", "review")
    assert "encode('1023'), decoded one by one, give" in finding.message
    assert "1 of 2 answers" in finding.message


def test_who_decodes_no_id_alone_is_told_to() -> None:
    (finding,) = check_answers(DIGITS, ["45", "1023", "7"], [[5, 4], [12, 12, 12, 12], [12]])
    assert (finding.rule, finding.level) == ("T58", "review")
    assert "decode([id]) shows nothing for any id of encode('1023'), as for those of 2 of 3 answers" in finding.message
    assert "let decode show the digit of every single id" in finding.message
    assert "with its own digits" not in finding.message


def test_who_decodes_no_zero_alone_is_told_of_the_zero() -> None:
    (finding,) = check_answers(["", *DIGITS[1:]], ["45", "0"], [[4, 5], [0]])
    assert "decode([id]) shows nothing for any id of encode('0'), as for those of 1 of 2 answers" in finding.message


def test_other_digits_are_told_though_another_answer_shows_nothing() -> None:
    (finding,) = check_answers(DIGITS, ["45", "7"], [[5, 1], [12]])
    assert "encode('45'), decoded one by one, give '51'" in finding.message


NUMBERS = ["7", "8", "46", "47", "1023", "1025"]


def test_the_last_digit_is_at_one_place_from_either_end() -> None:
    forwards = [[int(digit) for digit in number] for number in NUMBERS]
    backwards = [row[::-1] for row in forwards]
    padded = [row + [0] * (6 - len(row)) for row in backwards]
    for rows in (forwards, backwards, padded):
        assert list(check_units(DIGITS, NUMBERS, rows)) == []
    shifted = [[0, 0, 0, *row[:3]] if len(number) < 3 else row for number, row in zip(NUMBERS, padded, strict=True)]
    (finding,) = check_units(DIGITS, NUMBERS, shifted)
    assert "the last digit of '1025' is in id 1 of its answer, that of '47' in id 4" in finding.message
    filled = [[0, 0, 0, *row] if len(number) < 3 else row for number, row in zip(NUMBERS, padded, strict=True)]
    (finding,) = check_units(DIGITS, NUMBERS, filled)
    assert "encode('7') has 9 ids, more than the longer encode('1023'), which has 6" in finding.message
    doubled = [[row[0], *row] for row in backwards]
    (finding,) = check_units(DIGITS, NUMBERS, doubled)
    assert "encode('1023') and encode('1025') differ in the last digit and in 2 ids" in finding.message


def test_a_number_that_differs_from_none_in_the_last_digit_alone_has_it_where_others_have() -> None:
    numbers = [*NUMBERS, "305", "610"]
    padded = [[int(digit) for digit in number[::-1]] + [12] * (6 - len(number)) for number in numbers]
    assert list(check_units(DIGITS, numbers, padded)) == []
    for alone in (6, 7):
        rows = [[12, *row[:-1]] if index == alone else row for index, row in enumerate(padded)]
        (finding,) = check_units(DIGITS, numbers, rows)
        assert f"the last digit of '{numbers[alone]}' is not where those of other answers are" in finding.message


def test_a_number_may_be_filled_up_behind_its_last_digit_if_the_first_is_at_one_place() -> None:
    forwards = [[12, *map(int, number), *[12] * (6 - len(number))] for number in NUMBERS]
    assert list(check_units(DIGITS, NUMBERS, forwards)) == []
    for moved in ([12, *forwards[2][:-1]], [12, 4, 6, 0, 12, 12, 12]):
        (finding,) = check_units(DIGITS, NUMBERS, [*forwards[:2], moved, [*moved[:2], 7, *moved[3:]], *forwards[4:]])
        assert "at no fixed place" in finding.message


def spread(number: str, gap: int) -> list[int]:
    """Units first, with `gap` ids that decode to nothing before the tens, in eight ids."""
    ids = [int(digit) for digit in number[::-1]]
    return [*ids[:1], *[12] * gap, *ids[1:], *[12] * 8][:8]


def test_short_numbers_are_not_spread_over_the_columns_of_long_ones() -> None:
    rows = [spread(number, 4 if len(number) == 2 else 0) for number in NUMBERS]
    assert [*check_answers(DIGITS, NUMBERS, rows), *check_units(DIGITS, NUMBERS, rows)] == []
    for written in (rows, [row[::-1] for row in rows]):
        (finding,) = check_gaps(DIGITS, NUMBERS, written)
        assert (finding.rule, finding.level) == ("T58", "review")
        assert "among its digits encode('46') has an id that decodes to nothing" in finding.message
        assert "and there encode('1023') has a digit" in finding.message


@pytest.mark.parametrize(
    "write",
    [
        lambda number: [int(digit) for digit in number],
        lambda number: spread(number, 4),
        lambda number: [i for digit in number for i in (12, int(digit))],
        lambda number: [12, *map(int, number[:-3]), *[12] * (len(number) > 3), *map(int, number[-3:])],
        lambda number: [12, *map(int, number), *[12] * (6 - len(number))],
        lambda number: [0] * (6 - len(number)) + [int(digit) for digit in number],
    ],
    ids=["as written", "with one gap", "between hints", "thousands apart", "filled up behind", "filled up with zeros"],
)
def test_a_format_may_set_digits_apart_if_it_does_so_at_every_length(write: Callable[[str], list[int]]) -> None:
    numbers = [*NUMBERS, "11", "1001", "90", "4000"]
    for rows in ([write(number) for number in numbers], [write(number)[::-1] for number in numbers]):
        assert list(check_gaps(DIGITS, numbers, rows)) == []


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
