"""Which of XLA's options a run is compiled with: those of its epoch and its evaluation, and of nothing else."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from jbackprop import compiler_options
from jbackprop.training.config import Config, ConfigError

Chosen = Literal["default", "threaded"]

Options = Mapping[str, Any]
"""Arguments of `jax.jit`."""
NONE: Options = MappingProxyType({})


def choose(config: Config) -> Chosen:
    """Returns `threaded` or `default`: the configured one, or for `auto` the faster.

    With threads `cnn` trains faster on two CPU cores, the more the more channels it has (docs/performance.md), on JAX
    0.11 and 0.12 by little, since more runs on threads there anyway; dense networks take as long either way. More
    simulated devices than cores lose by them, which the choice leaves aside: a run keeps its options on another mesh.

    Raises `ConfigError` where `threaded` is asked for and the backend or this version of XLA does not have it.
    """
    if config.compiler == "default" or (config.compiler == "auto" and config.network.name != "cnn"):
        return "default"
    refusal = compiler_options.refusal()
    if refusal and config.compiler == "threaded":
        raise ConfigError(f"compiler: 'threaded' is {refusal}", "compiler")
    return "default" if refusal else "threaded"


def options(chosen: Chosen) -> Options:
    """Returns the arguments of `jax.jit` for what `choose` has returned."""
    return {"compiler_options": compiler_options.THREADED} if chosen == "threaded" else NONE
