"""The two ways in which whole files of tests are run."""

import jax
import pytest


@pytest.fixture
def float64():
    """One compilation instead of two wherever a test does not ask for float32 itself."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["custom_vjp", "custom_vjp3"])
def implementation(request):
    """A test is run with both implementations of `jax.custom_vjp`: the usual one and that of JAX_CUSTOM_VJP3=1."""
    before = getattr(jax.config, "jax_custom_vjp3")  # noqa: B009 (the type checker does not know the settings)
    jax.config.update("jax_custom_vjp3", request.param == "custom_vjp3")
    yield
    jax.config.update("jax_custom_vjp3", before)
