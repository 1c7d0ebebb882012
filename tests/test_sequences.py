"""Sequences against worked examples, and against padding done row by row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.host.client import Vocabulary
from harness.protocol import Kind
from harness.ragged import Ragged
from harness.sequences import Sequences, assemble, kinds, share_seen

CHARACTERS = Vocabulary(vocab_size=14, pad_id=12, eos_id=13, texts=(*"0123456789+=", "", ""))
ROWS = st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=6), min_size=1, max_size=5)


def ragged(rows: list[list[int]]) -> Ragged:
    flat = np.array([token_id for row in rows for token_id in row], np.int32)
    return Ragged.from_flat(flat, np.array([len(row) for row in rows], np.int32))


def test_prompts_end_and_answers_begin_in_one_column_as_in_the_contracts_example() -> None:
    prompts, answers = ragged([[1, 2, 10, 3, 4, 11], [9, 10, 1, 11]]), ragged([[4, 6], [1, 0]])
    sequences = assemble(prompts, answers, CHARACTERS, widths=np.array([8, 8]), answer_length=4)
    assert sequences.token_ids.tolist() == [
        [12, 12, 1, 2, 10, 3, 4, 11, 4, 6, 13, 12],
        [12, 12, 12, 12, 9, 10, 1, 11, 1, 0, 13, 12],
    ]
    assert sequences.layout.tolist() == [[0, 0, 1, 1, 2, 1, 1, 3, 5, 5, 5], [0, 0, 0, 0, 1, 2, 1, 3, 5, 5, 5]]
    assert (len(sequences), sequences.length, sequences.answer_length) == (2, 11, 4)


@given(ROWS, st.integers(0, 3), st.integers(0, 3))
def test_sequences_are_what_lists_padded_row_by_row_are(rows: list[list[int]], left: int, right: int) -> None:
    answers = rows[::-1]
    prompt_length = max(map(len, rows)) + left
    answer_length = max(map(len, rows)) + 1 + right
    widths = np.full(len(rows), prompt_length)
    got = assemble(ragged(rows), ragged(answers), CHARACTERS, widths=widths, answer_length=answer_length)
    for prompt, answer, row, layout in zip(rows, answers, got.token_ids.tolist(), got.layout.tolist(), strict=True):
        padding = [12] * (prompt_length - len(prompt))
        assert row == padding + prompt + answer + [13] + [12] * (answer_length - len(answer) - 1)
        marks = [{10: Kind.PLUS, 11: Kind.EQUALS}.get(token_id, Kind.NUMBER) for token_id in prompt]
        assert layout == [Kind.PAD] * len(padding) + marks + [Kind.ANSWER] * (answer_length - 1)


def test_the_problems_of_each_width_stand_by_themselves_without_the_columns_before_it() -> None:
    prompts, answers = ragged([[1, 10, 2, 11], [1, 2, 10, 3, 11], [5, 10, 4, 11]]), ragged([[3], [1, 5], [9]])
    sequences = assemble(prompts, answers, CHARACTERS, widths=np.array([4, 6, 4]), answer_length=3)
    (rows, narrow), (others, wide) = sequences.by_width()
    assert (rows.tolist(), others.tolist()) == ([0, 2], [1])
    assert narrow.token_ids.tolist() == [[1, 10, 2, 11, 3, 13, 12], [5, 10, 4, 11, 9, 13, 12]]
    assert wide.token_ids.tolist() == [[12, 1, 2, 10, 3, 11, 1, 5, 13]]
    assert narrow.layout.tolist() == [[1, 2, 1, 3, 5, 5]] * 2
    assert wide.layout.tolist() == [[0, 1, 1, 2, 1, 3, 5, 5]]
    assert [(part.prompt_length, part.length, part.answer_length) for part in (narrow, wide)] == [(4, 6, 3), (6, 8, 3)]


@given(ROWS, ROWS)
def test_the_layout_does_not_depend_on_the_answer(answers: list[list[int]], others: list[list[int]]) -> None:
    prompts = ragged([[1, 10, 2, 11]])
    layouts = [
        assemble(prompts, ragged(rows[:1]), CHARACTERS, widths=np.array([5]), answer_length=7).layout
        for rows in (answers, others)
    ]
    assert np.array_equal(*layouts)


def test_sequences_are_seen_whose_ids_prompt_and_answer_are_those_of_a_trained_one() -> None:
    def of(prompts: list[list[int]], answers: list[list[int]]) -> Sequences:
        return assemble(ragged(prompts), ragged(answers), CHARACTERS, widths=np.full(len(prompts), 5), answer_length=3)

    trained = of([[1, 10, 2, 11], [2, 10, 2, 11], [10, 2, 11]], [[3], [4], [2]])
    asked = of([[1, 10, 2, 11], [2, 10, 1, 11], [10, 2, 11], [1, 10, 2, 11], [2, 10, 2, 11]], [[3], [3], [2], [3], [5]])
    assert share_seen(asked, trained) == 3 / 5


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("7", Kind.NUMBER),
        ("03", Kind.NUMBER),
        ("a7", Kind.NUMBER),
        ("7+", Kind.NUMBER),
        ("+", Kind.PLUS),
        ("+=", Kind.PLUS),
        ("=", Kind.EQUALS),
        ("", Kind.OTHER),
        ("a", Kind.OTHER),
        ("٣", Kind.OTHER),  # a digit, but none that a sum is written with
    ],
)
def test_a_kind_follows_from_what_the_id_decodes_to_alone(text: str, kind: Kind) -> None:
    vocabulary = Vocabulary(vocab_size=3, pad_id=1, eos_id=2, texts=(text, text, ""))
    assert kinds(vocabulary).tolist() == [kind, Kind.PAD, Kind.OTHER]
