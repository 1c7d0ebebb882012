"""Intervals and tests for shares of exact matches: counts in, numbers out, the same numbers every time.

Counts are arrays (S, D): S seeds by D parts of equal weight, the numbers of digits or the lengths. Every trial draws
its own `fresh` problems, so the counts of two submissions are independent; seeds pair them, since a seed gives both the
same initial weights. Where all share fixed problems, as beyond the trained lengths, the counts of two submissions are
correlated and the tests too cautious; and an interval over S seeds counts those problems S times, so that it is about
those problems, and too narrow for all sums of their length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, gammaln, ndtr, ndtri, stdtr, stdtrit

LEVEL = 0.95
"""The confidence of every interval."""
NUM_DRAWS = 2000
BOOTSTRAP_SEED = 0


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
    """The mean share, with Wilson's interval for a single trial and the bootstrap's for several."""
    if counts.correct.size == 1:
        return wilson(int(counts.correct.sum()), int(counts.total.sum()))
    return bootstrap(counts)


def wilson(correct: int, total: int) -> Estimate:
    """Wilson's score interval (1927), (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n): sane at 0 and at 1 too."""
    z, share = float(ndtri(0.5 + LEVEL / 2)), correct / total
    centre = share + z**2 / (2 * total)
    spread = z * np.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    low, high = (centre - spread) / (1 + z**2 / total), (centre + spread) / (1 + z**2 / total)
    # At 0 and 1 the formula ends exactly there; its rounding errors must not cut the value off.
    return Estimate(share, float(np.clip(low, 0, share)), float(np.clip(high, share, 1)))


def bootstrap(counts: Counts) -> Estimate:
    """Hierarchical bootstrap of the mean share: seeds are drawn with replacement, then binomial counts within each.

    A seed keeps all its numbers of digits together, since they share the initial weights. Counts are drawn at
    (correct + 1/2) / (total + 1): at a plain 0 or 1 every draw would be the same and the interval would vanish.
    The bounds are then widened by `stretch`.
    """
    # numpy freezes the stream of RandomState, not that of its new generators (NEP 19): a board must not differ from
    # the one in git because somebody has another version of numpy.
    rng = np.random.RandomState(BOOTSTRAP_SEED)
    seeds = rng.randint(counts.num_seeds, size=(NUM_DRAWS, counts.num_seeds))
    total = counts.total[seeds]
    drawn = rng.binomial(total, ((counts.correct + 0.5) / (counts.total + 1))[seeds])
    means = (drawn / total).mean(axis=(1, 2))
    low, high = np.quantile(means, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    value, factor = float(counts.shares.mean()), stretch(counts.num_seeds)
    return Estimate(
        value,
        float(np.clip(value - factor * (value - low), 0, value)),
        float(np.clip(value + factor * (high - value), value, 1)),
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


def separation(one: Counts, other: Counts) -> float:
    """Two-sided p-value of "their mean shares are equal": how likely luck alone sets them this far apart.

    A test on the counts judges the luck of the problems, and with several seeds a paired t-test that of the seeds; the
    larger p of the two is taken, so that neither is forgotten. One seed tells nothing about another.
    """
    by_counts = stratified_z_test(one, other)
    if not are_paired(one, other):
        return by_counts
    return max(by_counts, paired_t_test(one.shares.mean(axis=1) - other.shares.mean(axis=1)))


def are_separated(one: Counts, other: Counts) -> bool:
    """Whether luck is an unlikely reason for their difference.

    That is so if `separation` is below 0.05 and the interval of the `difference` does not contain 0. Near 0 and 1 the
    interval is the more cautious of the two.
    """
    gap = difference(one, other)
    return separation(one, other) < 1 - LEVEL and not gap.low <= 0 <= gap.high


def difference(one: Counts, other: Counts) -> Estimate:
    """The mean share of `one` minus that of `other`, with an interval wide enough for both tests of `separation`."""
    by_counts = stratified_newcombe(one, other)
    if not are_paired(one, other):
        return by_counts
    by_seeds = paired_t_interval(one.shares.mean(axis=1) - other.shares.mean(axis=1))
    return Estimate(by_seeds.value, min(by_counts.low, by_seeds.low), max(by_counts.high, by_seeds.high))


def are_paired(one: Counts, other: Counts) -> bool:
    """Whether both have several seeds, and equally many, so that they can be compared seed by seed."""
    return one.num_seeds == other.num_seeds > 1


def paired_t_test(differences: NDArray[np.float64]) -> float:
    """p of t = mean / (s / √n) with n - 1 degrees of freedom; without spread, 1 if there is no difference, else 0."""
    mean, num_pairs = float(differences.mean()), len(differences)
    deviation = float(differences.std(ddof=1))
    if deviation < 1e-12:  # equal but for the rounding of the shares
        return 1.0 if abs(mean) < 1e-12 else 0.0
    return float(2 * stdtr(num_pairs - 1, -abs(mean) / (deviation / num_pairs**0.5)))


def paired_t_interval(differences: NDArray[np.float64]) -> Estimate:
    """mean ± t s / √n, t the quantile with n - 1 degrees of freedom; a difference of shares, so within [-1, 1]."""
    mean, num_pairs = float(differences.mean()), len(differences)
    half = float(stdtrit(num_pairs - 1, 0.5 + LEVEL / 2) * differences.std(ddof=1) / num_pairs**0.5)
    return Estimate(mean, max(-1.0, mean - half), min(1.0, mean + half))


def stratified_newcombe(one: Counts, other: Counts) -> Estimate:
    """Newcombe's hybrid score interval (1998, method 10) for the difference; seeds are pooled.

    It runs from p₁ - p₂ minus √((p₁ - l₁)² + (u₂ - p₂)²) to p₁ - p₂ plus the mirrored root, l and u being Wilson's
    bounds; over several numbers of digits the squares add up, as the variances of a mean do (Zou and Donner 2008).
    """
    n1, n2 = one.total.sum(axis=0).tolist(), other.total.sum(axis=0).tolist()
    firsts = [wilson(*counts) for counts in zip(one.correct.sum(axis=0).tolist(), n1, strict=True)]
    seconds = [wilson(*counts) for counts in zip(other.correct.sum(axis=0).tolist(), n2, strict=True)]
    strata = list(zip(firsts, seconds, strict=True))
    value = sum(p1.value - p2.value for p1, p2 in strata) / len(strata)
    below = sum((p1.value - p1.low) ** 2 + (p2.high - p2.value) ** 2 for p1, p2 in strata) ** 0.5 / len(strata)
    above = sum((p1.high - p1.value) ** 2 + (p2.value - p2.low) ** 2 for p1, p2 in strata) ** 0.5 / len(strata)
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


def at_least(successes: int, trials: int, chance: float) -> float:
    """P(X >= successes) of a binomial X: how often chance alone gives at least as many."""
    return float(bdtrc(successes - 1, trials, chance)) if successes else 1.0


def sign_test(more: int, fewer: int) -> float:
    """One-sided exact sign test: the probability of at least `more` if both outcomes were equally likely."""
    return at_least(more, more + fewer, 0.5)


def fisher(one: tuple[int, int], other: tuple[int, int]) -> float:
    """One-sided exact test (Fisher, 1922): the chance that `one`, (right, total), does at least this much better."""
    (right, total), (other_right, other_total) = one, other
    drawn = right + other_right
    k = np.arange(right, min(total, drawn) + 1)
    chances = np.exp(
        _log_choose(total, k) + _log_choose(other_total, drawn - k) - _log_choose(total + other_total, drawn)
    )
    return min(1.0, float(chances.sum()))


def _log_choose(n: int, k: NDArray[np.int64] | int) -> NDArray[np.float64]:
    """The logarithm of the number of ways to choose k of n."""
    return np.asarray(gammaln(n + 1) - gammaln(np.add(k, 1)) - gammaln(np.add(n - np.asarray(k), 1)))
