"""Every test, and every docstring example, runs strictly: shapes enforced, no implicit dtype promotion, no warnings."""

import os
from importlib.metadata import version

# Compilation is most of the suite's time, and code that LLVM optimises less computes the same. Read when JAX starts.
# The older code generator compiles twice as fast; jaxlib from 0.11 on is without it, and refuses the flag.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else "",
    ]
).strip()

import jax
import jaxtyping
import pytest

jaxtyping.install_import_hook("jbackprop", "beartype.beartype")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def as_users_see_it():
    """Without the shape annotations: users do not have the import hook, and must meet our own words instead."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True, scope="module")
def compiled_programs_end_with_their_file():
    """The more programs a process holds, the longer one more takes to compile: twice as long after two thousand."""
    yield
    jax.clear_caches()
