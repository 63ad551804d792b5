"""What a reader needs to see the same report again: the call, versions, device and precision."""

import platform
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jbackprop.verify.arguments import function_name


def call_in_words(
    f: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], options: dict[str, Any]
) -> str:
    """Returns the call as Python, with types in the place of arrays: `compare_vjp(relu, float32[8,16], seed=0)`."""
    given = options | ({"kwargs": dict(kwargs)} if kwargs else {})
    words = [function_name(f), *map(_in_words, args), *(f"{name}={_in_words(value)}" for name, value in given.items())]
    return f"compare_vjp({', '.join(words)})"


def environment() -> dict[str, str]:
    """Returns the versions and the device of this process."""
    device = jax.devices()[0]
    return {
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": f"{len(jax.devices())} x {device.device_kind}",
        "x64": str(bool(jax.config.read("jax_enable_x64"))),
    }


def _in_words(value: Any) -> str:
    def leaf_in_words(leaf: Any) -> Any:
        if callable(leaf):
            return _Words(function_name(leaf))
        typed = hasattr(leaf, "shape") and hasattr(leaf, "dtype")
        return _Words(f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]") if typed else leaf

    return repr(jax.tree.map(leaf_in_words, value))


class _Words:
    """Prints as the type of an array or the name of a function does, without quotes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text
