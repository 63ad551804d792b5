"""Wrong rules behind something that excuses others: a narrow dtype, a long sum, small cotangents, a second output."""

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.verify.corpus.case import Probe, WrongRule
from jbackprop.verify.corpus.wrong_build import EXACT, custom, draw, normal, rule

_EPS = 1e-5


def gated_norm(x, w):
    return jax.nn.relu(x @ w) * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + _EPS)


def gated_norm_fwd(x, w):
    return gated_norm(x, w), (x, w, (x @ w > 0).astype(jnp.bfloat16))


def gated_norm_bwd(eps):
    def bwd(residuals, dy):
        x, w, mask = residuals
        rms = jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps)
        kept = dy * mask.astype(x.dtype)
        d_rms = (kept * (x @ w)).sum(-1, keepdims=True)
        return (kept * rms) @ w.T - d_rms * rms**3 * x / x.shape[-1], x.T @ (kept * rms)

    return bwd


def product(x, w):
    return x @ w


def _product_narrow_fwd(x, w):
    return x @ w, (x.astype(jnp.float16), w)


def _product_narrow_bwd(residuals, dy):
    x, w = residuals
    return dy @ w.T, x.astype(dy.dtype).T @ dy


def rows_of_squares(x):
    return x * x


def _skips_small_rows(dy, x):
    matters = jnp.abs(dy).max(-1, keepdims=True) > 1e-5
    return (jnp.where(matters, 2 * x * dy, 0),)


def dropout(x, key):
    return jnp.where(jax.random.bernoulli(key, 0.9, x.shape), x / 0.9, 0)


def _dropout_bwd(dy, x, key):
    return jnp.where(jax.random.bernoulli(key, 0.9, x.shape), dy * 1.1, 0), None


def _with_key(function):
    def probe(rng, dtype):
        return Probe(function, (*draw(rng, dtype, (30, 64)), jax.random.key(int(rng.integers(1000)))))

    return probe


def attention_and_lse(q, k, v):
    scores = q @ k.T
    lse = jax.nn.logsumexp(scores, -1)
    return jnp.exp(scores - lse[:, None]) @ v, lse


def _sign_of_lse_bwd(d_out, q, k, v):
    d_attended, d_lse = d_out
    p = jax.nn.softmax(q @ k.T)
    dp = d_attended @ v.T
    ds = p * (dp - (p * dp).sum(-1, keepdims=True) - d_lse[:, None])
    return ds @ k, ds.T @ q, p.T @ d_attended


def _absolute(slope):
    def backward(dy, x, here):
        return dy * jnp.where((x == 0) & here, slope, jnp.sign(x)), None

    return rule(lambda x, here: jnp.abs(x), backward)


def _many_zeros(function):
    def probe(rng: np.random.Generator, dtype) -> Probe:
        x = rng.integers(-1, 2, 40_000)
        here = np.arange(x.size) == int(np.argmax(x == 0))
        return Probe(function, (jnp.asarray(x, dtype), jnp.asarray(here)))

    return probe


HIDDEN = (
    WrongRule(
        "gated norm: no eps, beside a mask in bfloat16",
        "unexplained",
        ("x", "w"),
        normal(custom(gated_norm, gated_norm_fwd, gated_norm_bwd(0.0)), (1000, 64), (64, 8)),
        dtypes=EXACT,
    ),
    WrongRule(
        "linear: x kept in float16 for a long sum",
        "accuracy",
        ("w",),
        normal(custom(product, _product_narrow_fwd, _product_narrow_bwd), (20_000, 4), (4, 2)),
        dtypes=EXACT,
    ),
    WrongRule(
        "square: rows whose cotangent is small are skipped",
        "not linear",
        (),
        normal(rule(rows_of_squares, _skips_small_rows), (1000, 300)),
    ),
    WrongRule("dropout: 1.1 for 1 / 0.9", "factor", ("x",), _with_key(rule(dropout, _dropout_bwd))),
    WrongRule(
        "attention: the sign of what comes from log-sum-exp",
        "sign",
        ("q", "k"),
        normal(rule(attention_and_lse, _sign_of_lse_bwd), (6, 5), (8, 5), (8, 4)),
        dtypes=EXACT,
    ),
    WrongRule(
        "absolute value: 1.5 at one of many zeros", "ties", ("x",), _many_zeros(_absolute(1.5)), same_as=("part",)
    ),
)
