"""Options of XLA's compiler that pay for some programs. Each is given to one outermost `jax.jit`: nothing is global."""

from importlib.metadata import version

import jax
import numpy as np

# Convolutions by threads: XLA's default on the CPU runs them on one. See docs/performance.md.
THREADED = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"}


def refusal() -> str | None:
    """Returns why `THREADED` cannot be had here, another backend or a version of XLA without it, or None."""
    if jax.default_backend() != "cpu":
        return f"a compiler option of the CPU, and JAX computes on {jax.default_backend()}"
    try:  # an experimental option: versions without it refuse to compile anything
        jax.jit(lambda: np.float32(0), compiler_options=dict(THREADED)).lower().compile()
    except jax.errors.JaxRuntimeError as error:
        return f"a compiler option that jaxlib {version('jaxlib')} does not have ({error})"
    return None
