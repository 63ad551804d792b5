"""Right rules whose numbers are large, tiny, saturated or cancel."""

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import Probe, RightRule
from jbackprop.verify.corpus.right_inputs import normal, uniform


@jax.custom_vjp
def sum_of_squares(x):
    return jnp.sum(x * x)


sum_of_squares.defvjp(lambda x: (jnp.sum(x * x), x), lambda x, dy: (2 * x * dy,))


@jax.custom_vjp
def affine(x, w, b):
    return x @ w + b


def affine_bwd(residuals, dy):
    x, w = residuals
    return dy @ w.T, x.T @ dy, dy.sum(0)


affine.defvjp(lambda x, w, b: (x @ w + b, (x, w)), affine_bwd)


@jax.custom_vjp
def variance(x):
    return jnp.var(x)


def variance_fwd(x):
    centred = x - jnp.mean(x)
    centred = centred - jnp.mean(centred)  # autodiff has this second step too, and is more accurate for it
    return jnp.mean(centred * centred), centred


variance.defvjp(variance_fwd, lambda centred, dy: (2 / centred.size * centred * dy,))


@jax.custom_vjp
def bell(x):
    return jnp.exp(-x * x)


def bell_fwd(x):
    y = jnp.exp(-x * x)
    return y, (x, y)


bell.defvjp(bell_fwd, lambda residuals, dy: (-2 * residuals[0] * residuals[1] * dy,))


@jax.custom_vjp
def cube(x):
    return x**3


cube.defvjp(lambda x: (x * x * x, x), lambda x, dy: (3 * x * x * dy,))


@jax.custom_vjp
def exponential(x):
    return jnp.exp(x)


def exponential_fwd(x):
    y = jnp.exp(x)
    return y, y


exponential.defvjp(exponential_fwd, lambda y, dy: (y * dy,))


@jax.custom_vjp
def reciprocal(x):
    return 1 / x


def reciprocal_fwd(x):
    y = 1 / x
    return y, y


reciprocal.defvjp(reciprocal_fwd, lambda y, dy: (-dy * y * y,))


@jax.custom_vjp
def sigmoid(x):
    return jax.nn.sigmoid(x)


def sigmoid_fwd(x):
    y = jax.nn.sigmoid(x)
    return y, y


sigmoid.defvjp(sigmoid_fwd, lambda y, dy: (dy * y * (1 - y),))


@jax.custom_vjp
def log1pexp(x):
    return jnp.log(1 + jnp.exp(x))


log1pexp.defvjp(lambda x: (jnp.log(1 + jnp.exp(x)), x), lambda x, dy: (dy * jax.nn.sigmoid(x),))


@jax.custom_jvp
def log1pexp_of_the_docs(x):
    return jnp.log(1 + jnp.exp(x))


@log1pexp_of_the_docs.defjvp
def log1pexp_of_the_docs_jvp(primals, tangents):
    (x,), (dx,) = primals, tangents
    return log1pexp_of_the_docs(x), (1 - 1 / (1 + jnp.exp(x))) * dx


@jax.custom_vjp
def expm1(x):
    return jnp.expm1(x)


expm1.defvjp(lambda x: (jnp.expm1(x), x), lambda x, dy: (dy * jnp.exp(x),))


@jax.custom_vjp
def versine(x):
    return 2 * jnp.sin(x / 2) ** 2


versine.defvjp(lambda x: (2 * jnp.sin(x / 2) ** 2, x), lambda x, dy: (dy * jnp.sin(x),))


@jax.custom_vjp
def sine(x):
    return jnp.sin(x)


sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (dy * jnp.cos(x),))


@jax.custom_vjp
def sinc(x):
    return jnp.sinc(x)


def sinc_bwd(x, dy):
    near = jnp.abs(x) < 1e-2
    safe = jnp.where(near, 1, x)
    far = (jnp.cos(jnp.pi * safe) - jnp.sinc(safe)) / safe
    u = jnp.pi**2 * x
    return (dy * jnp.where(near, -u / 3 * (1 - u * x / 10 * (1 - u * x / 28)), far),)


sinc.defvjp(lambda x: (jnp.sinc(x), x), sinc_bwd)


@jax.custom_vjp
def x_log_x(x):
    return jnp.where(x > 0, x * jnp.log(jnp.where(x > 0, x, 1)), 0)


def x_log_x_fwd(x):
    logs = jnp.log(jnp.where(x > 0, x, 1))
    return jnp.where(x > 0, x * logs, 0), (x > 0, logs)


x_log_x.defvjp(x_log_x_fwd, lambda residuals, dy: (jnp.where(residuals[0], dy * (residuals[1] + 1), 0),))


@jax.custom_vjp
def power(x, exponent):
    return x**exponent


def power_bwd(residuals, dy):
    x, exponent = residuals
    dx = dy * exponent * x ** (exponent - 1)
    return dx, jnp.sum(dy * x**exponent * jnp.log(x))


power.defvjp(lambda x, exponent: (x**exponent, (x, exponent)), power_bwd)


def _row(name, temptation, function, inputs, dtypes=("float32", "float64", "bfloat16")):
    """A rule of one array, made by `inputs`."""
    return RightRule(name, temptation, lambda rng, dtype: Probe(function, (inputs(rng, dtype),)), dtypes)


def _some_saturated(rng, dtype):
    return normal(rng, dtype, 300).at[::2].multiply(40)


SCALES = (
    _row("sum_of_squares", "a sum of 1e5 terms", sum_of_squares, lambda rng, dtype: normal(rng, dtype, 100_000)),
    _row("squares_at_1e4", "squares of 1e4", sum_of_squares, lambda rng, dtype: normal(rng, dtype, 500, scale=1e4)),
    RightRule(
        "affine_large_batch",
        "bias and weights summed over 2e4 rows",
        lambda rng, dtype: Probe(
            affine, (normal(rng, dtype, 20_000, 4), normal(rng, dtype, 4, 5), normal(rng, dtype, 5))
        ),
    ),
    _row(
        "variance_far_from_0",
        "cancellation in x - mean",
        variance,
        lambda rng, dtype: normal(rng, dtype, 1000, shift=300.0),
    ),
    _row("bell_tail", "gradients of 1e-28", bell, lambda rng, dtype: uniform(rng, dtype, 7.5, 8.2, 400)),
    _row(
        "cube_tiny",
        "gradients of 1e-30",
        cube,
        lambda rng, dtype: normal(rng, dtype, 400, scale=1e-15),
        ("float32", "float64"),
    ),
    _row(
        "bell_subnormal", "gradients among the subnormals", bell, lambda rng, dtype: uniform(rng, dtype, 9.0, 9.7, 400)
    ),
    _row("exponential_huge", "gradients of 1e34", exponential, lambda rng, dtype: uniform(rng, dtype, 70, 80, 400)),
    _row("reciprocal_huge", "gradients of 1e24", reciprocal, lambda rng, dtype: uniform(rng, dtype, 1e-12, 2e-12, 300)),
    _row("sigmoid_saturated", "half the elements saturated", sigmoid, _some_saturated),
    _row(
        "log1pexp", "autodiff of the primal overflows", log1pexp, lambda rng, dtype: uniform(rng, dtype, -100, 100, 500)
    ),
    _row(
        "log1pexp_of_the_docs",
        "a custom_jvp, as in JAX's documentation",
        log1pexp_of_the_docs,
        lambda rng, dtype: uniform(rng, dtype, -8, 60, 500),
    ),
    _row("expm1", "value far smaller than its parts", expm1, lambda rng, dtype: normal(rng, dtype, 400, scale=1e-5)),
    _row("versine", "1 - cos x near 0", versine, lambda rng, dtype: normal(rng, dtype, 400, scale=1e-4)),
    _row(
        "sine_far_out",
        "periodic at 1e4",
        sine,
        lambda rng, dtype: uniform(rng, dtype, 9e3, 1.1e4, 400),
        ("float32", "float64"),
    ),
    _row("sinc", "0/0 at 0", sinc, lambda rng, dtype: normal(rng, dtype, 300).at[::5].set(0)),
    _row(
        "x_log_x",
        "infinite slope at 0, defined away",
        x_log_x,
        lambda rng, dtype: uniform(rng, dtype, 0, 1, 300).at[::3].set(0),
    ),
    RightRule(
        "power",
        "an exponent, differentiated too",
        lambda rng, dtype: Probe(power, (uniform(rng, dtype, 0.1, 3, 400), jnp.asarray(2.5, dtype))),
    ),
)
