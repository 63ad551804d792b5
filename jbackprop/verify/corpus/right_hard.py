"""Right rules where rounding or ties leave little to go by."""

import functools

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import Probe, RightRule
from jbackprop.verify.corpus.right_inputs import normal, normals, row
from jbackprop.verify.corpus.wrong_hidden import gated_norm, gated_norm_bwd, gated_norm_fwd

_EXACT = ("float32", "float64")


@jax.custom_vjp
def descending(x):
    return jnp.sort(x)[::-1]


descending.defvjp(
    lambda x: (jnp.sort(x)[::-1], jnp.argsort(-x)), lambda order, dy: (jnp.zeros_like(dy).at[order].set(dy),)
)


def _distance(a):
    return jnp.sqrt(((a[:, None] - a[None]) ** 2).sum(-1) + 1e-12)


pairwise_distance = jax.custom_vjp(_distance)


def pairwise_distance_bwd(residuals, dy):
    a, distance = residuals
    g = dy / distance
    return (((g + g.T)[:, :, None] * (a[:, None] - a[None])).sum(1),)


def pairwise_distance_fwd(a):
    distance = _distance(a)
    return distance, (a, distance)


pairwise_distance.defvjp(pairwise_distance_fwd, pairwise_distance_bwd)


@jax.custom_vjp
def attention(q, k, v):
    return jax.nn.softmax(q @ k.mT * q.shape[-1] ** -0.5) @ v


def attention_fwd(q, k, v):
    p = jax.nn.softmax(q @ k.mT * q.shape[-1] ** -0.5)
    return p @ v, (q, k, v, p)


def attention_bwd(residuals, dy):
    q, k, v, p = residuals
    dp = dy @ v.mT
    ds = p * (dp - (p * dp).sum(-1, keepdims=True)) * q.shape[-1] ** -0.5
    return ds @ k, ds.mT @ q, p.mT @ dy


attention.defvjp(attention_fwd, attention_bwd)


def _scaled(x, w, flag=True, scale=3.0):
    return scale * x * w if flag else x


scaled = jax.custom_vjp(functools.partial(_scaled, scale=2.0))
scaled.defvjp(lambda x, w: (2 * x * w, (x, w)), lambda residuals, dy: (2 * dy * residuals[1], 2 * dy * residuals[0]))

gated = jax.custom_vjp(gated_norm)
gated.defvjp(gated_norm_fwd, gated_norm_bwd(1e-5))


def _large_logits(rng, dtype):
    return normal(rng, dtype, 2, 7, 5, scale=60), normal(rng, dtype, 2, 7, 5, scale=60), normal(rng, dtype, 2, 7, 5)


HARD = (
    RightRule(
        "sort_descending",
        "many equal keys, in any order among them",
        lambda rng, dtype: Probe(descending, (jnp.round(normal(rng, dtype, 300)),)),
    ),
    row("pairwise_distance", "1e6 that cancels in the second derivative", pairwise_distance, normals((6, 3)), _EXACT),
    row("attention_saturated", "logits so large that float64 is rounding too", attention, _large_logits, ("float32",)),
    row("partial", "defaults that JAX does not look at", scaled, normals((9,), (9,))),
    row("gated_norm", "a mask of 0 and 1 kept in bfloat16", gated, normals((300, 16), (16, 8)), _EXACT),
)
