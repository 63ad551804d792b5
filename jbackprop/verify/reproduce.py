"""What a reader needs to see the same report again: the call, versions, device and precision."""

import platform
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jbackprop.verify.arguments import argument_names, function_name


def call_in_words(f: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], options: Any) -> str:
    """Returns the call as Python, with types in the place of arrays: `compare_vjp(relu, z=float32[8,16], seed=0)`."""
    named = [*zip(argument_names(f, len(args)), args, strict=True), *kwargs.items()]
    listed = [function_name(f), *(f"{name}={_in_words(value)}" for name, value in named)]
    return f"compare_vjp({', '.join([*listed, *(f'{name}={value!r}' for name, value in options.items())])})"


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
        return _Type(leaf) if hasattr(leaf, "shape") and hasattr(leaf, "dtype") else leaf

    return repr(jax.tree.map(leaf_in_words, value))


class _Type:
    """Prints as the type of an array."""

    def __init__(self, array: Any) -> None:
        self.text = f"{array.dtype}[{','.join(map(str, array.shape))}]"

    def __repr__(self) -> str:
        return self.text
