"""How sure a measured ratio is: the median with its bootstrap interval, and the word that follows from it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SAME_WITHIN = 1.02  # an interval that lies between 1/1.02 and 1.02 is called the same
RESAMPLES = 4000


class Interval(NamedTuple):
    """The median of the ratios and the ends of its 95% interval."""

    median: float
    low: float
    high: float


def interval(ratios: Sequence[float] | np.ndarray) -> Interval:
    """Returns the median and the 2.5% and 97.5% quantiles of the medians of resamples (percentile bootstrap).

    Raises: ValueError for no ratios, and for one that is not finite.

    >>> interval([0.5, 0.5, 0.5])
    Interval(median=0.5, low=0.5, high=0.5)
    """
    values = np.asarray(ratios, float)
    if not values.size or not np.isfinite(values).all():
        raise ValueError(f"interval: ratios must be finite and at least one, got {values.tolist()}")
    resamples = np.random.default_rng(0).choice(values, (RESAMPLES, values.size))
    low, high = np.percentile(np.median(resamples, axis=1), [2.5, 97.5])
    return Interval(float(np.median(values)), float(low), float(high))


def verdict(found: Interval) -> str:
    """Returns the word for a ratio (ours) / (reference) of times.

    `same`: the whole interval is within 2% of 1. `faster`, `slower`: the whole interval is on that side of 1.
    `unclear`: the interval says none of these; more pairs or a quieter machine would.

    >>> [verdict(Interval(1.0, *ends)) for ends in ((0.4, 0.5), (0.99, 1.01), (1.01, 1.2), (0.9, 1.1))]
    ['faster', 'same', 'slower', 'unclear']
    """
    if found.low >= 1 / SAME_WITHIN and found.high <= SAME_WITHIN:
        return "same"
    if found.high < 1:
        return "faster"
    return "slower" if found.low > 1 else "unclear"
