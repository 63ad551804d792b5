"""A program that names narrower floats, carried out in float64, is the program without their names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradient_probes import normal, rule
from jax.extend.core import jaxpr_as_fun

from jbackprop import compare_vjp
from jbackprop.verify.bounds import coarsest_epsilon, epsilon
from jbackprop.verify.float64 import float64_scope
from jbackprop.verify.widen import AsTraced, carried_in_float64, constant_epsilon, widened

EXACT, SINGLE, HALF = epsilon(jnp.float64), epsilon(jnp.float32), epsilon(jnp.bfloat16)


def scan(x, cast):
    return jax.lax.scan(lambda c, row: (cast(jnp.tanh(c * 0.1 + row)), cast(c)), cast(x[0]), cast(x))


def loop(x, cast):
    return jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, cast(c[1] * 1.1)), (0, cast(x)))[1]


def branches(x, cast):
    return jax.lax.cond(x.sum() > 0, lambda a: 2 * a, lambda a: a / 3, cast(x))


def scatter(x, cast):
    return jnp.zeros_like(cast(x)).at[jnp.array([0, 2, 2])].add(cast(x[:3]))


def reductions(x, cast):
    return (
        cast(x).mean(),
        jax.lax.reduce(cast(x), cast(jnp.zeros_like(x[0, 0])), jax.lax.mul, (0,)),
        jnp.cumsum(cast(x)),
    )


def called(x, cast):
    return jax.checkpoint(jax.jit(lambda z: jax.nn.silu(cast(z))))(x)


def product(x, cast):
    return jnp.einsum("nd,md->nm", cast(x), cast(x), preferred_element_type=cast(x).dtype)


def logarithms(x, cast):
    return jax.nn.log_softmax(cast(x)), jax.nn.logsumexp(cast(x), axis=0)


def inverse(x, cast):
    return jnp.linalg.slogdet(cast(x[:4, :4]) + 3 * cast(jnp.eye(4)))


PROGRAMS = (scan, loop, branches, scatter, reductions, called, product, logarithms, inverse)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_program_is_the_one_without_casts(program):
    x = np.asarray(normal(6, 5), np.float64)

    def gradient(cast):
        def total(x):
            return sum(jnp.sum(jnp.sin(out)) for out in jax.tree.leaves(program(x, cast)))

        reverse = jax.value_and_grad(total) if program is not loop else total  # JAX has no reverse mode for it
        return lambda x: (program(x, cast), reverse(x))

    with float64_scope():
        traced = AsTraced((), (), True, SINGLE)
        narrow = jax.ShapeDtypeStruct(x.shape, jnp.float64)
        found = carried_in_float64(gradient(lambda x: x.astype(jnp.float32)), [narrow], traced)(x)
        wanted = gradient(lambda x: x)(jnp.asarray(x))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), found, wanted)
        assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.float64)}


def test_a_float_coarser_than_the_floor_stays():
    jaxpr = jax.make_jaxpr(lambda x: x.astype(jnp.bfloat16).astype(jnp.float32))(jnp.ones(3))
    with float64_scope():
        assert coarsest_epsilon(widened(jaxpr, SINGLE)) == HALF
        assert coarsest_epsilon(widened(jaxpr, HALF)) == EXACT


def test_random_bits_and_callbacks_are_what_they_were():
    def f(key, x):
        told = jax.pure_callback(lambda x: x + x.dtype.itemsize, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
        return jax.random.uniform(key, x.shape, x.dtype), jax.random.gamma(key, jnp.abs(x)), told

    key, x = jax.random.key(0), normal(5)
    jaxpr = jax.make_jaxpr(f)(key, x)
    with float64_scope():
        found = jaxpr_as_fun(widened(jaxpr, SINGLE))(key, np.asarray(x, np.float64))
    for one, other in zip(found, f(key, x), strict=True):
        assert one.dtype == np.float64
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("written", "dtype", "constant", "eps"),
    [
        (0.1, jnp.float32, 0.1, 0.0),
        (1e-5, jnp.float32, 1e-5, 0.0),
        (1 / 64, jnp.float32, 1 / 64, 0.0),
        (1 / 3, jnp.float32, float(np.float32(1 / 3)), SINGLE),
        (0.1, jnp.bfloat16, 0.1, 0.0),
        (1 / 3, jnp.bfloat16, float(jnp.bfloat16(1 / 3)), HALF),
        (float(jnp.finfo(jnp.float32).min), jnp.float32, float(jnp.finfo(jnp.float32).min), 0.0),
    ],
)
def test_a_constant_is_the_short_decimal_that_it_was_rounded_from(written, dtype, constant, eps):
    jaxpr = jax.make_jaxpr(lambda x: x + written)(jnp.zeros((), dtype))
    with float64_scope():
        wide = widened(jaxpr, HALF)
        assert float(jaxpr_as_fun(wide)(np.float64(0))[0]) == constant
    assert constant_epsilon(jaxpr, HALF) == eps


def test_a_number_that_was_computed_in_float32_while_tracing_is_rounded_too():
    third = jnp.float32(1) / jnp.float32(3)
    jaxpr = jax.make_jaxpr(lambda x: x * third)(jnp.float32(0))
    assert constant_epsilon(jaxpr, SINGLE) == SINGLE
    with float64_scope():
        assert float(jaxpr_as_fun(widened(jaxpr, SINGLE))(np.float64(3))[0]) == 3 * float(third)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("slip", [0.0, 1.0])
def test_the_uniform_part_of_smoothed_labels_where_the_loss_names_float32(dtype, slip):
    """1e-5 of the largest element, and more than all of most others."""
    k, share = 4000, 0.1

    def loss(x, y):
        log_p = jax.nn.log_softmax(x.astype(jnp.float32))
        picked = jnp.take_along_axis(log_p, y[:, None], 1)[:, 0]
        return jnp.mean(-(1 - share) * picked - share * log_p.mean(1))

    def bwd(r, dJ):
        x, y = r
        wanted = (1 - share) * jax.nn.one_hot(y, k) + (1 - slip) * share / k
        return ((jax.nn.softmax(x.astype(jnp.float32)) - wanted) * dJ / len(x)).astype(x.dtype), None

    f = rule(loss, lambda x, y: (loss(x, y), (x, y)), bwd)
    x, y = 2 * normal(8, k), jnp.arange(8)
    report = compare_vjp(f, x.astype(dtype), y, skip=("vmap", "scan", "checkpoint"))
    assert report.wrong == (("x",) if slip else ())
