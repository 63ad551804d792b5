"""JSON has no NaN and no infinity."""

import math
from typing import Any


def with_null(value: Any) -> Any:
    """Returns nested dictionaries and lists with None in the place of each float that is not finite.

    >>> with_null({"loss": float("nan"), "of": [1.0, float("inf"), "x"]})
    {'loss': None, 'of': [1.0, None, 'x']}
    """
    if isinstance(value, dict):
        return {key: with_null(one) for key, one in value.items()}
    if isinstance(value, list):
        return [with_null(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
