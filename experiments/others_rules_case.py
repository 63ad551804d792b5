"""One rule that somebody else wrote, and how it is called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np


class Checked(NamedTuple):
    """A call for `compare_vjp`: the function, its arguments and the options."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    options: Mapping[str, Any] = {}


@dataclass(frozen=True)
class OthersRule:
    """A rule of a public package; `expected` is what the checker said when somebody last looked, and `remark` why."""

    package: str  # the name that pip installs
    name: str
    why: str  # what the rule is there for
    probe: Callable[[], Checked]  # imports the package, so a missing one raises ImportError here
    expected: str  # "ok", "another subgradient" or the arguments and clauses that are wrong
    remark: str = ""


def normal(*shape: int, seed: int = 0) -> Any:
    """Returns float32 numbers from a standard normal distribution."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def positive(*shape: int, low: float = 0.2, high: float = 3.0, seed: int = 0) -> Any:
    """Returns float32 numbers between `low` and `high`."""
    return jnp.asarray(np.random.default_rng(seed).uniform(low, high, shape), jnp.float32)


def f32(*numbers: Any) -> Any:
    """Returns the numbers as one float32 array."""
    return jnp.asarray(numbers, jnp.float32)


def outcome(report: Any) -> str:
    """Returns a report in a few words, as `OthersRule.expected` has it."""
    if not report.ok:
        clauses = [check.name for check in report.checks if not check.ok]
        return "wrong: " + ", ".join([*(f"d{name}" for name in report.wrong), *clauses])
    return "another subgradient" if any("subgradient" in row.verdict for row in report.rows) else "ok"
