"""The exact tests of the audits, against scipy's."""

import pytest
from scipy import stats

from harness.audits.chance import at_least, fisher, sign_test


@pytest.mark.parametrize(
    ("one", "other"), [((12, 20), (5, 20)), ((620, 1000), (500, 1000)), ((0, 5), (5, 5)), ((3, 3), (0, 40))]
)
def test_fishers_test_is_scipys(one: tuple[int, int], other: tuple[int, int]) -> None:
    table = [[one[0], one[1] - one[0]], [other[0], other[1] - other[0]]]
    assert fisher(one, other) == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue)


def test_fishers_test_is_exact_where_whole_numbers_would_have_thousands_of_digits() -> None:
    assert fisher((0, 1_000_000), (500_000, 1_000_000)) == pytest.approx(1)
    assert fisher((3300, 6400), (3100, 6400)) == pytest.approx(stats.hypergeom.sf(3299, 12_800, 6400, 6400), rel=1e-8)


@pytest.mark.parametrize(("more", "fewer"), [(10, 0), (0, 10), (300, 210)])
def test_the_sign_test_is_scipys_binomial_test(more: int, fewer: int) -> None:
    expected = stats.binomtest(more, more + fewer, alternative="greater").pvalue
    assert sign_test(more, fewer) == pytest.approx(expected)


def test_the_sign_test_of_nothing_tells_nothing() -> None:
    assert sign_test(0, 0) == 1


def test_the_binomial_tail_is_scipys() -> None:
    assert at_least(40, 1000, 0.01) == pytest.approx(stats.binomtest(40, 1000, 0.01, alternative="greater").pvalue)
