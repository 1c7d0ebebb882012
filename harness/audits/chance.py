"""How likely chance alone is to give what an audit saw: exact one-sided tests."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, gammaln


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
