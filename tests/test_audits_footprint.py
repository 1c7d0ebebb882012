"""Footprints by hand: what moves, what is too wide, and how it is told."""

import numpy as np
from bad_folders import make_submission

from harness.audits import audit
from harness.audits.footprint import (
    Digit,
    Edit,
    Footprints,
    carry_pairs,
    check_columns,
    edits_of,
    footprints,
    judged,
    moved,
)
from harness.audits.positions import check_kinds
from harness.audits.recoverable import alike_problems, columns, small_problems


def test_tokens_move_where_they_differ_and_between_what_is_common_where_the_length_does() -> None:
    assert moved([1, 2, 3, 4], [1, 9, 3, 8]) == {1, 3}
    assert moved([1, 2, 3, 4], [1, 9, 9, 3, 4]) == {1}
    assert moved([1, 2, 3, 4], [1, 4]) == {1, 2}
    assert moved([1, 1, 1], [1, 1]) == {2}
    assert moved([1, 2], [1, 2, 3]) == set()


def test_every_digit_is_drawn_anew_three_times_and_the_order_and_lengths_stay() -> None:
    edits = edits_of(["907+15=", "5+5="], np.random.default_rng(0))
    equal = [edit.text.rstrip("=").split("+") for edit in edits if edit.prompt == 1]
    assert [a == "5" for a, _ in equal] == [False] * 3 + [True] * 3
    assert all(int(a) > int(b) and "5" in (a, b) for a, b in equal)
    counts: dict[Digit, int] = {}
    for edit in edits:
        if edit.prompt:
            continue
        a, b = edit.text.rstrip("=").split("+")
        assert (len(a), len(b)) == (3, 2)
        changed = a if edit.digit.operand == 0 else b
        original = "907" if edit.digit.operand == 0 else "15"
        differing = [i for i, (x, y) in enumerate(zip(changed, original, strict=True)) if x != y]
        assert differing == [len(original) - 1 - edit.digit.column]
        counts[edit.digit] = counts.get(edit.digit, 0) + 1
    assert counts == {Digit(0, 0): 3, Digit(0, 1): 3, Digit(0, 2): 3, Digit(1, 0): 3, Digit(1, 1): 3}


def edit(operand: int, column: int) -> Edit:
    return Edit(0, Digit(operand, column), "13+24=")


def test_one_operand_or_one_column_is_allowed_and_both_operands_in_two_columns_are_not() -> None:
    original, changed = [1, 2, 3], [9, 2, 3]
    allowed = [[edit(0, 0), edit(0, 1), edit(0, 2)], [edit(0, 1), edit(1, 1)]]
    for edits in allowed:
        assert footprints(["13+24="], [original], edits, [changed] * len(edits)).breaches == []
    found = footprints(["13+24="], [original], [edit(0, 0), edit(1, 1)], [changed, changed])
    assert [(breach.prompt, breach.token) for breach in found.breaches] == [(0, 0)]
    assert found.num_tokens == 3
    assert footprints(["13+24="], [original], allowed[0], [changed] * 3).widest == 3


def test_the_larger_operand_may_be_written_first_in_groups_where_both_are_equal_too() -> None:
    def encode(prompt: str) -> list[int]:
        return sorted(map(int, prompt.rstrip("=").split("+")), reverse=True)

    prompts = [f"{number}+{number}=" for number in range(10, 100)]
    edits = edits_of(prompts, np.random.default_rng(0))
    ids = [encode(prompt) for prompt in prompts]
    found = footprints(prompts, ids, edits, [encode(edit.text) for edit in edits])
    assert [*judged("T50", found, prompts, ids), *check_columns(found)] == []


def test_the_finding_shows_the_prompts_the_token_and_the_digits_and_grows_into_a_gate() -> None:
    edits = [edit(0, 0), edit(1, 1)]
    for num_others, level in ((0, "gate"), (100, "review")):
        originals = [[1, 2, 3]] * (1 + num_others)
        found = footprints(["12+34="] * len(originals), originals, edits, [[9, 2, 3], [9, 2, 3]])
        (finding,) = judged("T50", found, ["12+34="] * len(originals), originals)
        assert (finding.rule, finding.level) == ("T50", level)
        assert "token 1 of encode('12+34='), id 1, moves in encode('13+24=') with a's digit of 10^0" in finding.message


def test_in_a_carry_pair_the_same_edit_of_a_flips_a_carry_once() -> None:
    for flipping, keeping in carry_pairs(4, np.random.default_rng(0)):
        flips, edited = [], []
        for before, after in (flipping, keeping):
            (a, b), (c, d) = (text.rstrip("=").split("+") for text in (before, after))
            assert b == d
            (place,) = (i for i in range(4) if a[i] != c[i])
            edited.append((place, a[place], c[place]))
            flips.append((int(a[place]) + int(b[place]) > 9) != (int(c[place]) + int(d[place]) > 9))
        assert flips == [True, False]
        assert edited[0] == edited[1]


def test_columns_forget_the_order_of_their_digits_and_nothing_else() -> None:
    assert columns("12+34=") == columns("34+12=") == columns("14+32=") == (("2", "4"), ("1", "3"))
    assert columns("3+1=") != columns("2+2=")
    assert columns("105+2=") == (("2", "5"), ("0", "0"), ("0", "1"))


def test_the_families_hold_many_pairs_of_one_sum_and_of_the_same_column_sums() -> None:
    assert len(set(small_problems())) == 3600
    prompts = alike_problems(6, np.random.default_rng(0))
    by_sum: dict[int, set[str]] = {}
    by_columns: dict[tuple[int, ...], set[str]] = {}
    for prompt in prompts:
        a, b = prompt.rstrip("=").split("+")
        by_sum.setdefault(int(a) + int(b), set()).add(prompt)
        by_columns.setdefault(tuple(int(x) + int(y) for x, y in columns(prompt)), set()).add(prompt)
    assert sum(len(alike) > 1 for alike in by_sum.values()) > 300
    assert sum(len(alike) > 1 for alike in by_columns.values()) > 200


def test_kinds_that_depend_on_digits_are_refused_and_those_that_depend_on_lengths_are_not(tmp_path) -> None:
    encode = "ids = [CHARACTERS.index(character) for character in text]\n"
    by_digit = f"{encode}return [10, *ids] if text[0] == '7' and '=' in text else ids"
    by_length = f"{encode}return [10, *ids] if len(text) > 6 and '=' in text else ids"
    (finding,) = check_kinds(make_submission(tmp_path / "digit", encode=by_digit))
    assert (finding.rule, finding.level) == ("P10", "gate")
    assert "NUMBER PLUS NUMBER EQUALS" in finding.message
    assert list(check_kinds(make_submission(tmp_path / "length", encode=by_length))) == []


def test_a_table_of_more_than_65536_numbers_is_refused_by_rule_p30(tmp_path) -> None:
    """A tensor that is no buffer crosses once for each of five programs, and counts once."""
    for rows, rules in ((300, ["T80"]), (513, ["T80", "P30"])):
        top = f"import torch\nTABLE = torch.zeros({rows}, 128)"
        forward = "return Terms(embedding=TABLE[None, :length] + self.table[None, :length])"
        findings = audit(make_submission(tmp_path / str(rows), top=top, forward=forward))
        assert [finding.rule for finding in findings] == rules
    own = 12 * 128  # the template's table at the audit's shorter width
    assert f"hold {513 * 128 + own} numbers (the largest, a constant, is 513 x 128); at most" in findings[1].message


def test_an_id_that_stands_for_two_pairs_of_digits_hides_which() -> None:
    found = Footprints(3, 1, [], {5: {(1, 2): "11+22=", (0, 3): "10+23="}})
    assert [finding.rule for finding in check_columns(found)] == ["T40"]
    assert list(check_columns(Footprints(3, 1, [], {5: {(1, 2): "11+22="}, 6: {(0, 3): "10+23="}}))) == []
