"""The worked positional embeddings against their papers' formulas, computed by hand in Python floats and loops."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from harness.protocol import Kind, PositionalEmbedding, Tokenizer

TokenizerOf = Callable[..., Tokenizer]
PositionsOf = Callable[..., PositionalEmbedding]
LayoutOf = Callable[..., Tensor]

LAYOUT = torch.tensor([[0, 1, 1, 2, 1, 3, 5, 5, 5]])


def looked_up_rows(module: PositionalEmbedding, layout: Tensor) -> list[list[int]]:
    """The row of the learned table behind every position of `layout`: row r is filled with the number r."""
    table = module.get_parameter("table.weight")
    with torch.no_grad():
        table.copy_(torch.arange(len(table))[:, None].expand_as(table))
        embedding = module(layout).embedding
    assert torch.equal(embedding, embedding[..., :1].expand_as(embedding))
    return embedding[..., 0].long().tolist()


def test_the_sinusoidal_table_is_that_of_vaswani(positions_of: PositionsOf) -> None:
    table = positions_of("characters_sinusoidal", max_digits=20, max_length=63)(torch.zeros(1, 63).long()).embedding
    for p in range(63):
        for k in range(64):
            angle = p / 10000 ** (2 * k / 128)
            assert table[0, p, 2 * k].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[0, p, 2 * k + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


@pytest.mark.parametrize("name", ["column_pairs_rotated", "reversed_rotated", "characters_rotated"])
def test_the_token_embedding_is_rotated_by_the_notebooks_angles(name: str, positions_of: PositionsOf) -> None:
    terms = positions_of(name, max_digits=2, max_length=9)(LAYOUT)
    expected = [[p * 10000 ** (-i / 64) for i in range(64)] for p in range(9)]
    torch.testing.assert_close(terms.embedding_angles, torch.tensor([expected]))


def test_queries_and_keys_are_rotated_by_the_angles_of_rope(positions_of: PositionsOf) -> None:
    angles = positions_of("reversed_rope", max_digits=2, max_length=9)(LAYOUT).angles
    torch.testing.assert_close(angles[0, 1], torch.tensor([1.0, 0.1, 0.01, 0.001]))
    torch.testing.assert_close(angles[0, 8], torch.tensor([8.0, 0.8, 0.08, 0.008]))


def test_biases_fall_linearly_with_a_slope_for_each_head(positions_of: PositionsOf) -> None:
    bias = positions_of("characters_alibi", max_digits=2, max_length=9)(LAYOUT).bias
    for head in range(16):
        slope = 2 ** (-(head + 1) / 2)  # 2^(-8h / H) for H = 16, h from 1
        expected = [[-slope * max(i - j, 0) for j in range(9)] for i in range(9)]
        torch.testing.assert_close(bias[0, head], torch.tensor(expected))


@pytest.mark.parametrize("name", ["reversed_learned", "interleaved_learned"])
def test_learned_positions_are_small_at_first_and_one_row_each(name: str, positions_of: PositionsOf) -> None:
    torch.manual_seed(0)
    module = positions_of(name, max_digits=20, max_length=63)
    table = module.get_parameter("table")
    assert table.shape == (63, 128)
    assert table.std().item() == pytest.approx(0.02, rel=0.05)
    assert torch.equal(module(LAYOUT).embedding[0], table[:9])


def test_abacus_counts_from_one_inside_every_number(
    tokenizer_of: TokenizerOf, positions_of: PositionsOf, layout_of: LayoutOf
) -> None:
    layout = layout_of(tokenizer_of("reversed_abacus", max_digits=3), ["57+68=", "5+123="], answer_length=4)
    module = positions_of("reversed_abacus", max_digits=3, max_length=layout.shape[1]).eval()
    assert looked_up_rows(module, layout) == [
        [1, 2, 0, 1, 2, 0, 1, 2, 3, 4],
        [1, 0, 1, 2, 3, 0, 1, 2, 3, 4],
    ]


def test_abacus_leaves_padding_at_zero_and_stays_in_its_table_behind_the_longest_sum(positions_of: PositionsOf) -> None:
    module = positions_of("reversed_abacus", max_digits=2, max_length=12).eval()
    layout = torch.tensor([[Kind.PAD, Kind.NUMBER, Kind.PLUS, Kind.NUMBER, Kind.EQUALS, *[Kind.ANSWER] * 7]])
    assert looked_up_rows(module, layout) == [[0, 1, 0, 1, 0, 1, 2, 3, 3, 3, 3, 3]]


def test_abacus_shifts_a_whole_training_batch_by_one_k_up_to_half_the_digits(positions_of: PositionsOf) -> None:
    module = positions_of("reversed_abacus", max_digits=20, max_length=9)
    batch = LAYOUT.expand(16, -1)
    [*unshifted] = looked_up_rows(module.eval(), LAYOUT)[0]
    module.train()
    torch.manual_seed(0)
    shifts: set[int] = set()
    for _ in range(200):
        rows = looked_up_rows(module, batch)
        k = rows[0][1] - 1
        assert rows == [[row + k if row else 0 for row in unshifted]] * 16
        shifts.add(k)
    assert shifts == set(range(11))


def test_coupled_positions_are_the_significance_of_the_digits(
    tokenizer_of: TokenizerOf, positions_of: PositionsOf, layout_of: LayoutOf
) -> None:
    """`653+49=702`, the paper's running example: its operands and its answer, each from the units up."""
    tokenizer = tokenizer_of("padded_coupled", max_digits=3)
    layout = layout_of(tokenizer, ["653+49="], answer_length=6)
    module = positions_of("padded_coupled", max_digits=3, max_length=layout.shape[1]).eval()
    a, b, answer = [2, 3, 4], [2, 3, 4], [2, 3, 4, 5]
    assert looked_up_rows(module, layout) == [[*a, 1, *b, 1, *answer, 0, 0]]


def test_every_training_example_draws_its_own_start_up_to_one_more_than_the_digits(positions_of: PositionsOf) -> None:
    module = positions_of("padded_coupled", max_digits=2, max_length=9)
    layout = torch.tensor([[1, 1, 2, 1, 1, 3, 5, 5, 5]]).expand(200, -1)
    torch.manual_seed(0)
    rows = looked_up_rows(module.train(), layout)
    starts = [row[2] for row in rows]
    assert set(starts) == {1, 2, 3}
    for row, start in zip(rows, starts, strict=True):
        digits = [start + 1, start + 2]
        assert row == [*digits, start, *digits, start, *digits, start + 3]


def test_tables_end_with_the_largest_position_that_training_draws(positions_of: PositionsOf) -> None:
    abacus = positions_of("reversed_abacus", max_digits=20, max_length=63)
    coupled = positions_of("padded_coupled", max_digits=20, max_length=63)
    assert abacus.get_parameter("table.weight").shape == (1 + 21 + 10, 128)
    assert coupled.get_parameter("table.weight").shape == (1 + 21 + 21, 128)
