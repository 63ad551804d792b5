"""The interval and its word, against sums that can be done by hand and against SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from jbackprop.bench.interval import Interval, interval, verdict


def exact_ends(values: np.ndarray) -> tuple[float, float]:
    """The 2.5% and 97.5% quantiles of the median of an odd number of draws with replacement, from the binomial law.

    The median of n draws is at most the k-th smallest value where more than half of the draws are.
    """
    n = len(values)
    at_most = [sum(math.comb(n, j) * (k / n) ** j * (1 - k / n) ** (n - j) for j in range(n // 2 + 1, n + 1))
               for k in range(1, n + 1)]  # fmt: skip
    ordered = np.sort(values)
    low, high = (float(ordered[np.searchsorted(at_most, q)]) for q in (0.025, 0.975))
    return low, high


@pytest.mark.parametrize("n", [5, 15, 51])
def test_the_ends_are_those_of_the_exact_bootstrap_distribution(n):
    values = np.random.default_rng(n).lognormal(0.0, 0.2, n)
    found = interval(values)
    assert found.median == np.median(values)
    ordered = list(np.sort(values))
    for end, exact in zip((found.low, found.high), exact_ends(values), strict=True):
        # 4000 resamples may land one value beside the quantile, or between two
        k = ordered.index(exact)
        assert ordered[max(k - 1, 0)] <= end <= ordered[min(k + 1, n - 1)]


def test_scipy_finds_the_same_interval():
    values = np.random.default_rng(3).normal(1.0, 0.1, 40)
    wanted = stats.bootstrap(
        (values,), np.median, method="percentile", n_resamples=4000, rng=np.random.default_rng(1)
    ).confidence_interval
    found = interval(values)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=0.01)


def test_the_interval_covers_the_true_median_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    draws = [interval(np.exp(rng.normal(0.0, 0.1, 25))) for _ in range(300)]
    covered = np.mean([found.low <= 1.0 <= found.high for found in draws])
    assert 0.90 <= covered <= 0.99


def test_one_outlier_does_not_move_the_interval_far():
    values = np.full(21, 0.5)
    values[4] = 50.0
    assert interval(values) == Interval(0.5, 0.5, 0.5)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_ratios_that_are_none_are_refused(values):
    with pytest.raises(ValueError, match="interval: ratios must be finite and at least one"):
        interval(values)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.40, 0.60, "faster"),
        (0.97, 0.999, "faster"),  # beyond 2% on one side only
        (0.97, 1.0, "unclear"),
        (0.985, 1.015, "same"),
        (1.001, 1.019, "same"),  # surely slower, and by less than anybody would notice
        (1.001, 1.021, "slower"),
        (1.5, 2.0, "slower"),
        (0.5, 2.0, "unclear"),
        (0.99, 1.03, "unclear"),
    ],
)
def test_the_word_is_what_the_interval_says(low, high, word):
    assert verdict(Interval((low + high) / 2, low, high)) == word
