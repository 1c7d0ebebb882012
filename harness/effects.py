"""Whose idea is it? Main effects of rows and of columns in a grid of shares, with intervals.

Every cell (i, j) of the grid holds the exact match of tokenizer i with positions j. It is taken apart as

    share[i, j] = mean + row[i] + column[j] + rest[i, j],        effects summing to 0, by least squares,

on the scale of the shares themselves: an effect is the points that a tokenizer gains over the mean tokenizer, averaged
over the positions of this grid. A logit would make a difference between 0.1 % and 1 % as large as one between 10 % and
50 %. `rest` is what a pair is worth beyond its two parts: interplay, not error, where the grid holds more than noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.statistics import BOOTSTRAP_SEED, LEVEL, Counts, Estimate, stretch

NUM_DRAWS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Effects:
    """Shares in [0, 1], effects in [-1, 1]; None where a row or a column has no cell."""

    mean: Estimate
    rows: list[Estimate | None]
    columns: list[Estimate | None]
    explained_by_rows: Estimate
    """Share of the variance over the cells that the rows explain beside the columns."""
    explained_by_columns: Estimate
    """… and the columns beside the rows."""
    interplay: Estimate
    """… and neither: that of `rest`. The three add up to 1 where no cell is missing; else rows and columns share what
    cannot be told apart."""


def main_effects(grid: Sequence[Sequence[Counts | None]]) -> Effects | None:
    """The effects of a grid, or None unless two rows and two columns hold cells, and enough of them: rows that have no
    column in common, not even by way of others, cannot be told from their columns.

    The intervals come from a hierarchical bootstrap: seeds are drawn with replacement, the same for every cell, then
    binomial counts within each cell; bounds are moved out by `statistics.stretch`. With one seed they tell the luck of
    the drawn problems alone.
    """
    cells = [(i, j, counts) for i, line in enumerate(grid) for j, counts in enumerate(line) if counts is not None]
    places = np.array([(i, j) for i, j, _ in cells], np.int64).reshape(-1, 2)
    num_present = [len(set(places[:, axis])) for axis in (0, 1)]
    if min(num_present) < 2:
        return None
    num_rows, num_columns = len(grid), len(grid[0])
    fit = _Fit(places, num_rows, num_columns)
    if fit.rank < sum(num_present) - 1:
        return None
    correct = np.stack([counts.correct for _, _, counts in cells])  # (cells, seeds, digits)
    total = np.stack([counts.total for _, _, counts in cells])
    rng = np.random.RandomState(BOOTSTRAP_SEED)
    seeds = rng.randint(correct.shape[1], size=(NUM_DRAWS, correct.shape[1]))
    likely = (correct + 0.5) / (total + 1)
    drawn = rng.binomial(total[:, seeds], likely[:, seeds]) / total[:, seeds]
    draws = [fit(shares) for shares in drawn.mean(axis=(2, 3)).T]
    values = fit((correct / total).mean(axis=(1, 2)))
    low, high = values + stretch(correct.shape[1]) * (
        np.quantile(draws, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0) - values
    )
    estimates = [
        Estimate(float(value), float(min(at_least, value)), float(max(at_most, value)))
        for value, at_least, at_most in zip(values, low, high, strict=True)
    ]
    present = [set(places[:, axis].tolist()) for axis in (0, 1)]
    return Effects(
        mean=estimates[0],
        rows=[estimates[1 + i] if i in present[0] else None for i in range(num_rows)],
        columns=[estimates[1 + num_rows + j] if j in present[1] else None for j in range(num_columns)],
        explained_by_rows=_share(estimates[-3]),
        explained_by_columns=_share(estimates[-2]),
        interplay=_share(estimates[-1]),
    )


def _share(estimate: Estimate) -> Estimate:
    return Estimate(*(min(1.0, max(0.0, bound)) for bound in estimate))


class _Fit:
    """Least squares over the cells that there are, with effects that sum to 0 over the rows, and over the columns."""

    def __init__(self, places: NDArray[np.int64], num_rows: int, num_columns: int) -> None:
        self._rows, self._columns = (np.eye(size)[places[:, axis]] for axis, size in enumerate((num_rows, num_columns)))
        ones = np.ones((len(places), 1))
        # Rows and columns without a cell get no equation here: the smallest solution leaves their effect at 0.
        present = [self._rows.any(axis=0), self._columns.any(axis=0)]
        sums = np.zeros((2, 1 + num_rows + num_columns))
        sums[0, 1 : 1 + num_rows] = present[0]
        sums[1, 1 + num_rows :] = present[1]
        self._full = np.linalg.pinv(np.vstack([np.hstack([ones, self._rows, self._columns]), sums]))
        self._design = np.hstack([ones, self._rows, self._columns])
        self.rank = int(np.linalg.matrix_rank(self._design))
        self._without = [np.hstack([ones, self._columns]), np.hstack([ones, self._rows])]
        self._solved = [np.linalg.pinv(design) for design in self._without]

    def __call__(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """(cells,) -> mean, row effects, column effects, variance explained by rows, by columns, by neither."""
        effects = self._full @ np.append(shares, [0.0, 0.0])
        total = ((shares - shares.mean()) ** 2).sum()
        left = ((shares - self._design @ effects) ** 2).sum()
        without = [
            ((shares - design @ (solve @ shares)) ** 2).sum()
            for design, solve in zip(self._without, self._solved, strict=True)
        ]
        parts = [*(other - left for other in without), left]
        return np.append(effects, [part / total if total else 0.0 for part in parts])
