"""Initial weights, and the check of the widths that they are made from."""

import math
from collections.abc import Sequence
from numbers import Integral

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jbackprop.networks.activations import RECTIFIERS, activation_rule


def check_widths(function: str, sizes: Sequence[int], least: int) -> None:
    """Raises ValueError unless `sizes` are at least `least` positive widths, TypeError unless they are integers."""
    example = (784, 300, 10)[:least]
    if isinstance(sizes, str) or not isinstance(sizes, Sequence):
        raise TypeError(
            f"{function}: sizes is {sizes!r}, no sequence: give (inputs, ..., outputs), for example {example}"
        )
    for width in sizes:
        if not isinstance(width, Integral):
            raise TypeError(f"{function}: sizes {tuple(sizes)} has the width {width!r}: every width is an integer")
    if len(sizes) < least:
        raise ValueError(
            f"{function}: sizes {tuple(sizes)} has {len(sizes)} of at least {least} widths: "
            f"give (inputs, ..., outputs), for example {example}"
        )
    if min(sizes) < 1:
        raise ValueError(f"{function}: sizes {tuple(sizes)} has a width below 1: every width is a positive integer")


def normal_weights(
    key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32, followed_by: str = "identity"
) -> Float[Array, "..."]:
    r"""Returns weights drawn from $N(0, 1/m)$, or $N(0, 2/m)$ where a rectifier follows and loses half of the signal.

    $m$ is the fan-in: the product of all axes but the last, for matrices `(i, o)` and kernels `(h, w, i, o)` alike.

    >>> weights = normal_weights(jax.random.key(0), (400, 1000), followed_by="relu")
    >>> bool(abs(weights.std() - (2 / 400) ** 0.5) < 1e-3)
    True
    """
    activation_rule(followed_by)
    gain = 2.0 if followed_by in RECTIFIERS else 1.0
    return jax.random.normal(key, shape, dtype) * math.sqrt(gain / math.prod(shape[:-1]))
