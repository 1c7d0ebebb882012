"""Text on the board: strangers' text is one plain line, and shows as itself in Markdown."""

import html
import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.board.text import markdown, percent, plain


@given(st.text(max_size=80))
def test_escaped_text_renders_to_the_plain_text(text):
    rendered = MarkdownIt("gfm-like", {"linkify": False}).renderInline("x" + markdown(text, 200))
    assert html.unescape(rendered) == "x" + plain(text, 200)


@given(st.text())
def test_plain_text_is_one_printable_line_within_its_limit(text):
    shown = plain(text, 20)
    assert len(shown) <= 20
    assert shown.isprintable() or not shown


@given(st.text("e\u0301\u0e47\u20dd\u3164\u2800\u200b"))
def test_no_character_of_plain_text_carries_a_tower_of_marks_and_none_is_blank(text):
    assert not re.search(r"[\u0301\u0e47\u20dd]{4}|[\u3164\u2800]", plain(text, 80))


def test_a_tower_of_marks_in_a_record_is_cut_and_what_people_write_stays():
    assert plain("CPU" + 79 * "\u0301", 80) == "CPU" + 3 * "\u0301"
    assert plain("A\u3164B\u2800", 80) == "AB"
    assert plain("Nguye\u0302\u0303n \u101e\u102d\u102f\u1037", 80) == "Nguye\u0302\u0303n \u101e\u102d\u102f\u1037"


def test_ansi_sequences_leave_nothing_behind():
    assert plain("\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07", 80) == "red link"


@pytest.mark.parametrize(
    ("share", "text"), [(1, "100.0"), (0.99999, ">99.9"), (0.9994, "99.9"), (0, "0.0"), (0.0001, "<0.1"), (0.5, "50.0")]
)
def test_only_all_right_is_a_hundred_per_cent(share, text):
    assert percent(share) == text


@given(
    total=st.integers(1, 4000), from_the_end=st.lists(st.integers(0, 3), min_size=1, max_size=12), is_high=st.booleans()
)
@example(total=2000, from_the_end=[1, 1, 1], is_high=True)
def test_a_mean_of_counts_reads_as_all_or_nothing_only_if_it_is(total, from_the_end, is_high):
    """Counts near either end of the range, where a rounded mean could reach it."""
    counts = [max(0, total - few) if is_high else min(total, few) for few in from_the_end]
    text = percent(float(np.mean([count / total for count in counts])))
    assert (text == "100.0") == all(count == total for count in counts)
    assert (text == "0.0") == (not any(counts))


def test_a_share_of_numpy_reads_like_any_other():
    assert percent(np.mean([0.25, 0.5])) == "37.5"


def test_a_half_is_rounded_up_as_people_do():
    assert [percent(share) for share in (0.0945, 0.1005, 0.1025)] == ["9.5", "10.1", "10.3"]
