"""Every test, and every docstring example, runs strictly: shapes enforced, no implicit dtype promotion, no warnings."""

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
