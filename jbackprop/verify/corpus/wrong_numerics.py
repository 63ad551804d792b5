"""Wrong rules whose formula may be right: inaccurate, not a number, or one derivative later wrong."""

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import Probe, WrongRule
from jbackprop.verify.corpus.wrong_build import EXACT, custom, draw, normal, rule

_MANY = (30, 40)


def safe_sqrt(x):
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def _with_zeros(function):
    def probe(rng, dtype):
        (x,) = draw(rng, dtype, _MANY)
        return Probe(function, (jnp.where(jnp.abs(x) < 0.3, 0, jnp.abs(x)),))

    return probe


def sinc(x):
    inside = x != 0
    safe = jnp.where(inside, x, 1)
    return jnp.where(inside, jnp.sin(safe) / safe, 1)


def product_of_row(x):
    return jnp.prod(x, axis=-1)


def _one_zero_a_row(function):
    def probe(rng, dtype):
        (x,) = draw(rng, dtype, (30, 6))
        return Probe(function, (x.at[:, 2].set(0),))

    return probe


def log_sum_exp(x):
    return jax.nn.logsumexp(x, axis=-1)


def _large(function):
    def probe(rng, dtype):
        return Probe(function, tuple(2000 + 4 * x for x in draw(rng, dtype, _MANY)))

    return probe


def tanh(x):
    return jnp.tanh(x)


def _with_nan(function):
    def probe(rng, dtype):
        (x,) = draw(rng, dtype, _MANY)
        return Probe(function, (x.at[3, 5].set(jnp.nan),))

    return probe


def saturating(x):
    return 1 / (1 + jnp.exp(-x))


def _far_out(function):
    def probe(rng, dtype):
        (x,) = draw(rng, dtype, _MANY)
        return Probe(function, (0.5 * x - 0.8 * jnp.log(jnp.finfo(x.dtype).eps).astype(x.dtype),))

    return probe


def wave(x):
    return jnp.sin(x) * x


def _difference_quotient(dy, x):
    h = 1e-3
    return (dy * (wave(x + h) - wave(x - h)) / (2 * h),)


def softmax(x):
    return jax.nn.softmax(x, axis=-1)


def _softmax_small_residual_fwd(x):
    p = softmax(x)
    return p, p.astype(jnp.bfloat16)


def _softmax_small_residual_bwd(residual, dy):
    p = residual.astype(dy.dtype)
    return (p * (dy - (p * dy).sum(-1, keepdims=True)),)


def centred(x):
    z = x - x.mean(-1, keepdims=True)
    return z / jnp.sqrt((z * z).mean(-1, keepdims=True))


def _one_pass_bwd(dy, x):
    mean = x.mean(-1, keepdims=True)
    rstd = 1 / jnp.sqrt((x * x).mean(-1, keepdims=True) - mean * mean)
    y = (x - mean) * rstd
    return (rstd * (dy - dy.mean(-1, keepdims=True) - y * (dy * y).mean(-1, keepdims=True)),)


def _far_from_zero(function):
    def probe(rng, dtype):
        return Probe(function, tuple(300 + x for x in draw(rng, dtype, _MANY)))

    return probe


def cubic(x):
    return x**3


@jax.custom_vjp
def _cubic_slope(x):
    return 3 * x * x


_cubic_slope.defvjp(lambda x: (3 * x * x, x), lambda x, dy: (3 * dy * x,))


def _stopped_residual_fwd(x):
    y = jnp.tanh(x)
    return y, jax.lax.stop_gradient(y)


NUMERICS = (
    WrongRule(
        "square root: its derivative at 0",
        "nan",
        ("x",),
        _with_zeros(rule(safe_sqrt, lambda dy, x: (0.5 * dy / safe_sqrt(x),))),
    ),
    WrongRule(
        "sinc: 0/0 in the middle",
        "nan",
        ("x",),
        _with_zeros(rule(sinc, lambda dy, x: (dy * (jnp.cos(x) / x - jnp.sin(x) / (x * x)),))),
    ),
    WrongRule(
        "product: y / x where an x is 0",
        "nan",
        ("x",),
        _one_zero_a_row(rule(product_of_row, lambda dy, x: (dy[:, None] * product_of_row(x)[:, None] / x,))),
    ),
    WrongRule(
        "log-sum-exp: overflow in the derivative",
        "nan",
        ("x",),
        _large(rule(log_sum_exp, lambda dy, x: (dy[:, None] * jnp.exp(x) / jnp.exp(x).sum(-1, keepdims=True),))),
    ),
    WrongRule(
        "tanh: NaN is swallowed",
        "nan",
        ("x",),
        _with_nan(rule(tanh, lambda dy, x: (jnp.nan_to_num(dy * (1 - tanh(x) ** 2)),))),
    ),
    WrongRule(
        "sigmoid: y (1 - y) where y is nearly 1",
        "accuracy",
        ("x",),
        _far_out(rule(saturating, lambda dy, x: (dy * saturating(x) * (1 - saturating(x)),))),
        dtypes=("float32",),
    ),
    WrongRule(
        "a difference quotient for the derivative",
        "accuracy",
        ("x",),
        normal(rule(wave, _difference_quotient), _MANY),
        dtypes=EXACT,
    ),
    WrongRule(
        "softmax: the residual kept in bfloat16",
        "accuracy",
        ("x",),
        normal(custom(softmax, _softmax_small_residual_fwd, _softmax_small_residual_bwd), _MANY),
        dtypes=EXACT,
    ),
    WrongRule(
        "standardised rows: E[x²] - E[x]² far from 0",
        "accuracy",
        ("x",),
        _far_from_zero(rule(centred, _one_pass_bwd)),
        dtypes=("float32",),
    ),
    WrongRule(
        "tanh: stop_gradient on the residual",
        "second order",
        (),
        normal(custom(tanh, _stopped_residual_fwd, lambda y, dy: (dy * (1 - y * y),)), _MANY),
    ),
    WrongRule(
        "cube: the derivative has a wrong rule of its own",
        "second order",
        (),
        normal(rule(cubic, lambda dy, x: (dy * _cubic_slope(x),)), _MANY),
    ),
)
