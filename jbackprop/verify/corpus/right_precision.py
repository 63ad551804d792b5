"""Right rules that compute in another precision than their arguments have."""

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import Probe, RightRule
from jbackprop.verify.corpus.right_inputs import labels, normal

LOW = ("bfloat16", "float16", "float32")


def _rms(x):
    x = x.astype(jnp.float32)
    rstd = jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)
    return x * rstd, rstd


@jax.custom_vjp
def rms_norm(x, scale):
    return (_rms(x)[0] * scale.astype(jnp.float32)).astype(x.dtype)


def rms_norm_fwd(x, scale):
    normed, _ = _rms(x)
    return (normed * scale.astype(jnp.float32)).astype(x.dtype), (x, scale)


def rms_norm_bwd(residuals, dy):
    x, scale = residuals
    normed, rstd = _rms(x)  # computed again rather than saved
    dy = dy.astype(jnp.float32)
    dnormed = dy * scale.astype(jnp.float32)
    dx = rstd * (dnormed - normed * jnp.mean(dnormed * normed, axis=-1, keepdims=True))
    return dx.astype(x.dtype), jnp.sum(dy * normed, axis=0).astype(scale.dtype)


rms_norm.defvjp(rms_norm_fwd, rms_norm_bwd)


def _dot(a, b):
    return jnp.matmul(a, b, preferred_element_type=jnp.float32 if a.dtype.itemsize < 4 else a.dtype)


@jax.custom_vjp
def dense(x, w):
    return _dot(x, w).astype(x.dtype)


def dense_bwd(residuals, dy):
    x, w = residuals
    return _dot(dy, w.T).astype(x.dtype), _dot(x.T, dy).astype(w.dtype)


dense.defvjp(lambda x, w: (_dot(x, w).astype(x.dtype), (x, w)), dense_bwd)


@jax.custom_vjp
def mixed_dense(x, w, b):
    """Takes activations in half precision and weights in single, returns activations."""
    y = _dot(x, w.astype(x.dtype))
    return (y + b.astype(y.dtype)).astype(x.dtype)


def mixed_dense_fwd(x, w, b):
    return mixed_dense(x, w, b), (x, w, b)


def mixed_dense_bwd(residuals, dy):
    x, w, b = residuals
    dx = _dot(dy, w.astype(x.dtype).T).astype(x.dtype)
    return dx, _dot(x.T, dy).astype(w.dtype), jnp.sum(dy.astype(b.dtype), axis=0)


mixed_dense.defvjp(mixed_dense_fwd, mixed_dense_bwd)


@jax.custom_vjp
def half_cross_entropy(logits, labels):
    """Takes logits in half precision, returns a loss in single."""
    logp = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.mean(jnp.take_along_axis(logp, labels[:, None], axis=-1))


def half_cross_entropy_fwd(logits, labels):
    return half_cross_entropy(logits, labels), (logits, labels)


def half_cross_entropy_bwd(residuals, dy):
    logits, labels = residuals
    p = jax.nn.softmax(logits.astype(jnp.float32))
    dlogits = (p - jax.nn.one_hot(labels, p.shape[-1], dtype=p.dtype)) * (dy / p.shape[0])
    return dlogits.astype(logits.dtype), None


half_cross_entropy.defvjp(half_cross_entropy_fwd, half_cross_entropy_bwd)


@jax.custom_vjp
def mean_square(x):
    """Overflows in float16 unless the sum is taken in float32."""
    return jnp.mean(jnp.square(x.astype(jnp.float32))).astype(x.dtype)


mean_square.defvjp(
    lambda x: (jnp.mean(jnp.square(x.astype(jnp.float32))).astype(x.dtype), x),
    lambda x, dy: ((x.astype(jnp.float32) * (2 * dy.astype(jnp.float32) / x.size)).astype(x.dtype),),
)


def _gelu_parts(x):
    c, cubic, half = jnp.float32(0.7978846), jnp.float32(0.044715), jnp.float32(0.5)
    t = jnp.tanh(c * (x + cubic * x * x * x))
    slope = half * (1 + t) + half * x * (1 - t * t) * c * (1 + 3 * cubic * x * x)
    return half * x * (1 + t), slope


@jax.custom_vjp
def gelu_float32_only(x):
    return _gelu_parts(x)[0]


gelu_float32_only.defvjp(_gelu_parts, lambda slope, dy: (dy * slope,))


@jax.custom_vjp
def refuses_float64(x):
    if x.dtype == jnp.float64:
        raise TypeError("refuses_float64: this kernel has no float64 version")
    return x * jax.nn.sigmoid(x)


def refuses_float64_fwd(x):
    if x.dtype == jnp.float64:
        raise TypeError("refuses_float64: this kernel has no float64 version")
    s = jax.nn.sigmoid(x)
    return x * s, (x, s)


def refuses_float64_bwd(residuals, dy):
    x, s = residuals
    return (dy * (s + x * s * (1 - s)),)


refuses_float64.defvjp(refuses_float64_fwd, refuses_float64_bwd)


@jax.custom_vjp
def bias(x, b):
    return x + b


def bias_bwd(b, dy):
    return dy, jnp.sum(dy, axis=0)  # jnp.sum accumulates bfloat16 in float32


bias.defvjp(lambda x, b: (x + b, b), bias_bwd)


PRECISION = (
    RightRule(
        "rms_norm_in_float32",
        "statistics in float32, cast back at the end",
        lambda rng, dtype: Probe(rms_norm, (normal(rng, dtype, 16, 64), normal(rng, dtype, 64))),
        dtypes=LOW,
    ),
    RightRule(
        "dense_accumulates_float32",
        "products of half precision summed in single",
        lambda rng, dtype: Probe(dense, (normal(rng, dtype, 64, 48), normal(rng, dtype, 48, 32))),
        dtypes=("bfloat16", "float16", "float32", "float64"),
    ),
    RightRule(
        "mixed_dense",
        "bfloat16 activations, float32 weights",
        lambda rng, dtype: Probe(
            mixed_dense, (normal(rng, jnp.bfloat16, 32, 24), normal(rng, dtype, 24, 16), normal(rng, dtype, 16))
        ),
        dtypes=("float32",),
    ),
    RightRule(
        "half_cross_entropy",
        "half precision logits, single precision loss",
        lambda rng, dtype: Probe(half_cross_entropy, (normal(rng, dtype, 64, 10), labels(rng, 10, 64))),
        dtypes=LOW,
    ),
    RightRule(
        "mean_square_float16",
        "squares that overflow float16",
        lambda rng, dtype: Probe(mean_square, (normal(rng, dtype, 500, scale=100),)),
        dtypes=LOW,
    ),
    RightRule(
        "gelu_float32_only",
        "float32 constants inside: not runnable in float64 alone",
        lambda rng, dtype: Probe(gelu_float32_only, (normal(rng, dtype, 500),)),
        dtypes=("float32",),
    ),
    RightRule(
        "refuses_float64",
        "raises TypeError for float64",
        lambda rng, dtype: Probe(refuses_float64, (normal(rng, dtype, 500),)),
        dtypes=("float32", "bfloat16", "float16"),
    ),
    RightRule(
        "bias_4096_rows",
        "a bfloat16 sum of 4096 rows",
        lambda rng, dtype: Probe(bias, (normal(rng, dtype, 4096, 6), normal(rng, dtype, 6))),
    ),
)
