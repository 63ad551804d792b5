"""Right rules with arguments that are no float arrays, or that carry no gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.verify.corpus.case import Probe, RightRule
from jbackprop.verify.corpus.right_inputs import labels, normal


@jax.custom_vjp
def embedding(table, ids):
    return table[ids]


def embedding_bwd(residuals, dy):
    shape_of, ids = residuals
    return jnp.zeros_like(shape_of).at[ids].add(dy), None


embedding.defvjp(lambda table, ids: (table[ids], (table, ids)), embedding_bwd)


@jax.custom_vjp
def embedding_float0(table, ids):
    return table[ids]


def embedding_float0_bwd(residuals, dy):
    shape_of, ids = residuals
    return jnp.zeros_like(shape_of).at[ids].add(dy), np.zeros(ids.shape, jax.dtypes.float0)


embedding_float0.defvjp(lambda table, ids: (table[ids], (table, ids)), embedding_float0_bwd)


@jax.custom_vjp
def masked(x, mask):
    return jnp.where(mask, x, -1e9)


masked.defvjp(lambda x, mask: (jnp.where(mask, x, -1e9), mask), lambda mask, dy: (jnp.where(mask, dy, 0), None))


@jax.custom_vjp
def dropout(key, x):
    kept = jax.random.bernoulli(key, 0.75, x.shape)
    return jnp.where(kept, x / 0.75, 0)


def dropout_fwd(key, x):
    kept = jax.random.bernoulli(key, 0.75, x.shape)
    return jnp.where(kept, x / 0.75, 0), kept


dropout.defvjp(dropout_fwd, lambda kept, dy: (None, jnp.where(kept, dy / 0.75, 0)))


@jax.custom_vjp
def gaussian(mean, log_std, key):
    return mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype)


def gaussian_fwd(mean, log_std, key):
    noise = jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype)
    return mean + noise, noise


gaussian.defvjp(gaussian_fwd, lambda noise, dy: (dy, jnp.sum(dy * noise, axis=0), None))


@jax.custom_vjp
def gumbel_softmax(logits, key):
    return jax.nn.softmax((logits + jax.random.gumbel(key, logits.shape, logits.dtype)) / 0.5)


def gumbel_softmax_fwd(logits, key):
    p = gumbel_softmax(logits, key)
    return p, p


def gumbel_softmax_bwd(p, dp):
    return 2 * p * (dp - jnp.sum(p * dp, axis=-1, keepdims=True)), None


gumbel_softmax.defvjp(gumbel_softmax_fwd, gumbel_softmax_bwd)


@jax.custom_vjp
def ignores_one(x, w, unused):
    return x * w


def ignores_one_bwd(residuals, dy):
    x, w, unused = residuals
    return dy * w, dy * x, jnp.zeros_like(unused)


ignores_one.defvjp(lambda x, w, unused: (x * w, (x, w, unused)), ignores_one_bwd)


@jax.custom_vjp
def none_for_one(x, w, unused):
    return x * w


none_for_one.defvjp(lambda x, w, unused: (x * w, (x, w)), lambda xw, dy: (dy * xw[1], dy * xw[0], None))


@jax.custom_vjp
def numpy_zeros(x, thresholds):
    return jnp.where(x > thresholds, x * x, 0)


def numpy_zeros_bwd(residuals, dy):
    x, thresholds = residuals
    return jnp.where(x > thresholds, 2 * x * dy, 0), np.zeros(thresholds.shape, thresholds.dtype)


numpy_zeros.defvjp(lambda x, thresholds: (jnp.where(x > thresholds, x * x, 0), (x, thresholds)), numpy_zeros_bwd)


@jax.custom_vjp
def nan_mean(x):
    return jnp.sum(jnp.where(jnp.isnan(x), 0, x)) / jnp.sum(~jnp.isnan(x)).astype(x.dtype)


def nan_mean_fwd(x):
    known = ~jnp.isnan(x)
    count = jnp.sum(known).astype(x.dtype)
    return jnp.sum(jnp.where(known, x, 0)) / count, (known, count)


nan_mean.defvjp(nan_mean_fwd, lambda residuals, dy: (jnp.where(residuals[0], dy / residuals[1], 0),))


@jax.custom_vjp
def square(x):
    return x * x


square.defvjp(lambda x: (x * x, x), lambda x, dy: (2 * x * dy,))


def _squared_error_bwd(residuals, dy):
    difference = residuals * (2 * dy / residuals.size)
    return difference, None  # the targets are data


@jax.custom_vjp
def squared_error(prediction, targets):
    return jnp.mean((prediction - targets) ** 2)


squared_error.defvjp(lambda p, t: (jnp.mean((p - t) ** 2), p - t), _squared_error_bwd)


@jax.custom_vjp
def scaled_by_python_number(x, factor):
    return x * factor


def scaled_by_python_number_bwd(residuals, dy):
    x, factor = residuals
    return dy * factor, jnp.sum(dy * x).astype(jnp.result_type(factor))


scaled_by_python_number.defvjp(lambda x, factor: (x * factor, (x, factor)), scaled_by_python_number_bwd)


def _embedding_args(rng, dtype):
    return normal(rng, dtype, 30, 12), labels(rng, 30, 6, 20)  # ids come several times


def _three(rng, dtype):
    return tuple(normal(rng, dtype, 20, 15) for _ in range(3))


ARGUMENTS = (
    RightRule(
        "embedding", "integer argument; ids repeated", lambda rng, dtype: Probe(embedding, _embedding_args(rng, dtype))
    ),
    RightRule(
        "embedding_float0", "float0 returned", lambda rng, dtype: Probe(embedding_float0, _embedding_args(rng, dtype))
    ),
    RightRule(
        "masked",
        "boolean argument; -1e9 in the value",
        lambda rng, dtype: Probe(masked, (normal(rng, dtype, 20, 20), jnp.tri(20, dtype=bool))),
    ),
    RightRule(
        "dropout",
        "random, by a key that is an argument",
        lambda rng, dtype: Probe(dropout, (jax.random.key(3), normal(rng, dtype, 40, 20))),
    ),
    RightRule(
        "dropout_raw_key",
        "a key of the old kind, uint32",
        lambda rng, dtype: Probe(dropout, (jax.random.PRNGKey(5), normal(rng, dtype, 500))),
    ),
    RightRule(
        "gaussian",
        "sampling, reparameterised",
        lambda rng, dtype: Probe(gaussian, (normal(rng, dtype, 40, 10), normal(rng, dtype, 10), jax.random.key(0))),
    ),
    RightRule(
        "gumbel_softmax",
        "sampling from a softmax, relaxed",
        lambda rng, dtype: Probe(gumbel_softmax, (normal(rng, dtype, 40, 10), jax.random.key(7))),
    ),
    RightRule(
        "ignores_one", "an argument without influence: zeros", lambda rng, dtype: Probe(ignores_one, _three(rng, dtype))
    ),
    RightRule(
        "none_for_one",
        "an argument without influence: None",
        lambda rng, dtype: Probe(none_for_one, _three(rng, dtype)),
    ),
    RightRule(
        "numpy_zeros",
        "zeros made by NumPy",
        lambda rng, dtype: Probe(numpy_zeros, (normal(rng, dtype, 30, 10), normal(rng, dtype, 10))),
    ),
    RightRule(
        "nan_mean",
        "NaN in the data, left out",
        lambda rng, dtype: Probe(nan_mean, (normal(rng, dtype, 400).at[::7].set(jnp.nan),)),
    ),
    RightRule(
        "nan_stays",
        "NaN in the data, kept",
        lambda rng, dtype: Probe(square, (normal(rng, dtype, 400).at[5].set(jnp.nan),)),
    ),
    RightRule(
        "squared_error_of_data",
        "targets declared not to be differentiated",
        lambda rng, dtype: Probe(squared_error, (normal(rng, dtype, 300), normal(rng, dtype, 300))),
        options={"nondiff": ("targets",)},
    ),
    RightRule(
        "python_number",
        "a Python float, differentiated",
        lambda rng, dtype: Probe(scaled_by_python_number, (normal(rng, dtype, 300), 1.5)),
    ),
    RightRule("empty", "no element at all", lambda rng, dtype: Probe(square, (jnp.zeros((0, 5), dtype),))),
    RightRule(
        "empty_ids",
        "no row is looked up",
        lambda rng, dtype: Probe(embedding, (normal(rng, dtype, 9, 4), labels(rng, 9, 0))),
    ),
    RightRule(
        "scalar", "an array without axes", lambda rng, dtype: Probe(square, (jnp.asarray(rng.uniform(1, 2), dtype),))
    ),
    RightRule(
        "weak_scalar",
        "a Python float is the only argument",
        lambda rng, dtype: Probe(square, (1.25,)),
        dtypes=("float32",),
    ),
)
