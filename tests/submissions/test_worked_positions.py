"""The worked positional embeddings against their papers' formulas, computed by hand in Python floats and loops."""

import bisect
import math
from collections.abc import Callable

import pytest
import torch
from gallery import LEARNED, RANDOMISED, REVERSED
from torch import Tensor

from harness.protocol import Kind, PositionalEmbedding, Tokenizer

TokenizerOf = Callable[..., Tokenizer]
PositionsOf = Callable[..., PositionalEmbedding]
LayoutOf = Callable[..., Tensor]

LAYOUT = torch.tensor([[0, 1, 1, 2, 1, 3, 5, 5, 5]])


def looked_up_rows(module: PositionalEmbedding, layout: Tensor) -> list[list[int]]:
    """The row of the learned table behind every position of `layout`: row r is filled with the number r."""
    table = next(parameter for name, parameter in module.named_parameters() if name.endswith("table.weight"))
    with torch.no_grad():
        table.copy_(torch.arange(len(table))[:, None].expand_as(table))
        embedding = module(layout).embedding
    assert torch.equal(embedding, embedding[..., :1].expand_as(embedding))
    return embedding[..., 0].long().tolist()


@pytest.mark.parametrize("name", ["characters_sinusoidal", "reversed_sinusoidal", "reversed_randomised"])
def test_the_sinusoidal_table_is_that_of_vaswani(name: str, positions_of: PositionsOf) -> None:
    module = positions_of(name, max_digits=20, max_length=63).eval()
    table = module(torch.zeros(1, 63).long()).embedding
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


@pytest.mark.parametrize("name", ["characters_alibi", "reversed_alibi"])
def test_biases_fall_linearly_with_a_slope_for_each_head(name: str, positions_of: PositionsOf) -> None:
    bias = positions_of(name, max_digits=2, max_length=9)(LAYOUT).bias
    for head in range(16):
        slope = 2 ** (-(head + 1) / 2)  # 2^(-8h / H) for H = 16, h from 1
        expected = [[-slope * max(i - j, 0) for j in range(9)] for i in range(9)]
        torch.testing.assert_close(bias[0, head], torch.tensor(expected))


@pytest.mark.parametrize("name", LEARNED)
def test_learned_positions_are_small_at_first_and_one_row_each(name: str, positions_of: PositionsOf) -> None:
    torch.manual_seed(0)
    module = positions_of(name, max_digits=20, max_length=63)
    table = module.get_parameter("table")
    assert table.shape == (63, 128)
    assert table.std().item() == pytest.approx(0.02, rel=0.05)
    assert torch.equal(module(LAYOUT).embedding[0], table[:9])


@pytest.mark.parametrize("name", ["reversed_abacus", "reversed_abacus_fire"])
def test_abacus_counts_from_one_inside_every_number(
    name: str, tokenizer_of: TokenizerOf, positions_of: PositionsOf, layout_of: LayoutOf
) -> None:
    layout = layout_of(tokenizer_of(name, max_digits=3), ["57+68=", "5+123="], answer_length=4)
    module = positions_of(name, max_digits=3, max_length=layout.shape[1]).eval()
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


def test_coupled_positions_of_unpadded_numbers_are_the_significance_too(
    tokenizer_of: TokenizerOf, positions_of: PositionsOf, layout_of: LayoutOf
) -> None:
    layout = layout_of(tokenizer_of("reversed_coupled", max_digits=3), ["653+49=", "7+105="], answer_length=4)
    module = positions_of("reversed_coupled", max_digits=3, max_length=layout.shape[1]).eval()
    assert looked_up_rows(module, layout) == [
        [2, 3, 4, 1, 2, 3, 1, 2, 3, 4, 5],
        [0, 2, 1, 2, 3, 4, 1, 2, 3, 4, 5],
    ]


def test_every_training_example_draws_its_own_start_up_to_one_more_than_half_the_digits(
    positions_of: PositionsOf,
) -> None:
    module = positions_of("padded_coupled", max_digits=4, max_length=9)
    layout = torch.tensor([[1, 1, 2, 1, 1, 3, 5, 5, 5]]).expand(200, -1)
    torch.manual_seed(0)
    rows = looked_up_rows(module.train(), layout)
    starts = [row[2] for row in rows]
    assert set(starts) == {1, 2, 3}
    for row, start in zip(rows, starts, strict=True):
        digits = [start + 1, start + 2]
        assert row == [*digits, start, *digits, start, *digits, start + 3]


@pytest.mark.parametrize("name", ["reversed_abacus", "padded_coupled"])
def test_looked_up_rows_start_below_a_scaled_token_embedding(name: str, positions_of: PositionsOf) -> None:
    """A token starts as U(-0.1, 0.1) times sqrt(128): a standard deviation of 0.65."""
    torch.manual_seed(0)
    table = positions_of(name, max_digits=20, max_length=63).get_parameter("table.weight")
    assert table.std().item() == pytest.approx(0.2, rel=0.05)
    assert table.std().item() < 0.1 / math.sqrt(3) * math.sqrt(128)


def test_tables_end_with_the_largest_position_that_training_draws(positions_of: PositionsOf) -> None:
    abacus = positions_of("reversed_abacus", max_digits=20, max_length=63)
    coupled = positions_of("padded_coupled", max_digits=20, max_length=63)
    assert abacus.get_parameter("table.weight").shape == (1 + 21 + 10, 128)
    assert coupled.get_parameter("table.weight").shape == (1 + 1 + 21 + 10, 128)


def test_without_positions_every_term_is_absent(positions_of: PositionsOf) -> None:
    terms = positions_of("reversed_nope", max_digits=2, max_length=9)(LAYOUT)
    assert [terms.embedding, terms.embedding_angles, terms.angles, terms.bias] == [None] * 4


def test_distances_fall_into_the_buckets_of_t5(positions_of: PositionsOf) -> None:
    """The buckets of the published code for 32 buckets up to a distance of 128, at both sides of every border."""
    first_distance_of = [*range(17), 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]
    module = positions_of("reversed_t5", max_digits=50, max_length=200)
    with torch.no_grad():
        module.get_parameter("table").copy_(torch.arange(32.0)[:, None].expand(-1, 16))
        bias = module(torch.ones(1, 200).long()).bias
    assert bias.shape == (1, 16, 200, 200)
    found = bias[0, 3, 199].flip(0).long().tolist()  # the last query's keys, by distance
    assert found == [bisect.bisect_right(first_distance_of, distance) - 1 for distance in range(200)]
    assert not bias[0, 3].triu(1).any()


def test_kerple_falls_with_the_logarithm_of_the_distance_at_rates_kept_positive(positions_of: PositionsOf) -> None:
    module = positions_of("reversed_kerple", max_digits=2, max_length=9)
    p, a = module.get_parameter("p"), module.get_parameter("a")
    assert 0 <= p.min() < p.max() < 2
    assert 0 <= a.min() < a.max() < 1
    with torch.no_grad():
        p[:2], a[:2] = torch.tensor([1.5, -3.0]), torch.tensor([0.5, 0.0])
        bias = module(LAYOUT).bias
    for head, (rate, scale) in enumerate([(1.5, 0.5), (0.01, 0.01)]):
        expected = [[-rate * math.log(1 + scale * max(i - j, 0)) for j in range(9)] for i in range(9)]
        torch.testing.assert_close(bias[0, head], torch.tensor(expected))


def fire_by_hand(module: PositionalEmbedding, position: list[float], threshold: float) -> list[list[float]]:
    """The formula for head 5, in Python floats; keys behind the query as at distance 0."""
    weights = {name.removeprefix("fire."): value.tolist() for name, value in module.named_parameters()}
    c, t = weights["c"], weights["t"]

    def network(x: float) -> float:
        pairs = zip(weights["network.0.weight"], weights["network.0.bias"], strict=True)
        hidden = [max(0.0, weight[0] * x + bias) for weight, bias in pairs]
        return (
            sum(map(math.prod, zip(weights["network.2.weight"][5], hidden, strict=True))) + weights["network.2.bias"][5]
        )

    return [
        [network(math.log(c * max(i - j, 0) + 1) / (math.log(c * max(i, t * threshold) + 1) + 1e-6)) for j in position]
        for i in position
    ]


@pytest.mark.parametrize("name", ["reversed_fire", "reversed_random_fire", "hints_random_fire", "reversed_abacus_fire"])
def test_fire_is_a_network_of_the_normalised_log_distance(name: str, positions_of: PositionsOf) -> None:
    torch.manual_seed(0)
    module = positions_of(name, max_digits=2, max_length=12).eval()
    started = {parameter.removeprefix("fire."): value for parameter, value in module.named_parameters()}
    assert started["c"].item() == pytest.approx(0.1)
    assert started["t"].item() == 1.0
    with torch.no_grad():
        started["c"].fill_(0.7)
        started["t"].fill_(0.5)  # a threshold of 3: queries on both sides of it
        bias = module(LAYOUT).bias
    expected = fire_by_hand(module, [float(p) for p in range(9)], threshold=6)
    torch.testing.assert_close(bias[0, 5], torch.tensor(expected))


def test_randomised_fire_sees_sorted_random_places_up_to_twice_the_longest_sequence(positions_of: PositionsOf) -> None:
    """With c large the bias of neighbours tells their distance apart; by hand for the places that the seed gives."""
    module = positions_of("reversed_random_fire", max_digits=2, max_length=12).train()
    torch.manual_seed(3)
    with torch.no_grad():
        bias = module(LAYOUT).bias
    torch.manual_seed(3)
    places = sorted(torch.rand(24).argsort()[:9].tolist())
    assert places != list(range(9))
    torch.testing.assert_close(bias[0, 5], torch.tensor(fire_by_hand(module, places, threshold=6)))


def test_randomised_positions_are_a_sorted_random_subset_of_twice_the_longest_sequence(
    positions_of: PositionsOf,
) -> None:
    module = positions_of("reversed_randomised", max_digits=2, max_length=9).train()
    table = module.get_buffer("table")
    assert table.shape == (18, 128)
    torch.manual_seed(0)
    seen: set[int] = set()
    for _ in range(100):
        rows = [int((table == row).all(dim=1).nonzero()) for row in module(LAYOUT.expand(4, -1)).embedding[0]]
        assert rows == sorted(set(rows))
        assert len(rows) == 9
        seen.update(rows)
    assert seen == set(range(18))


@pytest.mark.parametrize("name", RANDOMISED)
def test_one_batch_shares_its_draw_but_for_position_coupling(name: str, positions_of: PositionsOf) -> None:
    module = positions_of(name, max_digits=20, max_length=9).train()
    torch.manual_seed(1)
    terms = module(LAYOUT.expand(64, -1))
    drawn = terms.bias if terms.embedding is None else terms.embedding
    is_shared = len(drawn) == 1 or bool((drawn == drawn[:1]).all())
    assert is_shared == ("coupled" not in name)


def test_reversed_formats_share_one_tokenizer(tokenizer_of: TokenizerOf) -> None:
    assert len(REVERSED) >= 14
    assert len({tuple(tokenizer_of(name, max_digits=3).encode("57+168=")) for name in REVERSED}) == 1
