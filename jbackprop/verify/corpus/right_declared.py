"""Right rules that are not the derivative of their primal, with the reference that declares what they are."""

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from jbackprop.verify.corpus.case import Probe, RightRule
from jbackprop.verify.corpus.right_inputs import normal


@jax.custom_vjp
def round_through(x):
    return jnp.round(x)


round_through.defvjp(lambda x: (jnp.round(x), None), lambda _, dy: (dy,))


def _sign_through(x):
    return jnp.where(x >= 0, 1.0, -1.0).astype(x.dtype)


sign_through = jax.custom_vjp(_sign_through)


sign_through.defvjp(lambda x: (_sign_through(x), jnp.abs(x) < 1), lambda near, dy: (jnp.where(near, dy, 0),))


def sign_through_reference(x):
    return jnp.clip(x, -1, 1) + stop_gradient(_sign_through(x) - jnp.clip(x, -1, 1))


@jax.custom_vjp
def reverse_gradient(x):
    return x


reverse_gradient.defvjp(lambda x: (x, None), lambda _, dy: (-dy,))


@jax.custom_vjp
def scale_gradient(x, factor):
    return x


scale_gradient.defvjp(
    lambda x, factor: (x, factor), lambda factor, dy: (stop_gradient(factor) * dy, jnp.zeros_like(factor))
)


def scale_gradient_reference(x, factor):
    slope = stop_gradient(factor)
    return x * slope + stop_gradient(x - x * slope)


@jax.custom_vjp
def fake_quantise(x, scale):
    return scale * jnp.clip(jnp.round(x / scale), -8, 7)


def fake_quantise_fwd(x, scale):
    steps = x / scale
    inside = (steps > -8) & (steps < 7)
    whole = jnp.clip(jnp.round(steps), -8, 7)
    return scale * whole, (inside, stop_gradient(jnp.where(inside, whole - steps, whole)))


def fake_quantise_bwd(residuals, dy):
    inside, slope = residuals
    return jnp.where(inside, dy, 0), jnp.sum(dy * slope)


fake_quantise.defvjp(fake_quantise_fwd, fake_quantise_bwd)


def fake_quantise_reference(x, scale):
    steps = jnp.clip(x / scale, -8, 7)
    return scale * (steps + stop_gradient(jnp.round(steps) - steps))


def _hard_choice(logits):
    return jax.nn.one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1], dtype=logits.dtype)


hard_choice = jax.custom_vjp(_hard_choice)


def hard_choice_fwd(logits):
    return hard_choice(logits), jax.nn.softmax(logits)


hard_choice.defvjp(hard_choice_fwd, lambda p, dy: (p * (dy - jnp.sum(p * dy, axis=-1, keepdims=True)),))


def hard_choice_reference(logits):
    p = jax.nn.softmax(logits)
    return p + stop_gradient(_hard_choice(logits) - p)


def _vector_quantise(x, codebook):
    squares = jnp.sum((x[:, None] - codebook[None]) ** 2, axis=-1)
    return codebook[jnp.argmin(squares, axis=-1)]


vector_quantise = jax.custom_vjp(_vector_quantise)


vector_quantise.defvjp(
    lambda x, codebook: (vector_quantise(x, codebook), codebook), lambda codebook, dy: (dy, jnp.zeros_like(codebook))
)


def vector_quantise_reference(x, codebook):
    return x + stop_gradient(_vector_quantise(x, codebook) - x)


@jax.custom_vjp
def gated(x):
    return x * stop_gradient(jax.nn.sigmoid(x))


def gated_fwd(x):
    gate = stop_gradient(jax.nn.sigmoid(x))
    return x * gate, gate


gated.defvjp(gated_fwd, lambda gate, dy: (dy * gate,))


@jax.custom_vjp
def bootstrapped_error(values, next_values, rewards):
    return jnp.mean((rewards + 0.875 * stop_gradient(next_values) - values) ** 2)


def bootstrapped_error_fwd(values, next_values, rewards):
    error = rewards + 0.875 * stop_gradient(next_values) - values
    return jnp.mean(error**2), error


def bootstrapped_error_bwd(error, dy):
    drewards = 2 * error * dy / error.size
    return -drewards, jnp.zeros_like(error), drewards


bootstrapped_error.defvjp(bootstrapped_error_fwd, bootstrapped_error_bwd)


def _gradient_row(name, temptation, function, reference, inputs, dtypes=("float32", "float64", "bfloat16")):
    return RightRule(
        name, temptation, lambda rng, dtype: Probe(function, inputs(rng, dtype)), dtypes, {"reference": reference}
    )


def _one(rng, dtype):
    return (normal(rng, dtype, 500, scale=2),)


DECLARED = (
    _gradient_row(
        "round_through", "straight through", round_through, lambda x: x + stop_gradient(jnp.round(x) - x), _one
    ),
    _gradient_row("sign_through", "straight through, inside of [-1, 1]", sign_through, sign_through_reference, _one),
    _gradient_row(
        "reverse_gradient", "the opposite sign, meant", reverse_gradient, lambda x: stop_gradient(2 * x) - x, _one
    ),
    _gradient_row(
        "scale_gradient",
        "a factor that is meant",
        scale_gradient,
        scale_gradient_reference,
        lambda rng, dtype: (*_one(rng, dtype), jnp.asarray(0.125, dtype)),
    ),
    _gradient_row(
        "fake_quantise",
        "quantisation with a learned step",
        fake_quantise,
        fake_quantise_reference,
        lambda rng, dtype: (*_one(rng, dtype), jnp.asarray(0.375, dtype)),
        ("float32", "float64"),  # in bfloat16 the reference's own value is off the grid
    ),
    _gradient_row(
        "hard_choice",
        "forward one-hot, backward softmax",
        hard_choice,
        hard_choice_reference,
        lambda rng, dtype: (normal(rng, dtype, 40, 12),),
    ),
    _gradient_row(
        "vector_quantise",
        "nearest code, straight through",
        vector_quantise,
        vector_quantise_reference,
        lambda rng, dtype: (normal(rng, dtype, 60, 4), normal(rng, dtype, 16, 4)),
        ("float32", "float64"),
    ),
    RightRule("gated", "stop_gradient: finite differences disagree", lambda rng, dtype: Probe(gated, _one(rng, dtype))),
    RightRule(
        "bootstrapped_error",
        "stop_gradient of one argument",
        lambda rng, dtype: Probe(bootstrapped_error, tuple(normal(rng, dtype, 300) for _ in range(3))),
    ),
)
