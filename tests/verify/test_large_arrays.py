"""Arrays of which running costs more than compiling: fewer cotangents, and the same verdicts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from clause_probes import sine_with
from gradient_probes import rule

from jbackprop.verify.arguments import LARGE
from jbackprop.verify.compare import compare_vjp
from jbackprop.verify.cotangents import PERIOD, standard_cotangents
from jbackprop.verify.distance import finite_gap, gap, gap_to_exact

X = jnp.asarray(np.random.default_rng(0).standard_normal((400, 400)), jnp.float32)
LINEAR, ZERO, VMAP = "linear in the cotangent", "zero for a zero cotangent", "vmap is the loop"


def test_the_array_counts_as_large():
    assert X.size > LARGE


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_right_rule_passes_and_the_note_says_what_was_left_out(dtype):
    with jax.enable_x64(dtype == "float64"):
        report = compare_vjp(sine_with(lambda x, dy: (dy * jnp.cos(x),)), X.astype(dtype))
    assert report.ok
    assert any(note.startswith("note: large arrays: few cotangents") for note in report.notes)


@pytest.mark.parametrize(
    ("bwd", "clauses", "sentence"),
    [
        (lambda x, dy: (jnp.clip(dy, -1e6, 1e6) * jnp.cos(x),), [LINEAR], LINEAR),
        (lambda x, dy: (jnp.cos(x) * jnp.where(jnp.abs(dy) > 1e6, jnp.inf, dy),), [LINEAR], "not finite"),
        (lambda x, dy: (dy * jnp.cos(x) + 1e-5,), [LINEAR, ZERO], "dx: 1e-05 is added, whatever the cotangent"),
        (lambda x, dy: (jnp.where(jnp.abs(dy) > 1e-6, dy, 0) * jnp.cos(x),), [LINEAR], "for a cotangent that is tiny"),
        (lambda x, dy: (dy * jnp.cos(x) / 2,), [], "dx: 0.5 x the right answer: a factor 2 is missing"),
        (lambda x, dy: ((dy * jnp.cos(x)).at[-1].set(0),), [], "all in the last row (axis 0): zero there"),
    ],
    ids=["clipped", "not finite", "a constant added", "what is small is skipped", "a factor", "the last row"],
)
def test_a_wrong_rule_is_caught_and_named(bwd, clauses, sentence):
    report = compare_vjp(sine_with(bwd), X)
    assert not report.ok
    assert [check.name for check in report.checks if not check.ok] == clauses
    assert any(sentence in str(diagnosis) for diagnosis in report.diagnoses)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_gate_is_caught_whether_the_random_cotangent_passes_it_or_not(sign):
    report = compare_vjp(sine_with(lambda x, dy: (jnp.where(sign * dy.sum() > 0, dy * jnp.cos(x), 0),)), X)
    assert LINEAR in [check.name for check in report.checks if not check.ok]


def test_one_multiple_for_outputs_of_two_dtypes():
    def f(x, y):
        return jnp.sin(x), (x * y.astype(x.dtype)).astype(y.dtype)

    def bwd(residuals, d_out):
        x, y = residuals
        d_sine, d_product = d_out[0], d_out[1].astype(x.dtype)
        return d_sine * jnp.cos(x) + d_product * y.astype(x.dtype), (d_product * x).astype(y.dtype)

    assert compare_vjp(rule(f, lambda x, y: (f(x, y), (x, y)), bwd), X, X.astype(jnp.float16)).ok


def test_two_points_of_a_scalar_loss_have_two_cotangents():
    @jax.custom_batching.custom_vmap
    def cotangent(x, d):
        return d * jnp.cos(x) / x.size

    @cotangent.def_vmap
    def _(axis_size, in_batched, x, d):
        return d[0] * jnp.cos(x) / x[0].size, True

    f = rule(lambda x: jnp.mean(jnp.sin(x)), lambda x: (jnp.mean(jnp.sin(x)), x), lambda x, d: (cotangent(x, d),))
    assert "vmap is the loop" in [check.name for check in compare_vjp(f, X).checks if not check.ok]


def test_a_squared_cotangent_of_a_scalar_loss_is_named():
    f = rule(
        lambda x: jnp.mean(jnp.sin(x)), lambda x: (jnp.mean(jnp.sin(x)), x), lambda x, d: (d * d * jnp.cos(x) / x.size,)
    )
    assert any("which is squared" in str(diagnosis) for diagnosis in compare_vjp(f, X).diagnoses)


def callback_that_takes(method):
    """The cosine by NumPy, outside of JAX, where `vmap` comes in by `method`."""

    def bwd(x, d):
        def outside(x, d):
            return np.cos(x) * d * (2 if x.ndim > 2 else 1)  # wrong for more than one example at a time

        return (jax.pure_callback(outside, jax.ShapeDtypeStruct(x.shape, x.dtype), x, d, vmap_method=method),)

    return sine_with(bwd)


@pytest.mark.parametrize(("method", "clauses"), [("expand_dims", [VMAP]), ("sequential", [])])
def test_what_leaves_jax_is_run_under_vmap(method, clauses):
    report = compare_vjp(callback_that_takes(method), X)
    assert [check.name for check in report.checks if not check.ok] == clauses


def test_jax_s_own_batching_is_traced_alone():
    report = compare_vjp(sine_with(lambda x, dy: (dy * jnp.cos(x),)), X)
    assert VMAP not in [check.name for check in report.checks]


def test_a_rule_that_no_batch_goes_through():
    def bwd(x, dy):
        if type(dy).__name__ == "BatchTracer":
            raise TypeError("one example at a time")
        return (dy * jnp.cos(x),)

    assert [check.name for check in compare_vjp(sine_with(bwd), X).checks if not check.ok] == [VMAP]


def test_random_cotangents_of_large_outputs_repeat_out_of_step_with_every_axis():
    (random,) = standard_cotangents([jax.ShapeDtypeStruct((1024, 512), jnp.float32)], seed=0, few=True)["random"]
    assert len(np.unique(random[:, 0])) == len(random)
    assert len(np.unique(random[0])) == random.shape[1]
    assert abs(random.mean()) < 0.01
    assert 0.5 < random.std() < 1.5


@pytest.mark.parametrize("place", [0, 2**15 - 1, 2**15, 2**16 + 5, -1])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_difference_wherever_it_is(place, sign):
    one = np.zeros(2**16 + 7, np.float32)
    other = one.astype(np.float64)
    other[place] = sign * 0.5
    assert gap(one, other) == gap(other, one) == finite_gap(one, other) == gap_to_exact(one, one, other) == 0.5


@pytest.mark.parametrize("place", [0, 2**15, -1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_seen_in_every_block(place, value):
    one, other = (np.zeros(2**16 + 7, np.float32) for _ in range(2))
    one[place], other[5] = value, 0.5
    assert gap(one, other) == gap(other, one) == np.inf
    assert finite_gap(one, other) == finite_gap(other, one) == 0.5
    other[place] = value
    assert gap(one, other) == 0.5


def test_complex_differences_have_a_length():
    assert gap(np.full(2**15 + 1, 3 + 4j), np.zeros(2**15 + 1)) == 5


@pytest.mark.parametrize("mix", [lambda d: jnp.broadcast_to(d.mean(0), d.shape), lambda d: d[::-1]])
def test_places_a_period_of_the_random_numbers_apart_are_told_apart(mix):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((4, PERIOD)), jnp.float32)
    assert not compare_vjp(rule(lambda x: x * 1.0, lambda x: (x, None), lambda _, d: (mix(d),)), x).ok
