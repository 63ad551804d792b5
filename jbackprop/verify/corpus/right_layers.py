"""Right layers: normalisations, losses with masks and weights, pooling, convolution, attention."""

import jax
import jax.numpy as jnp
from jax import lax

from jbackprop.verify.corpus.right_inputs import labels, normal, normals, row, uniform


def _standardise(x, axes):
    centred = x - jnp.mean(x, axes, keepdims=True)
    rstd = lax.rsqrt(jnp.mean(centred * centred, axes, keepdims=True) + 1e-5)
    return centred * rstd, rstd


def _standardise_bwd(normed, rstd, d, axes):
    return rstd * (d - jnp.mean(d, axes, keepdims=True) - normed * jnp.mean(d * normed, axes, keepdims=True))


@jax.custom_vjp
def layer_norm(x, scale, offset):
    return _standardise(x, -1)[0] * scale + offset


def layer_norm_fwd(x, scale, offset):
    normed, rstd = _standardise(x, -1)
    return normed * scale + offset, (normed, rstd, scale)


def layer_norm_bwd(residuals, dy):
    normed, rstd, scale = residuals
    return _standardise_bwd(normed, rstd, dy * scale, -1), jnp.sum(dy * normed, 0), jnp.sum(dy, 0)


layer_norm.defvjp(layer_norm_fwd, layer_norm_bwd)


@jax.custom_vjp
def batch_norm(x):
    """Also returns the batch's statistics, from which running averages are made."""
    mean, variance = jnp.mean(x, 0), jnp.var(x, 0)
    return (x - mean) * lax.rsqrt(variance + 1e-5), mean, variance


def batch_norm_fwd(x):
    normed, rstd = _standardise(x, 0)
    return batch_norm(x), (normed, rstd, x - jnp.mean(x, 0))


def batch_norm_bwd(residuals, d_outs):
    normed, rstd, centred = residuals
    dy, dmean, dvariance = d_outs
    return (_standardise_bwd(normed, rstd, dy, 0) + (dmean + 2 * centred * dvariance) / len(centred),)


batch_norm.defvjp(batch_norm_fwd, batch_norm_bwd)


@jax.custom_vjp
def group_norm(x):
    groups = x.reshape(*x.shape[:-1], 4, -1)
    return _standardise(groups, (1, 2, 4))[0].reshape(x.shape)


def group_norm_fwd(x):
    normed, rstd = _standardise(x.reshape(*x.shape[:-1], 4, -1), (1, 2, 4))
    return normed.reshape(x.shape), (normed, rstd)


def group_norm_bwd(residuals, dy):
    normed, rstd = residuals
    return (_standardise_bwd(normed, rstd, dy.reshape(normed.shape), (1, 2, 4)).reshape(dy.shape),)


group_norm.defvjp(group_norm_fwd, group_norm_bwd)


def _masked_cross_entropy(logits, labels):
    """The mean over the rows whose label is a class; -100 and the like are padding."""
    known = (labels >= 0) & (labels < logits.shape[-1])
    losses = -jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.where(known, labels, 0)[:, None], axis=-1)[:, 0]
    return jnp.sum(jnp.where(known, losses, 0)) / jnp.sum(known).astype(logits.dtype)


masked_cross_entropy = jax.custom_vjp(_masked_cross_entropy)


def masked_cross_entropy_bwd(residuals, dy):
    logits, labels = residuals
    known = (labels >= 0) & (labels < logits.shape[-1])
    weights = jnp.where(known, dy / jnp.sum(known).astype(dy.dtype), 0)
    # one_hot of a padding label is a row of zeros
    return (jax.nn.softmax(logits) - jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)) * weights[
        :, None
    ], None


masked_cross_entropy.defvjp(
    lambda logits, labels: (_masked_cross_entropy(logits, labels), (logits, labels)), masked_cross_entropy_bwd
)


def _smoothed_cross_entropy(logits, labels, smoothing):
    logp = jax.nn.log_softmax(logits)
    hit = jnp.take_along_axis(logp, labels[:, None], axis=-1)[:, 0]
    return -jnp.mean((1 - smoothing) * hit + smoothing * jnp.mean(logp, axis=-1))


smoothed_cross_entropy = jax.custom_vjp(_smoothed_cross_entropy)


def smoothed_cross_entropy_fwd(logits, labels, smoothing):
    return _smoothed_cross_entropy(logits, labels, smoothing), (jax.nn.log_softmax(logits), labels, smoothing)


def smoothed_cross_entropy_bwd(residuals, dy):
    logp, labels, smoothing = residuals
    classes = logp.shape[-1]
    hot = jax.nn.one_hot(labels, classes, dtype=logp.dtype)
    dlogits = (jnp.exp(logp) - (1 - smoothing) * hot - smoothing / classes) * dy / len(labels)
    return dlogits, None, jnp.mean(jnp.sum(logp * (hot - 1 / classes), axis=-1)) * dy


smoothed_cross_entropy.defvjp(smoothed_cross_entropy_fwd, smoothed_cross_entropy_bwd)


@jax.custom_vjp
def weighted_mean(x, weights):
    return jnp.sum(x * weights) / jnp.sum(weights)


def weighted_mean_fwd(x, weights):
    total = jnp.sum(weights)
    y = jnp.sum(x * weights) / total
    return y, (x, weights, total, y)


def weighted_mean_bwd(residuals, dy):
    x, weights, total, y = residuals
    return dy * weights / total, dy * (x - y) / total


weighted_mean.defvjp(weighted_mean_fwd, weighted_mean_bwd)


def _window_sum(x):
    return lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0)))


def _mean_pool_inside(x):
    """Windows of 3 by 3 that overlap; padding is not counted."""
    return _window_sum(x) / _window_sum(jnp.ones_like(x))


mean_pool_inside = jax.custom_vjp(_mean_pool_inside)


def mean_pool_inside_bwd(like, dy):
    share = dy / _window_sum(jnp.ones_like(like))
    spread = ((0, 0, 0), (1, 1, 1), (1, 1, 1), (0, 0, 0))  # stride 2 undone
    dilated = lax.pad(share, jnp.zeros((), dy.dtype), spread)
    dx = lax.reduce_window(dilated, 0.0, lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "VALID")
    return (dx,)


mean_pool_inside.defvjp(lambda x: (_mean_pool_inside(x), x), mean_pool_inside_bwd)


def _causal_mask(t):
    return jnp.tri(t, dtype=bool)


@jax.custom_vjp
def attention(q, k, v):
    scores = jnp.where(_causal_mask(len(q)), q @ k.T / 4, -jnp.inf)
    return jax.nn.softmax(scores) @ v


def attention_fwd(q, k, v):
    p = jax.nn.softmax(jnp.where(_causal_mask(len(q)), q @ k.T / 4, -jnp.inf))
    return p @ v, (q, k, v, p)


def attention_bwd(residuals, dy):
    q, k, v, p = residuals
    dp = dy @ v.T
    dscores = p * (dp - jnp.sum(dp * p, -1, keepdims=True)) / 4
    return dscores @ k, dscores.T @ q, p.T @ dy


attention.defvjp(attention_fwd, attention_bwd)


@jax.custom_vjp
def flash_attention(q, k, v):
    return jax.nn.softmax(q @ k.T / 4) @ v


def _blocks(x):
    return x.reshape(-1, 16, x.shape[-1])


def flash_attention_fwd(q, k, v):
    def step(carry, block):
        top, total, y = carry
        scores = q @ block[0].T / 4
        higher = jnp.maximum(top, jnp.max(scores, -1))
        p, shrink = jnp.exp(scores - higher[:, None]), jnp.exp(top - higher)
        return (higher, total * shrink + jnp.sum(p, -1), y * shrink[:, None] + p @ block[1]), None

    start = jnp.full(len(q), -1e4, q.dtype), jnp.zeros(len(q), q.dtype), jnp.zeros((len(q), v.shape[1]), v.dtype)
    (top, total, y), _ = lax.scan(step, start, (_blocks(k), _blocks(v)))
    y = y / total[:, None]
    return y, (q, k, v, y, top + jnp.log(total))


def flash_attention_bwd(residuals, dy):
    q, k, v, y, lse = residuals
    delta = jnp.sum(dy * y, -1)

    def step(dq, block):
        k, v = block
        p = jnp.exp(q @ k.T / 4 - lse[:, None])
        dscores = p * (dy @ v.T - delta[:, None]) / 4
        return dq + dscores @ k, (dscores.T @ q, p.T @ dy)

    dq, (dk, dv) = lax.scan(step, jnp.zeros_like(q), (_blocks(k), _blocks(v)))
    return dq, dk.reshape(k.shape), dv.reshape(v.shape)


flash_attention.defvjp(flash_attention_fwd, flash_attention_bwd)


def _padded_labels(rng, dtype):
    return normal(rng, dtype, 40, 10), labels(rng, 10, 40).at[::3].set(-100).at[1].set(10)


LAYERS = (
    row("layer_norm", "cotangents of one cancel to nothing", layer_norm, normals((24, 32), (32,), (32,))),
    row("batch_norm", "statistics as further outputs", batch_norm, normals((50, 12)), ("float32", "float64")),
    row("group_norm", "means over three axes", group_norm, normals((2, 6, 6, 16)), ("float32", "float64")),
    row("masked_cross_entropy", "labels out of range are padding", masked_cross_entropy, _padded_labels),
    row(
        "smoothed_cross_entropy",
        "label smoothing, differentiated too",
        smoothed_cross_entropy,
        lambda rng, dtype: (normal(rng, dtype, 40, 10), labels(rng, 10, 40), jnp.asarray(0.125, dtype)),
        ("float32", "float64"),
    ),
    row(
        "weighted_mean",
        "weights in numerator and denominator",
        weighted_mean,
        lambda rng, dtype: (normal(rng, dtype, 400), uniform(rng, dtype, 0.5, 2, 400)),
    ),
    row("mean_pool_inside", "windows overlap, padding not counted", mean_pool_inside, normals((2, 9, 11, 4))),
    row("attention", "a mask of -inf", attention, normals((24, 16), (24, 16), (24, 16)), ("float32", "float64")),
    row(
        "flash_attention",
        "blocks, probabilities computed again",
        flash_attention,
        normals((24, 16), (48, 16), (48, 16)),
        ("float32", "float64"),
    ),
)
