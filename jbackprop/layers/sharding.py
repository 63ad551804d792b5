"""A cotangent has the dtype of its primal and lies on the devices as it does: in a custom rule nobody sees to it."""

from typing import Any

import jax
from jaxtyping import Array


def cotangent_of(primal: Array, wide: Array) -> Array:
    """Returns the cotangent of `primal` from a sum that was carried in float32 at least.

    Under `shard_map` a primal that is replicated among devices gets the sum of their shares.
    """
    shared = tuple(_varying(wide) - _varying(primal))
    return (jax.lax.psum(wide, shared) if shared else wide).astype(primal.dtype)


def explicit_sharding(primal: Array) -> Any:
    """Returns the sharding of `primal` where a product has to be told it; else None."""
    sharding = jax.typeof(primal).sharding
    if jax.sharding.AxisType.Explicit not in getattr(sharding.mesh, "axis_types", ()):
        return None
    return sharding


def _varying(array: Array) -> frozenset[str]:
    return frozenset(getattr(getattr(jax.typeof(array), "manual_axis_type", None), "varying", ()))
