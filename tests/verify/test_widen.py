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
    return jax.lax.scan(lambda c, row: (cast(jnp.tanh(c * 0.125 + row)), cast(c)), cast(x[0]), cast(x))


def loop(x, cast):
    return jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, cast(c[1] * 1.25)), (0, cast(x)))[1]


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
        how = AsTraced((), (), True, SINGLE)
        narrow = jax.ShapeDtypeStruct(x.shape, jnp.float64)
        found = carried_in_float64(gradient(lambda x: x.astype(jnp.float32)), [narrow], how)(x)
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
    ("written", "dtype", "eps"),
    [
        (1 / 64, jnp.float32, 0.0),
        (1_234_567.0, jnp.float32, 0.0),
        (-3e38, jnp.float32, SINGLE),
        (float(jnp.finfo(jnp.float16).min), jnp.float16, 0.0),
        (float("-inf"), jnp.bfloat16, 0.0),
        (0.1, jnp.float32, SINGLE),
        (1 / 169, jnp.float32, SINGLE),
        (1 / 11, jnp.bfloat16, HALF),
        (np.linspace(0.1, 0.3, 3, dtype=np.float32), jnp.float32, SINGLE),
        (np.array([1, 2, 4], np.float32), jnp.float32, 0.0),
    ],
)
def test_a_constant_counts_where_it_was_rounded(written, dtype, eps):
    assert constant_epsilon(jax.make_jaxpr(lambda x: x + written)(jnp.zeros(3, dtype)), HALF) == eps
    with float64_scope():  # where float64 carries it on
        wide = jax.make_jaxpr(lambda x: x + np.asarray(written, dtype).astype(np.float64))(np.zeros(3))
    assert constant_epsilon(wide, HALF) == (eps if dtype == jnp.float32 else 0.0)


THIRD, KERNEL = np.float32(1) / np.float32(3), np.arange(1, 6, dtype=np.float32)


@pytest.mark.parametrize(
    ("primal", "derivative"),
    [
        (lambda x: x / 3, lambda d: d * THIRD),
        (lambda x: x.astype(jnp.float32) / 169, lambda d: d.astype(jnp.float32) * np.float32(1 / 169)),
        (
            lambda x: x.astype(jnp.float32) * (KERNEL / KERNEL.sum()),
            lambda d: d.astype(jnp.float32) * KERNEL / KERNEL.sum(),
        ),
    ],
)
@pytest.mark.parametrize("slip", [0.0, 1e-5])
def test_constants_that_were_rounded_otherwise_are_no_mistake(primal, derivative, slip):
    f = rule(
        primal, lambda x: (primal(x), None), lambda _, d: ((derivative(d) * np.float32(1 + slip)).astype(d.dtype),)
    )
    assert compare_vjp(f, normal(40, 5), skip=("vmap", "scan", "checkpoint")).ok == (not slip)


def test_where_one_of_two_programs_cannot_be_widened_both_stay():
    """A mutable array in a rule."""

    def bwd(y, d):
        kept = jax.new_ref(2 * y.astype(jnp.float32))
        return ((d / kept[...]).astype(d.dtype),)

    f = rule(lambda x: jnp.sqrt(x), lambda x: (jnp.sqrt(x), jnp.sqrt(x)), bwd)
    report = compare_vjp(f, 1 + normal(9) ** 2, skip=("vmap", "scan", "checkpoint", "second order", "pure", "jit"))
    assert report.rows[0].ok, report


def test_rows_that_stop_by_themselves():
    def root(x):
        wide = x.astype(jnp.float32)
        return jax.vmap(lambda a: jax.lax.while_loop(lambda y: y * y - a > 1e-3, lambda y: (y + a / y) / 2, a))(wide)

    f = rule(root, lambda x: (root(x), root(x)), lambda y, d: (d / (2 * y),))
    report = compare_vjp(f, 2 + normal(6) ** 2, reference=lambda x: jnp.sqrt(x), rtol=1e-2, skip=("value",))
    assert not any("no float64 run" in note for note in report.notes)


def test_numbers_of_a_gamma_distribution_are_the_same_in_float64():
    def times(key, x):
        return x * jax.random.gamma(key, 2.0, x.shape, x.dtype)

    def bwd(key, d):
        dx = times(key, d)
        return None, dx.astype(jnp.bfloat16).astype(d.dtype)

    f = rule(times, lambda key, x: (times(key, x), key), bwd)
    skip = ("vmap", "scan", "checkpoint", "second order", "jit", "pure")
    report = compare_vjp(f, jax.random.key(0), normal(50), skip=skip)
    assert report.wrong == ("x",)


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
