"""`automatic` takes away each kind of rule that it is asked to, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from automatic_probes import gradient, plain, planted

from jbackprop.verify.automatic import automatic

pytestmark = pytest.mark.usefixtures("implementation")


@pytest.mark.parametrize("options", [{}, {"optimize_remat": True}, {"symbolic_zeros": True}], ids=str)
def test_every_option_of_defvjp(options):
    x = jnp.array([0.3, 0.5])
    rule = planted(**options)
    np.testing.assert_array_equal(gradient(rule, x), [100.0, 100.0])
    np.testing.assert_allclose(gradient(automatic(rule), x), gradient(plain, x), rtol=1e-6)


def test_custom_gradient():
    @jax.custom_gradient
    def rule(x):
        return plain(x), lambda dy: (7 * dy,)

    x = jnp.array([0.3, 0.5])
    np.testing.assert_array_equal(gradient(rule, x), [7.0, 7.0])
    np.testing.assert_allclose(gradient(automatic(rule), x), gradient(plain, x), rtol=1e-6)


def test_custom_jvp_stays_unless_asked():
    @jax.custom_jvp
    def rule(x):
        return plain(x)

    rule.defjvp(lambda primals, tangents: (rule(primals[0]), 7 * tangents[0]))
    x = jnp.array([0.3, 0.5])
    f = jax.jit(lambda x: jax.checkpoint(rule)(x))
    np.testing.assert_array_equal(gradient(automatic(f), x), [7.0, 7.0])
    np.testing.assert_allclose(gradient(automatic(f, custom_jvp=True), x), gradient(plain, x), rtol=1e-6)


def test_relu_of_jax_keeps_its_convention():
    assert jax.grad(automatic(jax.nn.relu))(0.0) == 0.0
    assert jax.grad(automatic(jax.nn.relu, custom_jvp=True))(0.0) == 0.5  # of jnp.maximum


def test_leaves_the_function_as_it_was():
    rule = planted()
    x = jnp.array([0.3, 0.5])
    gradient(automatic(jax.jit(rule)), x)
    np.testing.assert_array_equal(gradient(jax.jit(rule), x), [100.0, 100.0])
    assert not hasattr(automatic(rule), "bwd")


def test_no_tracer_is_kept():
    with jax.checking_leaks():
        assert gradient(automatic(planted()), jnp.ones(2)).shape == (2,)


def test_errors_of_the_function_pass_through():
    def f(x):
        raise ValueError("these words")

    with pytest.raises(ValueError, match="these words"):
        automatic(f)(jnp.ones(2))
