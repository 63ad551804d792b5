"""Where a rule may take the formulation that is fast on one CPU."""

import jax
from jaxtyping import Array

from jbackprop.layers.sharding import explicit_sharding


def on_one_cpu(*arrays: Array) -> bool:
    """Whether a program with these arrays runs on the CPU as a single device, and their sizes are known.

    They are not while a program with a symbolic batch is exported. Any formulation is right anywhere: a program of
    known sizes that is exported from a CPU for another platform keeps the one chosen here.
    """
    alone = jax.default_backend() == "cpu" and jax.device_count() == 1
    known = all(isinstance(size, int) for array in arrays for size in array.shape)
    return alone and known and not any(map(explicit_sharding, arrays))
