"""Right rules at points where the function has no derivative: any subgradient is one."""

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import Probe, RightRule
from jbackprop.verify.corpus.right_inputs import grid, normal


@jax.custom_vjp
def relu_slope_0(x):
    return jnp.maximum(x, 0)  # autodiff says 1/2 at 0


relu_slope_0.defvjp(lambda x: (jnp.maximum(x, 0), x > 0), lambda mask, dy: (jnp.where(mask, dy, 0),))


@jax.custom_vjp
def relu_slope_half(x):
    return jax.nn.relu(x)  # autodiff says 0 at 0


relu_slope_half.defvjp(lambda x: (jax.nn.relu(x), x), lambda x, dy: (dy * (0.5 * jnp.sign(x) + 0.5),))


@jax.custom_vjp
def relu_slope_1(x):
    return jnp.where(x > 0, x, 0)


relu_slope_1.defvjp(lambda x: (jnp.where(x > 0, x, 0), x >= 0), lambda mask, dy: (dy * mask.astype(dy.dtype),))


@jax.custom_vjp
def relu_like_jax(x):
    return jax.nn.relu(x)


relu_like_jax.defvjp(lambda x: (jax.nn.relu(x), x > 0), lambda mask, dy: (jnp.where(mask, dy, 0),))


@jax.custom_vjp
def absolute(x):
    return jnp.abs(x)


absolute.defvjp(lambda x: (jnp.abs(x), x), lambda x, dy: (dy * jnp.sign(x),))


@jax.custom_vjp
def hardtanh(x):
    return jnp.clip(x, -1, 1)


hardtanh.defvjp(lambda x: (jnp.clip(x, -1, 1), jnp.abs(x) <= 1), lambda inside, dy: (jnp.where(inside, dy, 0),))


@jax.custom_vjp
def leaky_relu(x, slope=0.01):
    return jnp.where(x >= 0, x, slope * x)


def leaky_relu_bwd(residuals, dy):
    x, slope = residuals
    return jnp.where(x > 0, dy, slope * dy), jnp.sum(jnp.where(x > 0, 0, x * dy)).astype(jnp.result_type(slope))


leaky_relu.defvjp(lambda x, slope=0.01: (jnp.where(x >= 0, x, slope * x), (x, slope)), leaky_relu_bwd)


@jax.custom_vjp
def hinge(scores, signs):
    return jnp.mean(jnp.maximum(1 - signs * scores, 0))


def hinge_fwd(scores, signs):
    return jnp.mean(jnp.maximum(1 - signs * scores, 0)), (scores, signs)


def hinge_bwd(residuals, dy):
    scores, signs = residuals
    inside = jnp.where(signs * scores < 1, dy / scores.size, 0)
    return -signs * inside, -scores * inside


hinge.defvjp(hinge_fwd, hinge_bwd)


@jax.custom_vjp
def huber(x):
    return jnp.where(jnp.abs(x) <= 1, 0.5 * x * x, jnp.abs(x) - 0.5)


huber.defvjp(
    lambda x: (jnp.where(jnp.abs(x) <= 1, 0.5 * x * x, jnp.abs(x) - 0.5), x), lambda x, dy: (dy * x.clip(-1, 1),)
)


@jax.custom_vjp
def soft_threshold(x):
    return jnp.sign(x) * jnp.maximum(jnp.abs(x) - 0.5, 0)


def soft_threshold_fwd(x):
    shrunk = jnp.abs(x) - 0.5
    return jnp.sign(x) * jnp.maximum(shrunk, 0), shrunk > 0


soft_threshold.defvjp(soft_threshold_fwd, lambda kept, dy: (jnp.where(kept, dy, 0),))


@jax.custom_vjp
def dense_relu(x, w, b):
    return jax.nn.relu(x @ w + b)


def dense_relu_fwd(x, w, b):
    y = jax.nn.relu(x @ w + b)
    return y, (x, w, y > 0)


def dense_relu_bwd(residuals, dy):
    x, w, active = residuals
    dz = jnp.where(active, dy, 0)
    return dz @ w.T, x.T @ dz, dz.sum(0)


dense_relu.defvjp(dense_relu_fwd, dense_relu_bwd)


@jax.custom_vjp
def row_norms(x):
    return jnp.sqrt(jnp.sum(x * x, axis=-1))


def row_norms_fwd(x):
    squares = jnp.sum(x * x, axis=-1)
    y = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
    return y, (x, y)


def row_norms_bwd(residuals, dy):
    x, y = residuals
    scale = jnp.where(y > 0, dy / jnp.where(y > 0, y, 1), 0)
    return (x * scale[:, None],)


row_norms.defvjp(row_norms_fwd, row_norms_bwd)


@jax.custom_vjp
def row_norms_safe(x):
    squares = jnp.sum(x * x, axis=-1)
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)


row_norms_safe.defvjp(lambda x: (row_norms_safe(x), x), lambda x, dy: row_norms_bwd((x, row_norms_safe(x)), dy))


@jax.custom_vjp
def sawtooth(x):
    return x - jnp.floor(x)


sawtooth.defvjp(lambda x: (x - jnp.floor(x), None), lambda _, dy: (dy,))


@jax.custom_vjp
def spike(x):
    return jnp.sign(x)


spike.defvjp(lambda x: (jnp.sign(x), None), lambda _, dy: (jnp.zeros_like(dy),))


@jax.custom_vjp
def binned(x, weight):
    return jnp.round(4 * x) / 4 * weight


def binned_fwd(x, weight):
    rounded = jnp.round(4 * x) / 4
    return rounded * weight, rounded


binned.defvjp(binned_fwd, lambda rounded, dy: (jnp.zeros_like(dy), jnp.sum(rounded * dy, axis=0)))


def _quarters(rng, dtype, *shape):
    return grid(rng, dtype, 0.25, 8, *shape)


def _with_zero_rows(rng, dtype, rows, columns):
    return normal(rng, dtype, rows, columns).at[::4].set(0)


KINKS = (
    RightRule("relu_slope_0", "relu' of 0 is 0", lambda rng, dtype: Probe(relu_slope_0, (_quarters(rng, dtype, 700),))),
    RightRule(
        "relu_slope_half",
        "relu' of 0 is 1/2",
        lambda rng, dtype: Probe(relu_slope_half, (_quarters(rng, dtype, 30, 20),)),
    ),
    RightRule("relu_slope_1", "relu' of 0 is 1", lambda rng, dtype: Probe(relu_slope_1, (_quarters(rng, dtype, 700),))),
    RightRule(
        "relu_of_zeros",
        "every element at the kink",
        lambda rng, dtype: Probe(relu_slope_1, (jnp.zeros((40, 9), dtype),)),
    ),
    RightRule(
        "relu_like_jax",
        "the oracle's own choice at 0, demanded",
        lambda rng, dtype: Probe(relu_like_jax, (_quarters(rng, dtype, 600),)),
        options={"kinks": "match"},
    ),
    RightRule("absolute", "abs' of 0 is 0", lambda rng, dtype: Probe(absolute, (_quarters(rng, dtype, 20, 30),))),
    RightRule("hardtanh", "clip at its bounds", lambda rng, dtype: Probe(hardtanh, (_quarters(rng, dtype, 600),))),
    RightRule(
        "leaky_relu", "the small slope at 0", lambda rng, dtype: Probe(leaky_relu, (_quarters(rng, dtype, 500), 0.125))
    ),
    RightRule(
        "hinge",
        "scores exactly at the margin",
        lambda rng, dtype: Probe(hinge, (_quarters(rng, dtype, 400), jnp.asarray(rng.choice([-1, 1], 400), dtype))),
    ),
    RightRule("huber", "a kink of the derivative", lambda rng, dtype: Probe(huber, (_quarters(rng, dtype, 600),))),
    RightRule(
        "soft_threshold",
        "two kinks, no gradient between",
        lambda rng, dtype: Probe(soft_threshold, (_quarters(rng, dtype, 600),)),
    ),
    RightRule(
        "dense_relu_padded",
        "rows of zeros put whole rows at the kink",
        lambda rng, dtype: Probe(
            dense_relu, (_with_zero_rows(rng, dtype, 24, 16), normal(rng, dtype, 16, 12), jnp.zeros(12, dtype))
        ),
    ),
    RightRule(
        "row_norms",
        "norm of 0, where autodiff says NaN",
        lambda rng, dtype: Probe(row_norms, (_with_zero_rows(rng, dtype, 32, 8),)),
    ),
    RightRule(
        "row_norms_safe",
        "double where; fwd calls the rule itself",
        lambda rng, dtype: Probe(row_norms_safe, (_with_zero_rows(rng, dtype, 32, 8),)),
    ),
    RightRule(
        "sawtooth",
        "jumps; the derivative is 1 almost everywhere",
        lambda rng, dtype: Probe(sawtooth, (normal(rng, dtype, 500, scale=9),)),
    ),
    RightRule(
        "spike", "a gradient that is zero everywhere", lambda rng, dtype: Probe(spike, (normal(rng, dtype, 500),))
    ),
    RightRule(
        "binned",
        "steps: zero for one argument, not for the other",
        lambda rng, dtype: Probe(binned, (normal(rng, dtype, 60, 10), normal(rng, dtype, 10))),
    ),
)
