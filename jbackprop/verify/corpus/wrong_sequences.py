"""Wrong rules along time: running sums, recurrences, rotary positions, attention."""

import math

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import WrongRule
from jbackprop.verify.corpus.wrong_build import EXACT, normal, rule

_SEQUENCES = (24, 30)


def running_sum(x):
    return jnp.cumsum(x, axis=-1)


def smoothing(x):
    """h_t = h_{t-1} / 2 + x_t, along the first axis."""
    return jax.lax.scan(lambda h, row: (h / 2 + row, h / 2 + row), jnp.zeros_like(x[0]), x)[1]


def _smoothing_reversed_bwd(dy, x):
    return (smoothing(dy[::-1]),)  # and not turned round again


def recurrent(x, w):
    def step(h, row):
        h = jnp.tanh(row + h @ w)
        return h, h

    return jax.lax.scan(step, jnp.zeros_like(x[0]), x)[1]


def _truncated_bwd(dy, x, w):
    h = recurrent(x, w)
    dz = dy * (1 - h * h)  # nothing comes back through h @ w
    return dz, h[:-1].T @ dz[1:]


def cell(gate, candidate, h):
    z = jax.nn.sigmoid(gate)
    return (1 - z) * h + z * candidate


def _cell_bwd(dy, gate, candidate, h):
    z = jax.nn.sigmoid(gate)
    return dy * z * (1 - z) * (h - candidate), dy * z, dy * (1 - z)


def memory(gate, c):
    new = jax.nn.sigmoid(gate) * c
    return jnp.tanh(new), new


def _memory_bwd(dy, gate, c):
    s = jax.nn.sigmoid(gate)
    dc = dy[0] * (1 - jnp.tanh(s * c) ** 2)  # the next step's cotangent is dy[1]
    return dc * c * s * (1 - s), dc * s


def rotary(x):
    a, b = jnp.split(x, 2, axis=-1)
    angle = jnp.arange(x.shape[0], dtype=x.dtype)[:, None] / 8
    return jnp.concatenate([a * jnp.cos(angle) - b * jnp.sin(angle), a * jnp.sin(angle) + b * jnp.cos(angle)], axis=-1)


def attention(q, k, v):
    return _weights(q, k) @ v


def _weights(q, k, causal=True):
    scores = q @ k.T / math.sqrt(q.shape[-1])
    seen = jnp.tril(jnp.ones(scores.shape, bool)) if causal else jnp.ones(scores.shape, bool)
    return jax.nn.softmax(jnp.where(seen, scores, -jnp.inf))


def _attention_bwd(change):
    """The right backward of causal attention, changed by `change(p, dp, ds, scale)`, which returns (p of dv, ds)."""

    def bwd(dy, q, k, v):
        p, dp, scale = _weights(q, k), dy @ v.T, 1 / math.sqrt(q.shape[-1])
        ds = p * (dp - (p * dp).sum(-1, keepdims=True)) * scale
        of_v, ds = change(p, dp, ds, scale)
        return ds @ k, ds.T @ q, of_v.T @ dy

    return bwd


def _unmasked_bwd(dy, q, k, v):
    p, dp = _weights(q, k, causal=False), dy @ v.T
    ds = p * (dp - (p * dp).sum(-1, keepdims=True)) / math.sqrt(q.shape[-1])
    return ds @ k, ds.T @ q, p.T @ dy


def _last_keys_dropped_bwd(dy, q, k, v):
    right = _attention_bwd(lambda p, dp, ds, scale: (p, ds))(dy, q, k, v)
    whole = k.shape[0] // 8 * 8  # blocks of eight keys
    return right[0], right[1].at[whole:].set(0), right[2].at[whole:].set(0)


_ATTENTION = ((28, 16), (28, 16), (28, 16))


SEQUENCES = (
    WrongRule(
        "running sum: not from the end",
        "wrong point",
        ("x",),
        normal(rule(running_sum, lambda dy, x: (jnp.cumsum(dy, axis=-1),)), _SEQUENCES),
    ),
    WrongRule(
        "recurrence: the result is left in reversed order",
        "permuted",
        ("x",),
        normal(rule(smoothing, _smoothing_reversed_bwd), _SEQUENCES),
    ),
    WrongRule(
        "recurrence: from the first step to the last",
        "wrong point",
        ("x",),
        normal(rule(smoothing, lambda dy, x: (smoothing(dy),)), _SEQUENCES),
    ),
    WrongRule(
        "recurrent layer: nothing flows through time",
        "missing term",
        ("x", "w"),
        normal(rule(recurrent, _truncated_bwd), (12, 16), (16, 16)),
        dtypes=EXACT,
    ),
    WrongRule(
        "gated cell: h - candidate for candidate - h",
        "sign",
        ("gate",),
        normal(rule(cell, _cell_bwd), _SEQUENCES, _SEQUENCES, _SEQUENCES),
    ),
    WrongRule(
        "memory cell: the cotangent of the memory is not used",
        "cotangent ignored",
        ("gate", "c"),
        normal(rule(memory, _memory_bwd), _SEQUENCES, _SEQUENCES),
    ),
    WrongRule(
        "rotary positions: turned forward again",
        "wrong point",
        ("x",),
        normal(rule(rotary, lambda dy, x: (rotary(dy),)), _SEQUENCES),
    ),
    WrongRule(
        "attention: the scale is missing",
        "factor",
        ("q", "k"),
        normal(rule(attention, _attention_bwd(lambda p, dp, ds, scale: (p, ds / scale))), *_ATTENTION),
        dtypes=EXACT,
    ),
    WrongRule(
        "attention: p·dp is not subtracted",
        "missing term",
        ("q", "k"),
        normal(rule(attention, _attention_bwd(lambda p, dp, ds, scale: (p, p * dp * scale))), *_ATTENTION),
        dtypes=EXACT,
    ),
    WrongRule(
        "attention: the weights are not transposed",
        "wrong point",
        ("v",),
        normal(rule(attention, _attention_bwd(lambda p, dp, ds, scale: (p.T, ds))), *_ATTENTION),
        dtypes=EXACT,
    ),
    WrongRule(
        "attention: recomputed without the mask",
        "unexplained",
        ("q", "k", "v"),
        normal(rule(attention, _unmasked_bwd), *_ATTENTION),
        dtypes=EXACT,
    ),
    WrongRule(
        "attention: the incomplete last block of keys is dropped",
        "part",
        ("k", "v"),
        normal(rule(attention, _last_keys_dropped_bwd), *_ATTENTION),
        dtypes=EXACT,
    ),
)
