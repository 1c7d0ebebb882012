"""Whose idea is it? Main effects of rows and of columns in a grid of shares, with intervals.

Every cell (i, j) of the grid holds the exact match of tokenizer i with positions j. It is decomposed as

    share[i, j] = mean + row[i] + column[j] + rest[i, j],        effects summing to 0, by least squares,

on the scale of the shares themselves: an effect is how many points a tokenizer gains over the mean tokenizer, averaged
over the positions of this grid. On a logit scale, a difference between 0.1 % and 1 % would be as large as one between
10 % and 50 %. `rest` is what a pair is worth beyond its two parts: interplay, once the luck of the seeds, or with one
seed that of the problems, is subtracted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from harness.ranking.statistics import LEVEL, Counts, Estimate

NUM_DRAWS = 1000
BOOTSTRAP_SEED = 0
TINY = 1e-12
"""Up to here, a sum of squares is nothing but rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Effects:
    """Shares in [0, 1], effects in [-1, 1]; None where a row or a column has no cell."""

    mean: Estimate
    rows: list[Estimate | None]
    columns: list[Estimate | None]
    explained_by_rows: Estimate
    """Share of the variance over the cells that the rows explain in addition to the columns."""
    explained_by_columns: Estimate
    """Share that the columns explain in addition to the rows."""
    interplay: Estimate
    """Share that neither explains: that of `rest`.

    The three add up to 1 where no cell is missing and none of the three had to be raised to 0; with missing cells, rows
    and columns share a part that cannot be told apart.
    """


def main_effects(grid: Sequence[Sequence[Counts | None]]) -> Effects | None:
    """The effects of a grid, or None if its cells do not determine them.

    To determine them takes two rows and two columns with cells, and enough of these: the effects of rows that have no
    column in common, not even by way of other rows, cannot be told from those of their columns.

    The intervals come from a hierarchical bootstrap: seeds are drawn with replacement, the same for every cell, then
    binomial counts within each cell; the bounds are widened by `stretch`. With one seed they tell of the luck of the
    drawn problems alone. Where luck may be all that the cells differ by, any share may be true: from 0 to 1.
    """
    cells = [(i, j, counts) for i, line in enumerate(grid) for j, counts in enumerate(line) if counts is not None]
    places = np.array([(i, j) for i, j, _ in cells], np.int64).reshape(-1, 2)
    present = [set(places[:, axis].tolist()) for axis in (0, 1)]
    if min(map(len, present)) < 2:
        return None
    num_rows, num_columns = len(grid), len(grid[0])
    fit = _Fit(places, num_rows, num_columns)
    if fit.rank < sum(map(len, present)) - 1:
        return None
    correct = np.stack([counts.correct for _, _, counts in cells])  # (cells, seeds, digits)
    total = np.stack([counts.total for _, _, counts in cells])
    # numpy freezes the stream of RandomState, not that of its new generators (NEP 19): a report must not differ from
    # the one in git because somebody has another version of numpy.
    rng = np.random.RandomState(BOOTSTRAP_SEED)
    seeds = rng.randint(correct.shape[1], size=(NUM_DRAWS, correct.shape[1]))
    likely = (correct + 0.5) / (total + 1)
    drawn = rng.binomial(total[:, seeds], likely[:, seeds]) / total[:, seeds]  # (cells, draws, seeds, digits)
    shares = (correct / total)[:, None]  # (cells, 1, seeds, digits)
    factor = stretch(shares.shape[2])
    effects = fit.effects(shares.mean(axis=(2, 3)))[:, 0]
    mean, *others = _estimates(effects, fit.effects(drawn.mean(axis=(2, 3))) - effects[:, None], factor)
    # Drawing adds noise to counts that already hold some, and `luck` takes away one layer of it. So the error of a draw
    # is its distance from the grid's value with its own noise left in, not from the corrected one.
    around = fit.squares(shares)
    squares, drawn_squares = (fit.squares(some) - fit.luck(some, total) for some in (shares, drawn))
    (variance,) = _estimates(squares[3], drawn_squares[3:] - around[3:], factor)
    explained = _estimates(_explained(squares)[:, 0], _explained(drawn_squares) - _explained(around), factor)
    if variance.low <= 0:  # a share of what may be nothing can be anything
        explained = [Estimate(one.value, 0.0, 1.0) for one in explained]
    by_rows, by_columns, interplay = (Estimate(*np.clip(one, 0, 1).tolist()) for one in explained)
    return Effects(
        mean=mean,
        rows=[others[i] if i in present[0] else None for i in range(num_rows)],
        columns=[others[num_rows + j] if j in present[1] else None for j in range(num_columns)],
        explained_by_rows=by_rows,
        explained_by_columns=by_columns,
        interplay=interplay,
    )


def stretch(num_seeds: int) -> float:
    """The factor by which a bootstrap over few seeds is too narrow: t / z √(S / (S - 1)), which is 2.7 at three seeds.

    Seeds drawn with replacement spread less, by a factor √((S - 1) / S), than all possible seeds do, and a spread
    estimated from S of them has Student's tails. One seed tells nothing about it: 1.
    """
    if num_seeds == 1:
        return 1.0
    quantile = 0.5 + LEVEL / 2
    return float(stdtrit(num_seeds - 1, quantile) / ndtri(quantile) * (num_seeds / (num_seeds - 1)) ** 0.5)


def _estimates(values: NDArray[np.float64], errors: NDArray[np.float64], factor: float) -> list[Estimate]:
    """Estimates of values, (n,), with bounds from the quantiles of their errors, (n, draws), widened by `factor`."""
    low, high = np.quantile(errors, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=1)
    bounds = np.stack([values, values + factor * np.minimum(low, 0), values + factor * np.maximum(high, 0)])
    return [Estimate(*one) for one in bounds.T.tolist()]


def _explained(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4, n) -> (3, n): the shares of the total that rows, columns and neither explain."""
    parts, total = np.maximum(squares[:3], 0), squares[3]
    return np.divide(parts, total, out=np.zeros(parts.shape), where=total > TINY).clip(0, 1)


class _Fit:
    """Least squares over the cells that exist, with effects that sum to 0 over the rows, and over the columns."""

    def __init__(self, places: NDArray[np.int64], num_rows: int, num_columns: int) -> None:
        self._rows, self._columns = (np.eye(size)[places[:, axis]] for axis, size in enumerate((num_rows, num_columns)))
        ones = np.ones((len(places), 1))
        # Rows and columns without a cell get no equation here: the solution of least norm leaves their effect at 0.
        present = [self._rows.any(axis=0), self._columns.any(axis=0)]
        sums = np.zeros((2, 1 + num_rows + num_columns))
        sums[0, 1 : 1 + num_rows] = present[0]
        sums[1, 1 + num_rows :] = present[1]
        self._design = np.hstack([ones, self._rows, self._columns])
        self._full = np.linalg.pinv(np.vstack([self._design, sums]))
        self.rank = int(np.linalg.matrix_rank(self._design))
        self._without = [np.hstack([ones, self._columns]), np.hstack([ones, self._rows])]
        self._solved = [np.linalg.pinv(design) for design in self._without]

    def effects(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """(cells, n) -> (1 + rows + columns, n): the mean, row effects, column effects."""
        return self._full @ np.vstack([shares, np.zeros((2, shares.shape[1]))])

    def squares(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """(cells, n, seeds, digits) -> (4, n): `_squares` of the cells' means."""
        return self._squares(shares.mean(axis=(2, 3)))

    def luck(self, shares: NDArray[np.float64], total: NDArray[np.int64]) -> NDArray[np.float64]:
        """(cells, n, seeds, digits) -> (4, n): how much too large luck makes each sum of squares q, on average.

        Means over S seeds differ by luck too: by Σ q(d_s) / (S (S - 1)), where d_s is how seed s differs from the mean,
        as the method of moments of an analysis of variance has it. One seed tells nothing about that, only about the
        luck of its problems, which is independent in each cell i: Σ q(e_i) Var_i, where e_i is 1 in cell i and 0
        elsewhere, and Var_i = Σ p (1 - p) / N / D² over the D numbers of digits, with N problems at each.

        Args:
            total: the numbers of problems, (cells, seeds, digits).
        """
        num_cells, num_draws, num_seeds, num_digits = shares.shape
        if num_seeds == 1:
            variances = (shares * (1 - shares) / total[:, None]).sum(axis=(2, 3)) / num_digits**2
            return self._squares(np.eye(num_cells)) @ variances
        means = shares.mean(axis=3)
        off = self._squares((means - means.mean(axis=2, keepdims=True)).reshape(num_cells, -1))
        return off.reshape(4, num_draws, num_seeds).sum(axis=2) / (num_seeds * (num_seeds - 1))

    def _squares(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """(cells, n) -> (4, n): the sums of squares that rows, columns and neither explain, and the total."""
        left = ((shares - self._design @ self.effects(shares)) ** 2).sum(axis=0)
        by_rows, by_columns = (
            ((shares - design @ (solve @ shares)) ** 2).sum(axis=0) - left
            for design, solve in zip(self._without, self._solved, strict=True)
        )
        return np.stack([by_rows, by_columns, left, ((shares - shares.mean(axis=0)) ** 2).sum(axis=0)])
