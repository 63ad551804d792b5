"""Refusals that every rule shares: what is static is checked when the function is traced."""

import jax.numpy as jnp
import numpy as np


def shared_float_dtype(function: str, **arrays) -> np.dtype:
    """Returns the one floating dtype of `arrays`, skipping None; raises TypeError naming the argument otherwise."""
    dtypes = {name: jnp.result_type(array) for name, array in arrays.items() if array is not None}
    for name, dtype in dtypes.items():
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"{function}: {name} is {dtype.name}, not a real floating dtype: cast it first "
                f"(images: cast to float and scale them, {name}.astype(jnp.float32) / 255)"
            )
    first, *others = dtypes
    for name in others:
        if dtypes[name] != dtypes[first]:
            raise TypeError(
                f"{function}: {first} is {dtypes[first].name} but {name} is {dtypes[name].name}: "
                f"cast one of them, {name}.astype({first}.dtype)"
            )
    return dtypes[first]


def require_equal_shapes(function: str, **arrays) -> None:
    """Raises ValueError unless the two arrays have the same shape: nothing broadcasts silently."""
    (first, a), (second, b) = arrays.items()
    if jnp.shape(a) != jnp.shape(b):
        raise ValueError(
            f"{function}: {first} has shape {jnp.shape(a)} but {second} has shape {jnp.shape(b)}: "
            f"they must be equal, nothing is broadcast (reshape one of them)"
        )
