"""Right softmax rules: saturated, masked, cancelling to rounding noise."""

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import Probe, RightRule
from jbackprop.verify.corpus.right_inputs import labels, normal


@jax.custom_vjp
def softmax(z):
    return jax.nn.softmax(z, axis=-1)


def softmax_fwd(z):
    p = jax.nn.softmax(z, axis=-1)
    return p, p


softmax.defvjp(softmax_fwd, lambda p, dp: (p * (dp - jnp.sum(p * dp, axis=-1, keepdims=True)),))


@jax.custom_vjp
def softmax_at(z, temperature):
    return jax.nn.softmax(z / temperature, axis=-1)


def softmax_at_fwd(z, temperature):
    p = jax.nn.softmax(z / temperature, axis=-1)
    return p, (z, temperature, p)


def softmax_at_bwd(residuals, dp):
    z, temperature, p = residuals
    dz = p * (dp - jnp.sum(p * dp, axis=-1, keepdims=True)) / temperature
    return dz, -jnp.sum(dz * (z - z.max(axis=-1, keepdims=True))) / temperature  # each row of dz sums to 0


softmax_at.defvjp(softmax_at_fwd, softmax_at_bwd)


@jax.custom_vjp
def logsumexp(x):
    return jax.scipy.special.logsumexp(x, axis=-1)


def logsumexp_fwd(x):
    top = jax.lax.stop_gradient(jnp.max(x, axis=-1))
    powers = jnp.exp(x - top[:, None])
    total = jnp.sum(powers, axis=-1)
    return top + jnp.log(total), powers / total[:, None]  # exp(x - y) would be less accurate than autodiff


logsumexp.defvjp(logsumexp_fwd, lambda p, dy: (p * dy[:, None],))


@jax.custom_vjp
def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=-1)[:, 0]


def cross_entropy_fwd(logits, labels):
    logp = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(logp, labels[:, None], axis=-1)[:, 0], (logp, labels)


def cross_entropy_bwd(residuals, dy):
    logp, labels = residuals
    return (jnp.exp(logp) - jax.nn.one_hot(labels, logp.shape[-1], dtype=logp.dtype)) * dy[:, None], None


cross_entropy.defvjp(cross_entropy_fwd, cross_entropy_bwd)


def _one_hot_logits(rng, dtype):
    return 200 * jax.nn.one_hot(labels(rng, 12, 30), 12, dtype=dtype)


def _row(name, temptation, function, inputs, dtypes=("float32", "float64", "bfloat16")):
    """A rule of one array, made by `inputs`."""
    return RightRule(name, temptation, lambda rng, dtype: Probe(function, (inputs(rng, dtype),)), dtypes)


SOFTMAX = (
    _row(
        "softmax_wide",
        "cotangents of one cancel to rounding noise",
        softmax,
        lambda rng, dtype: normal(rng, dtype, 6, 1000),
    ),
    _row("softmax_one_hot", "saturated: every gradient is zero", softmax, _one_hot_logits),
    RightRule(
        "softmax_cold",
        "a temperature of 0.05, differentiated too",
        lambda rng, dtype: Probe(softmax_at, (normal(rng, dtype, 30, 20), jnp.asarray(0.0625, dtype))),
        dtypes=("float32", "float64"),
    ),
    _row("logsumexp", "large logits", logsumexp, lambda rng, dtype: normal(rng, dtype, 20, 50, scale=100)),
    _row(
        "logsumexp_masked",
        "-inf among the logits",
        logsumexp,
        lambda rng, dtype: normal(rng, dtype, 20, 50).at[:, 30:].set(-jnp.inf),
    ),
    RightRule(
        "cross_entropy_many_classes",
        "20000 classes",
        lambda rng, dtype: Probe(cross_entropy, (normal(rng, dtype, 4, 20_000), labels(rng, 20_000, 4))),
    ),
    RightRule(
        "cross_entropy_confident",
        "probabilities that round to 1",
        lambda rng, dtype: Probe(cross_entropy, (normal(rng, dtype, 50, 10, scale=30), labels(rng, 10, 50))),
    ),
)
