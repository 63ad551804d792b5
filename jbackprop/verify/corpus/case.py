"""The shape of one row of the corpora."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jax.typing import DTypeLike


class Probe(NamedTuple):
    """A rule and the call with which it is checked: `compare_vjp(function, *args, kwargs=kwargs)`."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = {}


@dataclass(frozen=True)
class WrongRule:
    """A rule with one mistake: its kind, and the arguments whose cotangent it spoils.

    No `arguments`: the mistake is none of a single cotangent's (a wrong value, a wrong tree, ...).
    """

    name: str
    kind: str  # what was done wrong, in the words of `diagnosis.KINDS`
    arguments: tuple[str, ...]
    probe: Callable[[np.random.Generator, DTypeLike], Probe]
    dtypes: tuple[str, ...] = ("float32", "float64", "bfloat16")
    options: Mapping[str, Any] = field(default_factory=dict)  # further options of `compare_vjp`
    source: str = ""  # where this mistake was published
    same_as: tuple[str, ...] = ()  # kinds that describe the same numbers as well


@dataclass(frozen=True)
class RightRule:
    """A correct rule that tempts a checker into a false alarm, and why."""

    name: str
    temptation: str
    probe: Callable[[np.random.Generator, DTypeLike], Probe]
    dtypes: tuple[str, ...] = ("float32", "float64", "bfloat16")
    options: Mapping[str, Any] = field(default_factory=dict)
