"""Ragged arrays against Python's lists of lists."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.ragged import Ragged

rows = st.lists(st.lists(st.integers(0, 2000), max_size=9), max_size=12)


def ragged(rows: list[list[int]]) -> Ragged:
    flat = np.array([token_id for row in rows for token_id in row], np.int32)
    return Ragged.from_flat(flat, np.array([len(row) for row in rows], np.int32))


@given(rows)
def test_rows_give_back_what_came_in(rows):
    assert ragged(rows).rows() == rows
    assert len(ragged(rows)) == len(rows)


@given(rows)
def test_the_array_is_as_wide_as_the_longest_and_ends_in_minus_ones(rows):
    found = ragged(rows)
    width = max(map(len, rows), default=0)
    assert found.token_ids.shape == (len(rows), width)
    assert found.token_ids.dtype == found.lengths.dtype == np.int32
    assert found.token_ids.tolist() == [row + [-1] * (width - len(row)) for row in rows]


@given(rows)
def test_flat_is_one_row_behind_the_other(rows):
    assert ragged(rows).flat().tolist() == list(chain.from_iterable(rows))


@given(st.lists(rows, max_size=4))
def test_concatenate_keeps_every_row_in_order(parts):
    assert Ragged.concatenate([ragged(part) for part in parts]).rows() == list(chain.from_iterable(parts))


@given(rows.filter(bool), st.data())
def test_take_picks_rows_in_the_order_asked_for(rows, data):
    indices = data.draw(st.lists(st.integers(0, len(rows) - 1)))
    assert ragged(rows).take(np.array(indices, np.int64)).rows() == [rows[index] for index in indices]


@given(rows, st.integers(0, 5))
def test_padding_fills_the_left_or_the_right(rows, room):
    width = max(map(len, rows), default=0) + room
    assert ragged(rows).left_padded(width, 7).tolist() == [[7] * (width - len(row)) + row for row in rows]
    assert ragged(rows).right_padded(width, 7).tolist() == [row + [7] * (width - len(row)) for row in rows]


@pytest.mark.parametrize("pad", [Ragged.left_padded, Ragged.right_padded])
def test_a_width_below_the_longest_row_is_an_error_and_cuts_nothing(pad):
    with pytest.raises(ValueError, match="NumPy boolean array indexing assignment cannot assign"):
        pad(ragged([[1, 2, 3], [4]]), 2, 0)
