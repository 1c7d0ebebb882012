"""Main effects of a grid, against sums by hand and numpy's own least squares."""

import numpy as np
import pytest

from harness.ranking.effects import main_effects, stretch
from harness.ranking.statistics import Counts

TOTAL = 100_000_000
"""Problems of a cell: so many that luck moves nothing that is compared."""


def cell(share: float, total: int = TOTAL, seeds: int = 1) -> Counts:
    return Counts.of([[round(share * total)]] * seeds, [[total]] * seeds)


def test_a_full_grid_has_the_effects_of_its_marginal_means():
    shares = [[0.9, 0.5, 0.1], [0.5, 0.3, 0.1]]  # mean 0.4; rows 0.5, 0.3; columns 0.7, 0.4, 0.1
    effects = main_effects([[cell(share) for share in line] for line in shares])
    assert effects is not None
    assert effects.mean.value == pytest.approx(0.4)
    assert [row.value for row in effects.rows if row] == pytest.approx([0.1, -0.1])
    assert [column.value for column in effects.columns if column] == pytest.approx([0.3, 0.0, -0.3])
    # Sums of squares: rows 3 · (0.1² + 0.1²), columns 2 · (0.3² + 0.3²), in all 0.46; what is left is interplay.
    assert effects.explained_by_rows.value == pytest.approx(0.06 / 0.46)
    assert effects.explained_by_columns.value == pytest.approx(0.36 / 0.46)
    assert effects.interplay.value == pytest.approx(0.04 / 0.46)


def test_a_grid_without_interplay_is_explained_whole():
    effects = main_effects([[cell(0.2 + 0.3 * i + 0.1 * j) for j in range(3)] for i in range(2)])
    assert effects is not None
    assert effects.explained_by_rows.value + effects.explained_by_columns.value == pytest.approx(1, abs=1e-6)
    assert effects.interplay.value == pytest.approx(0, abs=1e-6)


def test_a_sum_of_two_parts_has_no_interplay_though_cells_are_missing():
    rows, columns = (0.1, 0.4, 0.7), (0.0, 0.1, 0.2)
    grid = [[None if i + j == 2 and i != j else cell(rows[i] + columns[j]) for j in range(3)] for i in range(3)]
    effects = main_effects(grid)
    assert effects is not None
    assert effects.interplay.value == pytest.approx(0, abs=1e-6)
    assert [row.value for row in effects.rows if row] == pytest.approx([-0.3, 0.0, 0.3])


def test_rows_that_share_no_column_cannot_be_told_from_their_columns():
    assert main_effects([[cell(0.9), None], [None, cell(0.1)]]) is None
    assert main_effects([[cell(0.9), cell(0.8), None], [None, cell(0.1), cell(0.2)]]) is not None


def test_cells_that_are_missing_are_left_out_of_the_least_squares():
    """Against numpy's solver on the cells that there are, with the last effects written as minus the others' sum."""
    shares = {(0, 0): 0.9, (0, 1): 0.7, (0, 2): 0.2, (1, 0): 0.6, (1, 2): 0.1, (2, 1): 0.3, (2, 2): 0.05}
    effects = main_effects([[cell(shares[i, j]) if (i, j) in shares else None for j in range(3)] for i in range(3)])
    coded = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    design = np.array([[1.0, *coded[i], *coded[j]] for i, j in shares])
    mean, *others = np.linalg.lstsq(design, np.array(list(shares.values())), rcond=None)[0]
    assert effects is not None
    assert effects.mean.value == pytest.approx(mean, abs=1e-6)
    rows, columns = others[:2], others[2:]
    assert [row.value for row in effects.rows if row] == pytest.approx([*rows, -sum(rows)], abs=1e-6)
    assert [column.value for column in effects.columns if column] == pytest.approx([*columns, -sum(columns)], abs=1e-6)


def test_a_row_without_a_cell_has_no_effect_and_moves_no_other():
    shares = [[0.9, 0.5, 0.1], [0.5, 0.3, 0.1]]
    grid = [[cell(share) for share in line] for line in shares]
    with_gap = main_effects([grid[0], [None, None, None], grid[1]])
    plain = main_effects(grid)
    assert with_gap is not None
    assert plain is not None
    assert with_gap.rows[1] is None
    assert [row.value for row in with_gap.rows if row] == pytest.approx([row.value for row in plain.rows if row])
    assert with_gap.mean.value == pytest.approx(plain.mean.value)


@pytest.mark.parametrize(
    "grid", [[[cell(0.5), cell(0.1)]], [[cell(0.5)], [cell(0.1)]], [[cell(0.5), None], [None, None]]]
)
def test_one_row_or_one_column_has_no_effects(grid):
    assert main_effects(grid) is None


def test_a_grid_in_which_all_are_alike_explains_nothing():
    effects = main_effects([[cell(0.5)] * 2] * 2)
    assert effects is not None
    assert effects.explained_by_rows.value == effects.explained_by_columns.value == 0


def test_intervals_cover_the_luck_of_the_problems_and_narrow_with_their_number():
    """The row effect of a 2 × 2 grid is half the difference of two means of two: its error follows from the counts."""
    shares = [[0.5, 0.5], [0.3, 0.3]]
    for total in (400, 40_000):
        effects = main_effects([[cell(share, total) for share in line] for line in shares])
        assert effects is not None
        assert effects.rows[0] is not None
        deviation = np.sqrt(sum(share * (1 - share) / total for line in shares for share in line)) / 4
        half_width = (effects.rows[0].high - effects.rows[0].low) / 2
        assert half_width == pytest.approx(1.96 * deviation, rel=0.12)


def test_the_luck_of_the_seeds_is_no_interplay():
    """Sums of two parts, whose every trial then misses its mark by .15: of the variance over means of five such trials
    a twentieth is luck. What rows, columns and neither explain of the sums themselves is known by hand."""
    rows, columns = np.array([0.25, 0.0, -0.25]), np.array([0.1, 0.05, 0.0, -0.05, -0.1])
    by_rows, by_columns = 5 * (rows**2).sum(), 3 * (columns**2).sum()
    rng, found, num_covered = np.random.default_rng(0), [], np.zeros(3)
    for _ in range(60):
        shares = 0.5 + rows[:, None, None] + columns[:, None] + rng.normal(0, 0.15, (3, 5, 5))
        correct = (shares.clip(0, 1) * TOTAL).astype(int)
        effects = main_effects([[Counts.of(cell[:, None], [[TOTAL]] * 5) for cell in line] for line in correct])
        assert effects is not None
        explained = (effects.explained_by_rows, effects.explained_by_columns, effects.interplay)
        truth = np.array([by_rows, by_columns, 0]) / (by_rows + by_columns)
        num_covered += [one.low <= true + 1e-9 and true <= one.high for one, true in zip(explained, truth, strict=True)]
        found.append([one.value for one in explained])
    assert np.mean(found, axis=0) == pytest.approx(truth, abs=0.02)
    assert min(num_covered) >= 54


@pytest.mark.parametrize("num_digits", [1, 3])
def test_with_one_seed_the_luck_of_the_problems_is_no_interplay(num_digits):
    """Sums of two parts, .90 to .94, counted on 2000 problems: the squares of their luck are an eighth of all."""
    rows, columns = np.array([0.01, 0.0, -0.01]), np.array([0.01, 0.005, 0.0, -0.005, -0.01])
    by_rows, by_columns = 5 * (rows**2).sum(), 3 * (columns**2).sum()
    rng, found, num_covered = np.random.default_rng(0), [], np.zeros(3)
    for _ in range(100):
        correct = rng.binomial(2000, 0.92 + rows[:, None, None] + columns[:, None], (3, 5, num_digits))
        effects = main_effects([[Counts.of([cell], [[2000] * num_digits]) for cell in line] for line in correct])
        assert effects is not None
        explained = (effects.explained_by_rows, effects.explained_by_columns, effects.interplay)
        truth = np.array([by_rows, by_columns, 0]) / (by_rows + by_columns)
        num_covered += [one.low <= true + 1e-9 and true <= one.high for one, true in zip(explained, truth, strict=True)]
        found.append([one.value for one in explained])
    assert np.mean(found, axis=0) == pytest.approx(truth, abs=0.05)
    assert min(num_covered) >= 85


def test_where_luck_may_be_all_that_cells_differ_by_nothing_is_said_to_explain_it():
    rng = np.random.default_rng(0)
    num_told = 0
    for _ in range(40):
        correct = rng.binomial(2000, 0.9, (3, 4, 1))
        effects = main_effects([[Counts.of([cell], [[2000]]) for cell in line] for line in correct])
        assert effects is not None
        three = (effects.explained_by_rows, effects.explained_by_columns, effects.interplay)
        num_told += any((one.low, one.high) != (0, 1) for one in three)
    assert num_told <= 4
    three_mistakes = main_effects([[cell(1, 2000), cell(0.9995, 2000)], [cell(0.999, 2000), cell(1, 2000)]])
    assert three_mistakes is not None
    assert (three_mistakes.interplay.low, three_mistakes.interplay.high) == (0, 1)


def test_seeds_that_disagree_widen_the_interval():
    steady = [[Counts.of([[500], [500]], [[1000], [1000]])] * 2, [Counts.of([[300], [300]], [[1000], [1000]])] * 2]
    shaky = [[Counts.of([[100], [900]], [[1000], [1000]])] * 2, [Counts.of([[300], [300]], [[1000], [1000]])] * 2]
    widths = []
    for grid in (steady, shaky):
        effects = main_effects(grid)
        assert effects is not None
        assert effects.rows[0] is not None
        assert effects.rows[0].value == pytest.approx(0.1)
        widths.append(effects.rows[0].high - effects.rows[0].low)
    assert widths[1] > 5 * widths[0]


def test_the_luck_of_two_seeds_is_subtracted_as_the_moments_say():
    """Interplay ±(m + d) and ±(m - d) in the two seeds beside a row effect ±r: (m² - d²) / (r² + m² - d²) is .75."""
    m, d, r = 0.2, 0.1, 0.1
    shares = [[[0.5 + r * i + (m + s * d) * i * j for s in (1, -1)] for j in (1, -1)] for i in (1, -1)]
    grid = [[Counts.of([[round(p * TOTAL)] for p in cell], [[TOTAL]] * 2) for cell in line] for line in shares]
    effects = main_effects(grid)
    assert effects is not None
    assert effects.interplay.value == pytest.approx((m**2 - d**2) / (r**2 + m**2 - d**2), abs=1e-4)


def test_bounds_are_widened_by_student_and_by_the_seeds_that_a_draw_repeats():
    """By the printed table of t at 97.5 %: 12.706, 4.303 and 2.776 for 1, 2 and 4 degrees of freedom."""
    for num_seeds, t in ((2, 12.706), (3, 4.303), (5, 2.776)):
        assert stretch(num_seeds) == pytest.approx(t / 1.96 * np.sqrt(num_seeds / (num_seeds - 1)), rel=1e-3)
    assert stretch(1) == 1


def test_a_grid_of_nothing_but_right_answers_may_have_been_lucky():
    effects = main_effects([[cell(1.0, 100)] * 2] * 2)
    assert effects is not None
    assert effects.mean.value == pytest.approx(1)
    assert 0.98 < effects.mean.low < 1  # of 400 right answers in all: 3 / 400 is what may be wrong (rule of three)
