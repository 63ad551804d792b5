"""The shape of one row of the registry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
from jax.typing import DTypeLike

Arguments = tuple[Any, ...]


@dataclass(frozen=True)
class Example:
    """Arguments for one call of a rule: `function(*arguments(key, dtype), **options)`.

    `reference` takes the same arrays and is what a user would write today without this library; JAX differentiates it.
    """

    label: str
    arguments: Callable[[jax.Array, DTypeLike], Arguments]
    reference: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Special:
    """A kink, tie, infinity or NaN: the value and cotangents that the convention demands (None: not stated)."""

    label: str
    arguments: Arguments
    value: Any
    cotangents: Arguments
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """A call that must raise `error` while it is traced, with `words` somewhere in the message."""

    label: str
    arguments: Callable[[], Arguments]
    error: type[Exception]
    words: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """A call that `jbackprop bench` measures, as an `Example` but large: `size` is small, medium or large.

    `products` are the multiply-adds of the forward pass by the formula, where products are what it costs.
    """

    size: str
    label: str
    arguments: Callable[[jax.Array, DTypeLike], Arguments]
    reference: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)
    products: int | None = None


@dataclass(frozen=True)
class RuleCase:
    """One rule: what it is, what it is compared with, and where it is probed."""

    name: str
    function: Callable[..., Any]
    formula: str
    shapes: str
    residuals: str
    convention: str
    source: str
    examples: tuple[Example, ...]
    special: tuple[Special, ...] = ()
    refused: tuple[Refused, ...] = ()
    benchmarks: tuple[Benchmark, ...] = ()


@dataclass(frozen=True)
class NetworkCase:
    """One network: its five functions with every option fixed, and an example of parameters and a batch."""

    name: str
    loss: Callable[..., jax.Array]
    loss_and_grads: Callable[..., tuple[jax.Array, Any]]
    params: Callable[[jax.Array, DTypeLike], Any]
    batch: Callable[[jax.Array, DTypeLike], Arguments]
    formula: str
    source: str
