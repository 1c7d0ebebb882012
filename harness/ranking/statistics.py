"""Intervals and tests for shares of exact matches: counts in, numbers out, the same numbers every time.

Counts are arrays (S, D): S seeds by D parts of equal weight, the numbers of digits or the lengths. Every trial draws
its own fresh problems, so the counts of two submissions are independent; seeds pair them, since a seed gives both the
same initial weights.

How far other seeds would move a mean over D parts is estimated in two ways, and the larger estimate counts. Lengths of
one training rise and fall together: there the spread of the seeds' means tells. Trainings with different numbers of
digits fail by themselves: with three seeds such failures may cancel by accident, so that the means agree although
hardly two scores do, and there the spread of the seeds within each part tells.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

LEVEL = 0.95
"""The confidence of every interval."""


class Estimate(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Counts:
    """Right answers and all answers, (S, D) each."""

    correct: NDArray[np.int64]
    total: NDArray[np.int64]

    @classmethod
    def of(cls, correct: Sequence[Sequence[int]], total: Sequence[Sequence[int]]) -> "Counts":
        return cls(correct=np.asarray(correct, np.int64), total=np.asarray(total, np.int64))

    @property
    def num_seeds(self) -> int:
        return len(self.correct)

    @property
    def shares(self) -> NDArray[np.float64]:
        return self.correct / self.total

    def at(self, place: int) -> "Counts":
        """The counts of one part alone, (S, 1)."""
        return Counts(correct=self.correct[:, [place]], total=self.total[:, [place]])


def estimate(counts: Counts) -> Estimate:
    """The mean share, with the widest of its intervals: Wilson's, and with several seeds those of Student's t.

    Wilson's tells the luck of the problems, Student's that of the seeds, by their means and within each part.
    """
    value = float(counts.shares.mean())
    found = [stratified_wilson(counts)]
    if counts.num_seeds > 1:
        found += map(t_interval, _ways_to_average(counts.shares))
    low, high = min(each.low for each in found), max(each.high for each in found)
    return Estimate(value, float(np.clip(low, 0, value)), float(np.clip(high, value, 1)))


def wilson(correct: int, total: int) -> Estimate:
    """Wilson's score interval (1927), (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n): sane at 0 and at 1 too."""
    z, share = float(ndtri(0.5 + LEVEL / 2)), correct / total
    centre = share + z**2 / (2 * total)
    spread = z * np.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    low, high = (centre - spread) / (1 + z**2 / total), (centre + spread) / (1 + z**2 / total)
    # At 0 and 1 the formula ends exactly there; its rounding errors must not cut the value off.
    return Estimate(share, float(np.clip(low, 0, share)), float(np.clip(high, share, 1)))


def separation(one: Counts, other: Counts) -> float:
    """Two-sided p-value of "their mean shares are equal": how likely luck alone sets them this far apart.

    A test on the counts judges the luck of the problems, and with several seeds paired t-tests that of the seeds, once
    by their means and once within each part; the largest p is taken, so that nothing is forgotten. One seed tells
    nothing about another.
    """
    by_counts = stratified_z_test(one, other)
    if not are_paired(one, other):
        return by_counts
    return max(by_counts, *map(paired_t_test, _ways_to_average(one.shares - other.shares)))


def are_separated(one: Counts, other: Counts) -> bool:
    """Whether luck is an unlikely reason for their difference.

    That is so if `separation` is below 0.05 and the interval of the `difference` does not contain 0. Near 0 and 1 the
    interval is the more cautious of the two.
    """
    gap = difference(one, other)
    return separation(one, other) < 1 - LEVEL and not gap.low <= 0 <= gap.high


def difference(one: Counts, other: Counts) -> Estimate:
    """The mean share of `one` minus that of `other`, with an interval wide enough for every test of `separation`."""
    by_counts = stratified_newcombe(one, other)
    if not are_paired(one, other):
        return by_counts
    found = [by_counts, *map(t_interval, _ways_to_average(one.shares - other.shares))]
    low, high = min(each.low for each in found), max(each.high for each in found)
    return Estimate(found[-1].value, max(-1.0, low), min(1.0, high))


def are_paired(one: Counts, other: Counts) -> bool:
    """Whether both have several seeds, and equally many, so that they can be compared seed by seed."""
    return one.num_seeds == other.num_seeds > 1


def _ways_to_average(values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Values (S, D) as the means of the seeds, (S, 1), and as D parts that vary by themselves."""
    return [values.mean(axis=1, keepdims=True), values]


class Spread(NamedTuple):
    """How uncertain a mean is: its standard error, and the degrees of freedom of that."""

    error: float
    degrees: float


def spread_of_parts(values: NDArray[np.float64]) -> Spread:
    """Of the mean of values (S, D) whose D parts vary by themselves: √(Σ s² / S) / D, s² the variance within a part.

    With a single part this is s / √S with S - 1 degrees of freedom; with more, the degrees are those of Satterthwaite
    (1946) and Welch (1947), (S - 1) (Σ s²)² / Σ s⁴: S - 1 where one part varies, D (S - 1) where all do alike.
    """
    num_values, num_parts = values.shape
    variances = values.var(axis=0, ddof=1)
    # Without any spread the degrees are undefined, and do not matter.
    ratio = float(variances.sum() ** 2 / (variances**2).sum()) if variances.any() else 1.0
    return Spread(float((variances.sum() / num_values) ** 0.5 / num_parts), ratio * (num_values - 1))


def paired_t_test(differences: NDArray[np.float64]) -> float:
    """p of t = mean / error for differences (S, D), by `spread_of_parts`; without spread, 1 at a mean of 0, else 0."""
    mean, (error, degrees) = float(differences.mean()), spread_of_parts(differences)
    if error < 1e-12:  # equal but for the rounding of the shares
        return 1.0 if abs(mean) < 1e-12 else 0.0
    return float(2 * stdtr(degrees, -abs(mean) / error))


def t_interval(values: NDArray[np.float64]) -> Estimate:
    """mean ± t error for values (S, D), by `spread_of_parts`."""
    mean, (error, degrees) = float(values.mean()), spread_of_parts(values)
    half = float(stdtrit(degrees, 0.5 + LEVEL / 2)) * error
    return Estimate(mean, mean - half, mean + half)


def stratified_wilson(counts: Counts) -> Estimate:
    """The mean of the parts' shares, seeds pooled, with its score interval.

    It runs from p minus √Σ(pₖ - lₖ)² / D to p plus √Σ(uₖ - pₖ)² / D, l and u being Wilson's bounds of a part: the
    distances add up as the standard errors of a mean do (Zou and Donner 2008).
    """
    right, total = counts.correct.sum(axis=0).tolist(), counts.total.sum(axis=0).tolist()
    parts = np.array([wilson(*part) for part in zip(right, total, strict=True)])
    value = parts[:, 0].mean()
    below, above = (np.linalg.norm(parts[:, 0] - parts[:, bound]) / len(parts) for bound in (1, 2))
    return Estimate(float(value), float(value - below), float(value + above))


def stratified_newcombe(one: Counts, other: Counts) -> Estimate:
    """Newcombe's hybrid score interval (1998, method 10) for the difference; seeds are pooled.

    It runs from p₁ - p₂ minus √((p₁ - l₁)² + (u₂ - p₂)²) to p₁ - p₂ plus the mirrored root, l and u being the bounds
    of `stratified_wilson`.
    """
    first, second = stratified_wilson(one), stratified_wilson(other)
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, value - below, value + above)


def stratified_z_test(one: Counts, other: Counts) -> float:
    """p of z = Σ(p₁ - p₂) / √Σ p(1-p)(1/n₁ + 1/n₂), summed over digits; seeds pooled, p the share of both together."""
    n1, n2 = one.total.sum(axis=0), other.total.sum(axis=0)
    right1, right2 = one.correct.sum(axis=0), other.correct.sum(axis=0)
    pooled = (right1 + right2) / (n1 + n2)
    variance = float((pooled * (1 - pooled) * (1 / n1 + 1 / n2)).sum())
    if variance == 0:  # at every number of digits, both have everything right or both everything wrong
        return 1.0
    return float(2 * ndtr(-abs(float((right1 / n1 - right2 / n2).sum())) / variance**0.5))
