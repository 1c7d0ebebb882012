import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from harness.ranking.statistics import (
    Counts,
    are_separated,
    at_least,
    bootstrap,
    difference,
    estimate,
    fisher,
    paired_t_interval,
    paired_t_test,
    separation,
    sign_test,
    stratified_newcombe,
    stratified_z_test,
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


def test_the_bootstrap_of_one_seed_is_as_wide_as_the_binomial():
    _, low, high = bootstrap(Counts.of([[5000, 5000]], [[10_000, 10_000]]))
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 20_000), rel=0.1)


def test_the_bootstrap_sees_the_spread_between_seeds():
    steady = bootstrap(Counts.of([[9000]] * 5, [[10_000]] * 5))
    spread = bootstrap(Counts.of([[8000], [8500], [9000], [9500], [10_000]], [[10_000]] * 5))
    assert steady.value == spread.value == pytest.approx(0.9)
    # Student's interval of five values 0.05 apart: 2.776 · 0.0791 / √5, of which 1 cuts off what lies above.
    assert spread.value - spread.low == pytest.approx(2.776 * 0.0791 / math.sqrt(5), rel=0.1)
    assert steady.high - steady.low < 0.2 * (spread.high - spread.low)


@pytest.mark.parametrize("num_seeds", [3, 5, 12])
def test_the_bootstrap_covers_the_truth_as_often_as_it_says(num_seeds):
    rng = np.random.default_rng(num_seeds)
    hits = 0
    for _ in range(300):
        shares = np.clip(rng.normal(0.7, 0.05, size=(num_seeds, 1)), 0, 1)
        counts = Counts(correct=rng.binomial(2000, shares), total=np.full((num_seeds, 1), 2000))
        found = bootstrap(counts)
        hits += found.low <= 0.7 <= found.high
    # Binomial: 285 of 300, give or take 3.8.
    assert hits / 300 > 0.92


def test_all_right_still_leaves_an_interval():
    value, low, high = bootstrap(Counts.of([[1000]] * 3, [[1000]] * 3))
    assert value == high == 1
    assert 0.99 < low < 1


def test_the_bootstrap_answers_the_same_every_time():
    counts = Counts.of([[900, 800], [910, 790]], [[1000, 1000]] * 2)
    assert bootstrap(counts) == bootstrap(counts)


def test_the_paired_test_is_scipys():
    rng = np.random.default_rng(0)
    one, other = rng.uniform(size=(2, 7))
    assert paired_t_test(one - other) == pytest.approx(scipy.stats.ttest_rel(one, other).pvalue)


@pytest.mark.parametrize(("difference", "p"), [(0.0, 1.0), (0.1, 0.0)])
def test_differences_without_spread_are_decided_by_their_size(difference, p):
    assert paired_t_test(np.full(5, difference)) == p


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


def test_seeds_that_agree_are_not_separated_by_less_than_the_luck_of_the_problems():
    one, other = Counts.of([[6400]] * 5, [[6400]] * 5), Counts.of([[6399]] * 5, [[6400]] * 5)
    assert paired_t_test(one.shares.mean(axis=1) - other.shares.mean(axis=1)) == 0
    assert separation(one, other) == stratified_z_test(one, other) > 0.02


def test_the_paired_interval_is_scipys():
    rng = np.random.default_rng(0)
    one, other = rng.uniform(size=(2, 7))
    expected = scipy.stats.ttest_rel(one, other).confidence_interval(0.95)
    value, low, high = paired_t_interval(one - other)
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


def test_the_exact_tests_are_scipys():
    from scipy import stats

    for one, other in (((12, 20), (5, 20)), ((620, 1000), (500, 1000)), ((0, 5), (5, 5)), ((3, 3), (0, 40))):
        table = [[one[0], one[1] - one[0]], [other[0], other[1] - other[0]]]
        assert fisher(one, other) == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue)
    # The whole of the probability at a size at which whole numbers would have thousands of digits.
    assert fisher((0, 1_000_000), (500_000, 1_000_000)) == pytest.approx(1)
    assert fisher((3300, 6400), (3100, 6400)) == pytest.approx(stats.hypergeom.sf(3299, 12_800, 6400, 6400), rel=1e-8)
    for more, fewer in ((0, 0), (10, 0), (0, 10), (300, 210)):
        expected = stats.binomtest(more, more + fewer, alternative="greater").pvalue if more + fewer else 1
        assert sign_test(more, fewer) == pytest.approx(expected)
    assert at_least(40, 1000, 0.01) == pytest.approx(stats.binomtest(40, 1000, 0.01, alternative="greater").pvalue)
