"""Refusals that every rule shares: what is static is checked when the function is traced."""

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_SUPPORTED = ("bfloat16", "float16", "float32", "float64")


def shared_float_dtype(function: str, optional: tuple[str, ...] = (), **arrays) -> np.dtype:
    """Returns the one floating dtype of `arrays`, of which the `optional` may be None; raises TypeError otherwise."""
    dtypes = {}
    for name, array in arrays.items():
        if array is None and name in optional:
            continue
        require_array(function, name, array)
        dtypes[name] = dtype = jnp.result_type(array)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"{function}: {name} is {dtype.name}, not a real floating dtype: {_remedy(name, dtype)}")
        if dtype.name not in _SUPPORTED:
            raise TypeError(f"{function}: {name} is {dtype.name}: cast it to one of {', '.join(_SUPPORTED)}")
    first, *others = dtypes
    for name in others:
        if dtypes[name] != dtypes[first]:
            raise TypeError(
                f"{function}: {first} is {dtypes[first].name} but {name} is {dtypes[name].name}: "
                f"cast one of them, {name}.astype({first}.dtype)"
            )
    return dtypes[first]


def _remedy(name: str, dtype: np.dtype) -> str:
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return f"give {name}.real or abs({name})"
    if dtype == jnp.uint8:
        return f"cast it first (images: cast to float and scale them, {name}.astype(jnp.float32) / 255)"
    return f"cast it, {name}.astype(jnp.float32)"


def require_array(function: str, name: str, value: Any) -> None:
    """Raises TypeError for a list, None and whatever else is neither an array nor a number."""
    if not isinstance(value, jax.Array | np.ndarray | np.generic | int | float | complex):
        raise TypeError(f"{function}: {name} is a {type(value).__name__}: give an array, jnp.asarray({name})")


def static_number(function: str, name: str, value: Any) -> float:
    """Returns an option as a number of Python, which leaves the dtype of arrays alone; raises TypeError otherwise."""
    if not isinstance(value, str):
        with contextlib.suppress(TypeError, ValueError):
            return float(value)
    raise TypeError(f"{function}: {name} is {value!r}: give one number")


def require_equal_shapes(function: str, **arrays) -> None:
    """Raises ValueError unless the two arrays have the same shape: nothing broadcasts silently."""
    (first, a), (second, b) = arrays.items()
    if jnp.shape(a) != jnp.shape(b):
        raise ValueError(
            f"{function}: {first} has shape {jnp.shape(a)} but {second} has shape {jnp.shape(b)}: "
            f"they must be equal, nothing is broadcast (reshape one of them)"
        )
