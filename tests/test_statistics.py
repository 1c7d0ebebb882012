"""Intervals and tests, against scipy's own, examples printed in papers, formulas by hand, and simulated coverage."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from harness.ranking.statistics import (
    Counts,
    are_separated,
    difference,
    estimate,
    paired_t_test,
    separation,
    stratified_newcombe,
    stratified_wilson,
    stratified_z_test,
    t_interval,
    wilson,
)


@given(st.integers(1, 10_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_is_scipys_wilson(counts):
    correct, total = counts
    expected = scipy.stats.binomtest(correct, total).proportion_ci(method="wilson")
    value, low, high = wilson(correct, total)
    assert value == correct / total
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= value <= high <= 1


def test_a_single_trial_gets_wilsons_interval():
    assert estimate(Counts.of([[95]], [[100]])) == wilson(95, 100)


def test_the_interval_of_one_seed_at_two_numbers_of_digits_is_as_wide_as_the_binomial():
    _, low, high = estimate(Counts.of([[5000, 5000]], [[10_000, 10_000]]))
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 20_000), rel=0.001)


def test_seeds_that_agree_are_pooled():
    assert estimate(Counts.of([[90], [90], [90]], [[100]] * 3)) == wilson(270, 300)


def test_the_interval_of_seeds_that_differ_is_students():
    """Five values 0.05 apart: 2.776 · 0.0791 / √5 to either side, of which 1 cuts off what lies above."""
    found = estimate(Counts.of([[8000], [8500], [9000], [9500], [10_000]], [[10_000]] * 5))
    assert found.value == pytest.approx(0.9)
    assert found.value - found.low == pytest.approx(2.776 * 0.0791 / math.sqrt(5), rel=0.001)
    assert found.high == pytest.approx(0.9 + 2.776 * 0.0791 / math.sqrt(5), rel=0.001)


@pytest.mark.parametrize("num_seeds", [3, 5, 12])
def test_intervals_cover_the_truth_as_often_as_they_say(num_seeds):
    rng = np.random.default_rng(num_seeds)
    hits = 0
    for _ in range(2000):
        shares = np.clip(rng.normal(0.7, 0.05, size=(num_seeds, 1)), 0, 1)
        counts = Counts(correct=rng.binomial(2000, shares), total=np.full((num_seeds, 1), 2000))
        found = estimate(counts)
        hits += found.low <= 0.7 <= found.high
    # Binomial: 1900 of 2000, give or take 10.
    assert 0.935 < hits / 2000 < 0.965


def test_intervals_cover_the_mean_of_trainings_that_fail_by_themselves():
    """One of three trainings fails. By the means of the seeds alone, 92 % of such intervals hold the truth, .683."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        fails = rng.random((3, 4)) < 1 / 3
        shares = np.where(fails, rng.uniform(0, 0.3, (3, 4)), rng.uniform(0.9, 1, (3, 4)))
        found = estimate(Counts(correct=rng.binomial(2000, shares), total=np.full((3, 4), 2000)))
        hits += found.low <= (0.15 + 2 * 0.95) / 3 <= found.high
    assert hits / 1000 > 0.95


@pytest.mark.parametrize(("learning", "covered"), [(0.15, 0.56), (0.6, 0.91), (1.0, 0.98)])
def test_five_seeds_say_too_little_where_few_starts_learn(learning, covered):
    """The figures that docs/research.md warns with: a start that learns scores .9, one that does not .12."""
    rng = np.random.default_rng(0)
    truth = learning * 0.9 + (1 - learning) * 0.12
    hits = 0
    for _ in range(4000):
        shares = np.where(rng.random((5, 1)) < learning, 0.9, 0.12)
        found = estimate(Counts(correct=rng.binomial(2000, shares), total=np.full((5, 1), 2000)))
        hits += found.low <= truth <= found.high
    assert hits / 4000 == pytest.approx(covered, abs=0.015)


@pytest.mark.parametrize(("num_seeds", "separated"), [(1, 0.5), (2, 0.13), (3, 0.03), (5, 0.03)])
def test_one_or_two_seeds_separate_a_scheme_from_itself(num_seeds, separated):
    """The figures that docs/research.md warns with: of two copies of a scheme, each start scores .9 or .12."""
    rng = np.random.default_rng(0)

    def trained() -> Counts:
        shares = np.where(rng.random((num_seeds, 1)) < 0.5, 0.9, 0.12)
        return Counts(correct=rng.binomial(2000, shares), total=np.full((num_seeds, 1), 2000))

    times = [are_separated(trained(), trained()) for _ in range(1000)]
    assert np.mean(times) == pytest.approx(separated, abs=0.03 if num_seeds < 3 else 0.01)


def test_all_right_still_leaves_an_interval():
    value, low, high = estimate(Counts.of([[1000]] * 3, [[1000]] * 3))
    assert value == high == 1
    assert 0.99 < low < 1


def test_the_paired_test_is_scipys():
    rng = np.random.default_rng(0)
    one, other = rng.uniform(size=(2, 7))
    assert paired_t_test((one - other)[:, None]) == pytest.approx(scipy.stats.ttest_rel(one, other).pvalue)


def test_over_parts_that_vary_by_themselves_the_paired_test_is_scipys_of_welch():
    """The mean of the parts x and -y is half of x's mean less y's, and varies as Welch's test of two samples says."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(0.5, 0.1, size=6), rng.normal(0.4, 0.3, size=6)
    expected = scipy.stats.ttest_ind(x, y, equal_var=False)
    parts = np.stack([x, -y], axis=1)
    assert paired_t_test(parts) == pytest.approx(expected.pvalue)
    _, low, high = t_interval(parts)
    interval = expected.confidence_interval(0.95)
    assert (2 * low, 2 * high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(("difference", "p"), [(0.0, 1.0), (0.1, 0.0)])
def test_differences_without_spread_are_decided_by_their_size(difference, p):
    assert paired_t_test(np.full((5, 2), difference)) == p


def test_the_count_test_of_one_stratum_is_the_two_proportion_test_without_correction():
    one, other = Counts.of([[450]], [[500]]), Counts.of([[420]], [[500]])
    expected = scipy.stats.chi2_contingency([[450, 50], [420, 80]], correction=False).pvalue
    assert stratified_z_test(one, other) == pytest.approx(expected)


def test_the_count_test_over_two_strata_by_hand():
    one, other = Counts.of([[90, 50]], [[100, 100]]), Counts.of([[80, 40]], [[100, 100]])
    variance = 0.85 * 0.15 * 0.02 + 0.45 * 0.55 * 0.02
    expected = 2 * scipy.stats.norm.sf(0.2 / math.sqrt(variance))
    assert stratified_z_test(one, other) == pytest.approx(expected)


def test_seeds_are_pooled_by_the_count_test():
    two_seeds = stratified_z_test(Counts.of([[40], [50]], [[60], [60]]), Counts.of([[30], [40]], [[60], [60]]))
    assert two_seeds == pytest.approx(stratified_z_test(Counts.of([[90]], [[120]]), Counts.of([[70]], [[120]])))


@pytest.mark.parametrize("right", [0, 100])
def test_two_rows_all_wrong_or_all_right_are_not_separated(right):
    row = Counts.of([[right, right]], [[100, 100]])
    assert separation(row, row) == 1


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_seeds_that_disagree_are_not_separated_whatever_the_counts_say(num_seeds):
    """One seed collapses: the counts alone would call this a difference, the seeds do not."""
    steady, fickle = [[990]] * num_seeds, [[500], [990], [989], [991], [990]][:num_seeds]
    one, other = Counts.of(steady, [[1000]] * num_seeds), Counts.of(fickle, [[1000]] * num_seeds)
    assert stratified_z_test(one, other) < 1e-6
    assert separation(one, other) > 0.05


def test_trainings_whose_failures_cancel_in_the_means_are_not_separated_by_them():
    """Each seed fails at another number of digits: the means agree to a hundredth, and say nothing of other seeds."""
    cancelling = Counts.of([[990, 980, 10], [10, 990, 985], [985, 15, 990]], [[1000] * 3] * 3)
    steady = Counts.of([[300] * 3, [310] * 3, [305] * 3], [[1000] * 3] * 3)
    means = cancelling.shares.mean(axis=1, keepdims=True) - steady.shares.mean(axis=1, keepdims=True)
    assert paired_t_test(means) < 0.001
    assert separation(cancelling, steady) > 0.05
    assert difference(cancelling, steady).low < 0
    assert estimate(cancelling).low < 0.45


def test_seeds_that_agree_are_not_separated_by_less_than_the_luck_of_the_problems():
    one, other = Counts.of([[6400]] * 5, [[6400]] * 5), Counts.of([[6399]] * 5, [[6400]] * 5)
    assert paired_t_test(one.shares - other.shares) == 0
    assert separation(one, other) == stratified_z_test(one, other) > 0.02


def test_the_paired_interval_is_scipys():
    rng = np.random.default_rng(0)
    one, other = rng.uniform(size=(2, 7))
    expected = scipy.stats.ttest_rel(one, other).confidence_interval(0.95)
    value, low, high = t_interval((one - other)[:, None])
    assert value == pytest.approx((one - other).mean())
    assert (low, high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090), ((10, 10), (0, 10), 0.6075, 1.0)],
)
def test_the_interval_of_a_difference_of_counts_is_newcombes_worked_example(one, other, low, high):
    """Newcombe (1998), Statistics in Medicine 17, 873-890, table II, method 10."""
    first, second = (Counts.of([[right]], [[of]]) for right, of in (one, other))
    found = stratified_newcombe(first, second)
    assert found.value == one[0] / one[1] - other[0] / other[1]
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_over_two_strata_wilsons_distances_add_up_as_standard_errors_do():
    parts = [wilson(90, 100), wilson(50, 100)]
    both = stratified_wilson(Counts.of([[40, 30], [50, 20]], [[50, 50]] * 2))
    assert both.value == pytest.approx(0.7)
    assert both.value - both.low == pytest.approx(math.hypot(*(part.value - part.low for part in parts)) / 2)
    assert both.high - both.value == pytest.approx(math.hypot(*(part.high - part.value for part in parts)) / 2)


def test_over_two_strata_the_squares_of_newcombes_roots_add_up():
    one, other = Counts.of([[90, 50]], [[100, 100]]), Counts.of([[80, 40]], [[100, 100]])
    each = [stratified_newcombe(one.at(place), other.at(place)) for place in (0, 1)]
    both = stratified_newcombe(one, other)
    assert both.value == pytest.approx(0.1)
    assert both.value - both.low == pytest.approx(math.hypot(*(part.value - part.low for part in each)) / 2)
    assert both.high - both.value == pytest.approx(math.hypot(*(part.high - part.value for part in each)) / 2)


@pytest.mark.parametrize("num_seeds", [1, 4, 5, 7])
def test_a_difference_and_its_test_agree_on_what_is_clear(num_seeds):
    rng = np.random.default_rng(num_seeds)
    total = np.full((num_seeds, 1), 1000)
    one, near, far = (Counts(correct=rng.binomial(total, share), total=total) for share in (0.80, 0.80, 0.70))
    for other, is_apart in ((near, False), (far, True)):
        found = difference(one, other)
        assert (separation(one, other) < 0.05) is is_apart
        assert (found.low > 0 or found.high < 0) is is_apart


def test_a_gap_of_four_answers_at_the_top_is_no_separation():
    """2000 of 2000 and 1996: p is .045, and the interval of the difference holds 0; Fisher's exact p is .125."""
    best, near = (Counts.of([[correct]], [[2000]]) for correct in (2000, 1996))
    assert separation(best, near) < 0.05
    assert difference(best, near).low < 0
    assert not are_separated(best, near)
    assert are_separated(best, Counts.of([[1980]], [[2000]]))


def test_a_difference_that_every_seed_repeats_is_still_as_uncertain_as_the_problems_are_few():
    one, other = (Counts.of([[right]] * 3, [[100]] * 3) for right in (60, 50))
    assert difference(one, other) == pytest.approx(stratified_newcombe(one, other))


def test_bounds_end_at_what_a_share_and_a_difference_can_be():
    assert estimate(Counts.of([[0], [0], [900]], [[1000]] * 3)).low == 0
    one, other = Counts.of([[0], [500], [0]], [[1000]] * 3), Counts.of([[1000], [500], [1000]], [[1000]] * 3)
    assert difference(one, other).low == -1
    assert difference(other, one).high == 1


def test_an_interval_without_0_does_not_separate_where_p_is_not_below_the_level():
    one, other = Counts.of([[35]], [[50]]), Counts.of([[9]], [[20]])
    assert difference(one, other).low > 0
    assert separation(one, other) == pytest.approx(0.0505, abs=5e-5)
    assert not are_separated(one, other)
