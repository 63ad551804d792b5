"""The decorator of rules that have static arguments."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax

ReturnValue = TypeVar("ReturnValue")


def custom_vjp_with_static(*positions: int) -> Callable[[Callable[..., ReturnValue]], jax.custom_vjp[ReturnValue]]:
    """`partial(jax.custom_vjp, nondiff_argnums=positions)`, through which type checkers still see what is returned."""

    def decorate(function: Callable[..., ReturnValue]) -> Any:  # of another type under JAX_CUSTOM_VJP3=1
        return jax.custom_vjp(function, nondiff_argnums=positions)

    return decorate
