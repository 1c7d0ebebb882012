"""The worked tokenizers against encodings written by hand, and against the notebook's."""

from collections.abc import Callable
from itertools import combinations_with_replacement

import pytest
from gallery import REVERSED

from harness.protocol import Tokenizer

TokenizerOf = Callable[..., Tokenizer]


@pytest.mark.parametrize(
    "name", ["characters_sinusoidal", "characters_alibi", "characters_rotated", "characters_learned"]
)
def test_characters_keep_the_order_of_the_text(name: str, tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of(name, max_digits=2)
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.eos_id) == (14, 12, 13)
    assert tokenizer.encode("57+68=") == [5, 7, 10, 6, 8, 11]
    assert tokenizer.encode("125") == [1, 2, 5]


@pytest.mark.parametrize("name", REVERSED)
def test_reversed_numbers_begin_with_their_units(name: str, tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of(name, max_digits=2)
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.eos_id) == (14, 12, 13)
    assert tokenizer.encode("57+68=") == [7, 5, 10, 8, 6, 11]
    assert tokenizer.encode("125") == [5, 2, 1]
    assert tokenizer.encode("10+3=") == [0, 1, 10, 3, 11]
    assert tokenizer.decode([5, 2, 1]) == "125"


def test_interleaved_digits_stand_column_by_column_units_first(tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of("interleaved_learned", max_digits=3)
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.eos_id) == (14, 12, 13)
    assert tokenizer.encode("57+68=") == [7, 8, 5, 6, 0, 0, 10, 11]
    assert tokenizer.encode("986+1=") == [6, 1, 8, 0, 9, 0, 10, 11]
    assert tokenizer.encode("125") == [5, 2, 1]
    assert tokenizer.decode([5, 2, 1]) == "125"


@pytest.mark.parametrize(
    ("prompt", "token_ids"),
    [
        ("123456789+145=", [58, 52, 30, 20, 19, 18, 17, 16, 15, 10, 11]),
        ("1265+54323=", [43, 37, 34, 27, 19, 14, 14, 14, 14, 10, 11]),
    ],
)
def test_column_pairs_are_those_of_the_notebook(prompt: str, token_ids: list[int], tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of("column_pairs_rotated", max_digits=9)
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.eos_id) == (69, 12, 13)
    assert tokenizer.encode(prompt) == token_ids


def test_pair_ids_count_up_from_14_and_forget_the_order_of_the_digits(tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of("column_pairs_rotated", max_digits=1)
    for token_id, (low, high) in enumerate(combinations_with_replacement(range(10), 2), start=14):
        assert tokenizer.encode(f"{low}+{high}=") == tokenizer.encode(f"{high}+{low}=") == [token_id, 10, 11]


def test_column_pairs_write_answers_most_significant_digit_first(tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of("column_pairs_rotated", max_digits=9)
    assert tokenizer.encode("55588") == [5, 5, 5, 8, 8]


def test_padded_numbers_fill_their_slots_with_zeros_behind(tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of("padded_coupled", max_digits=3)
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.eos_id) == (14, 12, 13)
    assert tokenizer.encode("57+68=") == [7, 5, 0, 10, 8, 6, 0, 11]
    assert tokenizer.encode("125") == [5, 2, 1, 0]
    assert tokenizer.encode("0") == [0, 0, 0, 0]


def test_padding_zeros_are_stripped_but_an_empty_answer_is_not_zero(tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of("padded_coupled", max_digits=3)
    assert tokenizer.decode([6, 4, 0, 0]) == "46"
    assert tokenizer.decode([0, 4, 0, 0]) == "40"
    assert tokenizer.decode([0, 0, 0, 0]) == "0"
    assert tokenizer.decode([]) == ""


def test_a_reversed_answer_leaves_the_operands_as_they_are(tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of("reversed_answer_learned", max_digits=2)
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.eos_id) == (14, 12, 13)
    assert tokenizer.encode("57+68=") == [5, 7, 10, 6, 8, 11]
    assert tokenizer.encode("125") == [5, 2, 1]
    assert tokenizer.decode([5, 2, 1]) == "125"


def test_zero_padded_numbers_fill_their_slots_with_zeros_in_front(tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of("padded_learned", max_digits=3)
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.eos_id) == (14, 12, 13)
    assert tokenizer.encode("57+68=") == [0, 5, 7, 10, 0, 6, 8, 11]
    assert tokenizer.encode("125") == [0, 1, 2, 5]
    assert tokenizer.encode("0") == [0, 0, 0, 0]
    assert tokenizer.decode([0, 0, 4, 0]) == "40"
    assert tokenizer.decode([0, 0, 0, 0]) == "0"
    assert tokenizer.decode([]) == ""


def test_groups_of_two_are_aligned_at_the_units(tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of("groups_of_2_learned", max_digits=5)
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.eos_id) == (104, 102, 103)
    assert tokenizer.encode("957+8=") == [9, 57, 100, 8, 101]
    assert tokenizer.encode("12345+1005=") == [1, 23, 45, 100, 10, 5, 101]
    assert tokenizer.encode("905") == [9, 5]
    assert tokenizer.decode([9, 5]) == "905"
    assert tokenizer.decode([0]) == "0"


def test_groups_of_three_are_aligned_at_the_units(tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of("groups_of_3_learned", max_digits=5)
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.eos_id) == (1004, 1002, 1003)
    assert tokenizer.encode("957+8=") == [957, 1000, 8, 1001]
    assert tokenizer.encode("12345+1005=") == [12, 345, 1000, 1, 5, 1001]
    assert tokenizer.encode("1000005") == [1, 0, 5]
    assert tokenizer.decode([1, 0, 5]) == "1000005"


def test_ordered_pairs_tell_whose_digit_is_which(tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of("column_pairs_ordered_learned", max_digits=3)
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.eos_id) == (114, 12, 13)
    assert tokenizer.encode("57+268=") == [14 + 78, 14 + 56, 14 + 2, 10, 11]
    assert tokenizer.encode("268+57=") == [14 + 87, 14 + 65, 14 + 20, 10, 11]
    assert tokenizer.encode("325") == [3, 2, 5]


def test_index_hints_are_those_of_the_papers_example(tokenizer_of: TokenizerOf) -> None:
    """`a6b7c5+a1b6c3=a7b3c9` for 576+361=937 (Zhou et al., 2024)."""
    tokenizer = tokenizer_of("hints_learned", max_digits=3)
    symbols = {character: token_id for token_id, character in enumerate("0123456789+=")}
    symbols |= {"a": 14, "b": 15, "c": 16}
    assert (tokenizer.vocab_size, tokenizer.pad_id, tokenizer.eos_id) == (116, 12, 13)
    assert tokenizer.encode("576+361=") == [symbols[symbol] for symbol in "a6b7c5+a1b6c3="]
    assert tokenizer.encode("937") == [symbols[symbol] for symbol in "a7b3c9"]
    assert tokenizer.decode([symbols[symbol] for symbol in "a7b3c9"]) == "937"


def test_hints_stand_for_nothing_in_the_layout_and_in_the_answer(tokenizer_of: TokenizerOf) -> None:
    tokenizer = tokenizer_of("hints_random_fire", max_digits=50)
    assert {tokenizer.decode([hint]) for hint in range(14, 116)} == {""}
    assert max(tokenizer.encode(f"{'9' * 50}+1=")) == 14 + 49
