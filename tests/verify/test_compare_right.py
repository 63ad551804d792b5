"""Right rules that tempt a checker into a false alarm: `compare_vjp` must accept each."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compare_probes import check_vjp, compare_vjp, measured
from gradient_probes import normal, rule

from jbackprop.layers.max_pool import max_pool
from jbackprop.layers.relu import relu
from jbackprop.layers.softmax_cross_entropy import softmax_cross_entropy


def softmax_fwd(z):
    p = jax.nn.softmax(z)
    return p, p


def cross_entropy(z, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(z), labels[:, None], axis=1).mean()


def cross_entropy_bwd(residuals, dy):
    z, labels = residuals
    return (jax.nn.softmax(z) - jax.nn.one_hot(labels, z.shape[1], dtype=z.dtype)) * dy / z.shape[0], None


def linear(x, w, b):
    return x @ w + b


def layer_norm(x):
    x32 = x.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)
    centred = x32 - x32.mean(-1, keepdims=True)
    return (centred * jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)).astype(x.dtype)


def layer_norm_fwd(x):
    x32 = x.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)
    rstd = jax.lax.rsqrt(x32.var(-1, keepdims=True) + 1e-5)
    return layer_norm(x), (x, x32.mean(-1, keepdims=True), rstd)


def layer_norm_bwd(residuals, dy):
    x, mean, rstd = residuals
    normed = (x.astype(mean.dtype) - mean) * rstd
    dy32 = dy.astype(rstd.dtype)
    dx = rstd * (dy32 - dy32.mean(-1, keepdims=True) - normed * (dy32 * normed).mean(-1, keepdims=True))
    return (dx.astype(x.dtype),)


LINEAR = rule(linear, lambda x, w, b: (linear(x, w, b), (x, w)), lambda r, dy: (dy @ r[1].T, r[0].T @ dy, dy.sum(0)))
SOFTMAX = rule(lambda z: jax.nn.softmax(z), softmax_fwd, lambda p, dy: (p * (dy - (dy * p).sum(-1, keepdims=True)),))
CROSS_ENTROPY = rule(cross_entropy, lambda z, labels: (cross_entropy(z, labels), (z, labels)), cross_entropy_bwd)
LAYER_NORM = rule(layer_norm, layer_norm_fwd, layer_norm_bwd)
MEAN = rule(lambda x: x.mean(), lambda x: (x.mean(), x), lambda x, dy: (jnp.full_like(x, dy / x.size),))
SCALE = rule(
    lambda x, by, power: by * x**power,
    lambda x, by, power: (by * x**power, (x, by)),
    lambda power, r, dy: (power * dy * r[1] * r[0] ** (power - 1), (dy * r[0] ** power).sum()),
    nondiff_argnums=(2,),
)
TREE = rule(
    lambda params, x: {"y": params["w"] * x, "n": jnp.arange(3), "s": x.sum()},
    lambda params, x: ({"y": params["w"] * x, "n": jnp.arange(3), "s": x.sum()}, (params, x)),
    lambda r, d: ({"w": d["y"] * r[1], "step": None}, d["y"] * r[0]["w"] + d["s"]),
)
STRAIGHT_THROUGH = rule(lambda x: jnp.round(x), lambda x: (jnp.round(x), None), lambda _, dy: (dy,))
CLOSED = normal(3, seed=5)
CLOSURE = rule(
    lambda x: jnp.sin(x) * CLOSED, lambda x: (jnp.sin(x) * CLOSED, x), lambda x, d: (d * CLOSED * jnp.cos(x),)
)
MIXED = rule(
    lambda x, w: (x.astype(jnp.bfloat16) @ w).astype(jnp.float32),
    lambda x, w: ((x.astype(jnp.bfloat16) @ w).astype(jnp.float32), (x, w)),
    lambda r, dy: (
        (dy.astype(jnp.bfloat16) @ r[1].T).astype(r[0].dtype),
        (r[0].astype(jnp.bfloat16).T @ dy.astype(jnp.bfloat16)).astype(r[1].dtype),
    ),
)
NAMES_FLOAT32 = rule(
    lambda x: jnp.sin(x), lambda x: (jnp.sin(x), x), lambda x, dy: ((dy * jnp.cos(x)).astype(jnp.float32),)
)
LABELS = jnp.array([0, 3, 1, 3])
NAN = jnp.array([[1.0, jnp.nan, 0.0], [0.5, jnp.inf, 2.0], [1.0, 2.0, 3.0]])

RIGHT = {
    "linear": (LINEAR, (normal(4, 5), normal(5, 3), normal(3))),
    "linear, bfloat16, batch of 4096": (
        LINEAR,
        tuple(normal(*s, dtype=jnp.bfloat16) for s in [(4096, 3), (3, 2), (2,)]),
    ),
    "linear, a long sum in float32": (LINEAR, (normal(3, 30000), normal(30000, 2), normal(2))),
    "mean of 100,000": (MEAN, (normal(100_000),)),
    "mean of 100,000, bfloat16": (MEAN, (normal(100_000, dtype=jnp.bfloat16),)),
    "softmax, whose gradient vanishes for ones": (SOFTMAX, (normal(4, 6),)),
    "sum of a softmax, whose gradient is zero": (lambda x: SOFTMAX(x).sum(-1), (normal(4, 6),)),
    "cross-entropy, integer labels": (CROSS_ENTROPY, (normal(4, 5), LABELS)),
    "cross-entropy, tiny gradient": (CROSS_ENTROPY, (50 * jax.nn.one_hot(LABELS, 5), LABELS)),
    "saturated softmax, float16": (SOFTMAX, (8 * normal(4, 6, dtype=jnp.float16),)),
    "layer norm": (LAYER_NORM, (normal(4, 32),)),
    "layer norm, ill-conditioned": (LAYER_NORM, (1000 + normal(4, 32),)),
    "layer norm, bfloat16": (LAYER_NORM, (normal(4, 32, dtype=jnp.bfloat16),)),
    "mixed precision inside": (MIXED, (normal(4, 5), normal(5, 3, dtype=jnp.bfloat16))),
    "a static argument and a scalar": (SCALE, (normal(3), 2.5, 3)),
    "pytrees, integers, None": (TREE, ({"w": normal(3), "step": 4}, normal(3))),
    "empty arrays": (LINEAR, (normal(0, 5), normal(5, 3), normal(3))),
    "scalars": (rule(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, d: (d * jnp.cos(x),)), (jnp.float32(0.3),)),
    "a Python float": (rule(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, d: (d * jnp.cos(x),)), (0.3,)),
    "a NumPy array": (SOFTMAX, (np.ones((2, 3)),)),
    "NaN and infinity come through": (SOFTMAX, (NAN,)),
    "closes over a float32 array": (CLOSURE, (normal(3),)),
    "names float32 inside": (NAMES_FLOAT32, (normal(30),)),
    "kink of relu": (jax.nn.relu, (jnp.array([-1.0, 0.0, 1.0]),)),
    "no rule at all": (lambda x, flag: x**2 if flag else x, (normal(3), True)),
    "huge values": (SOFTMAX, (jnp.array([[1e30, -1e30, 0.0]]),)),
    "complex numbers": (
        rule(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, d: (d * jnp.cos(x),)),
        (jnp.array([1 + 2j, 0.5j]),),
    ),
    "inside jit, scan and checkpoint": (
        jax.jit(lambda z: jax.lax.scan(lambda h, _: (jax.checkpoint(SOFTMAX)(3 * h), None), z, length=3)[0]),
        (normal(2, 4),),
    ),
}


@pytest.mark.parametrize(("f", "args"), RIGHT.values(), ids=RIGHT.keys())
def test_no_false_alarm(f, args):
    report = compare_vjp(f, *args)
    assert report.ok, f"\n{report}"
    assert report.wrong == ()


NAN_OF_THE_DATA = {
    "relu": (relu, (jnp.array([-1.0, jnp.nan, 2.0]),)),
    "max_pool": (max_pool, (normal(2, 6, 6, 2).at[0, 1, 1, 0].set(jnp.nan),)),
    "cross-entropy, labels out of range": (softmax_cross_entropy, (normal(4, 5), jnp.array([0, 5, -1, 3]))),
}


@pytest.mark.parametrize(("f", "args"), NAN_OF_THE_DATA.values(), ids=NAN_OF_THE_DATA.keys())
def test_NaN_that_comes_from_the_data(f, args):
    check_vjp(f, *args)


def test_no_tracer_is_kept():
    with jax.checking_leaks():
        check_vjp(SOFTMAX, normal(2, 3))


def test_symbolic_zeros():
    f = jax.custom_vjp(lambda x, w: x * w)
    f.defvjp(
        lambda x, w: (x.value * w.value, (x.value, w.value)),
        lambda r, d: (d * r[1], d * r[0]),
        symbolic_zeros=True,
    )
    check_vjp(f, normal(3), normal(3, seed=1))


def test_optimize_remat():
    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, d: (d * jnp.cos(x),), optimize_remat=True)
    check_vjp(f, normal(3))


def test_straight_through_with_a_declared_reference():
    x = 3 * normal(5)
    assert compare_vjp(STRAIGHT_THROUGH, x).wrong == ("x",)  # the primal's own derivative is 0
    check_vjp(STRAIGHT_THROUGH, x, reference=lambda x: x + jax.lax.stop_gradient(jnp.round(x) - x))


def test_None_where_the_gradient_is_zero():
    f = rule(lambda x, key: x + 0 * key, lambda x, key: (x, None), lambda _, d: (d, None))
    check_vjp(f, normal(3), normal(3, seed=1))


def test_float64_is_the_callers_when_it_is_on():
    with jax.enable_x64(True):
        (row,) = check_vjp(SOFTMAX, np.random.default_rng(0).standard_normal((3, 4))).rows
        assert row.dtype == "float64"
        assert row.value_error == row.formula_error
        assert measured(row.formula_error) < 1e-14
        off = rule(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, d: (_rounded(d * jnp.cos(x)),))
        assert compare_vjp(off, normal(9, dtype=jnp.float64)).wrong == ("x",)  # eight digits of sixteen


def _rounded(x):
    return x.astype(jnp.float32).astype(x.dtype)


def test_changes_no_setting():
    names = ("jax_enable_x64", "jax_numpy_dtype_promotion", "jax_numpy_rank_promotion", "jax_disable_jit")
    before = [getattr(jax.config, name) for name in names]
    state = str(np.random.get_state())
    check_vjp(SOFTMAX, normal(2, 3))
    assert [getattr(jax.config, name) for name in names] == before
    assert str(np.random.get_state()) == state
    assert jnp.ones(1).dtype == jnp.float32


def test_a_function_that_refuses_float64_is_carried_out_in_it_all_the_same():
    def only_float32(x):
        if x.dtype != jnp.float32:
            raise TypeError("float32 only")
        return jnp.sin(x)

    right = rule(only_float32, lambda x: (jnp.sin(x), x), lambda x, d: (d * jnp.cos(x),))
    wrong = rule(only_float32, lambda x: (jnp.sin(x), x), lambda x, d: (d * jnp.cos(x) + 2.0**-26 * d,))
    assert measured(check_vjp(right, normal(9)).rows[0].formula_error) < 1e-15
    assert compare_vjp(wrong, normal(9)).wrong == ("x",)


def test_rtol_replaces_the_bounds():
    off = rule(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, d: (d * jnp.cos(x) * 1.001,))
    assert not compare_vjp(off, normal(9)).ok
    assert compare_vjp(off, normal(9), rtol=1e-2).ok


def test_integers_have_a_row_and_no_gradient():
    report = check_vjp(CROSS_ENTROPY, normal(4, 5), LABELS)
    assert [(row.argument, row.dtype, row.verdict) for row in report.rows] == [
        ("z", "float32", "ok"),
        ("labels", "int32", "not differentiated"),
    ]


def test_a_random_key_and_options_are_passed_on():
    def drop(x, key, rate, mode):
        assert mode == "upscale"
        return jnp.where(jax.random.bernoulli(key, rate, x.shape), 0, x / (1 - rate))

    f = rule(
        drop,
        lambda x, key, rate, mode: (drop(x, key, rate, mode), key),
        lambda rate, mode, key, dy: (drop(dy, key, rate, mode), None),
        nondiff_argnums=(2, 3),
    )
    assert [row.argument for row in check_vjp(f, normal(4, 5), jax.random.key(0), 0.5, "upscale").rows] == ["x", "key"]


def test_two_seeds_give_the_same_verdict_on_other_cotangents():
    one, other = (compare_vjp(LAYER_NORM, normal(4, 32), seed=seed) for seed in (0, 1))
    assert one.ok
    assert other.ok
    assert one.rows[0].rounding_error != other.rows[0].rounding_error


def test_refuses_what_cannot_be_differentiated():
    with pytest.raises(ValueError, match=r"none of the arguments \(i, j\) is a float array"):
        compare_vjp(lambda i, j: i + j, jnp.arange(3), 2)
    with pytest.raises(ValueError, match="no float array, so there is nothing to pull back"):
        compare_vjp(lambda x: jnp.argmax(x), normal(3))
    with pytest.raises(ValueError, match=r"the reference returns float32\[3\] where sin returns float32\[3, 1\]"):
        compare_vjp(jnp.sin, normal(3, 1), reference=lambda x: x[:, 0])
    with pytest.raises(TypeError, match=r"call it outside of jax\.jit"):
        jax.jit(lambda x: compare_vjp(jnp.sin, x).ok)(normal(3))
    with pytest.raises(ValueError, match="these words"):
        compare_vjp(functools.partial(_raise, words="these words"), normal(3))


def _raise(x, words):
    raise ValueError(words)


def test_the_report_can_be_read():
    lines = str(check_vjp(CROSS_ENTROPY, normal(4, 5), LABELS)).splitlines()
    assert lines[0].startswith("cross_entropy: ok, compared with its own primal")
    assert lines[1].split() == ["shape", "dtype", "error", "formula", "rounding", "automatic", "verdict"]
    assert lines[2].startswith("dz       (4, 5)  float32")
    assert any(line.startswith("ok    linear in the cotangent") for line in lines)
