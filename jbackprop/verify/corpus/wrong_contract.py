"""Rules that break the contract with JAX: trees, dtypes and values."""

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import WrongRule
from jbackprop.verify.corpus.wrong_build import EXACT, custom, normal, rule, with_labels

_MANY = (25, 40)
_LAYER = ((64, 24), (24, 16), (16,))


def sine(x):
    return jnp.sin(x)


def dense(x, w, b):
    return x @ w + b


def product(a, b):
    return a * b


def row_bias(x, b):
    return x + b


def relu(x):
    return jnp.where(x > 0, x, 0)


def squared_error(prediction, target):
    return ((prediction - target) ** 2).mean()


def _no_target_bwd(dy, prediction, target):
    return 2 * dy * (prediction - target) / prediction.size, None


def _float32_weights_bwd(dy, x, w, b):
    return dy @ w.T, jnp.matmul(x.T, dy, preferred_element_type=jnp.float32), dy.sum(0)


def _three_residuals_bwd(residuals, dy):
    x, w, _b = residuals
    return dy @ w.T, x.T @ dy, dy.sum(0)


def lookup(table, labels):
    return jnp.where(labels[:, None] == jnp.arange(table.shape[1]), table, 0)


def _lookup_bwd(residuals, dy):
    table, labels = residuals
    return None, jnp.where(labels[:, None] == jnp.arange(table.shape[1]), dy, 0)  # the other way round


def _sine_from(fwd_value):
    """The sine with a right derivative, and a `fwd` that returns `fwd_value(x)`."""
    return custom(sine, lambda x: (fwd_value(x), x), lambda x, dy: (dy.reshape(x.shape).astype(x.dtype) * jnp.cos(x),))


def mean_square(x):
    return (x * x).mean()


def _sum_in_fwd(x):
    return (x * x).sum(), x


def gelu(x):
    return jax.nn.gelu(x, approximate=False)


def _approximate_fwd(x):
    return jax.nn.gelu(x, approximate=True), x


def _gelu_bwd(x, dy):
    return jax.vjp(gelu, x)[1](dy)


CONTRACT = (
    WrongRule(
        "sine: bwd returns float16",
        "dtype",
        ("x",),
        normal(rule(sine, lambda dy, x: ((dy * jnp.cos(x)).astype(jnp.float16),)), _MANY),
    ),
    WrongRule(
        "relu: bwd returns int32",
        "dtype",
        ("x",),
        normal(rule(relu, lambda dy, x: (jnp.where(x > 0, dy, 0).astype(jnp.int32),)), _MANY),
    ),
    WrongRule(
        "dense: dw stays in float32",
        "dtype",
        ("w",),
        normal(rule(dense, _float32_weights_bwd), *_LAYER),
        dtypes=("bfloat16",),
    ),
    WrongRule(
        "squared error: None for the target",
        "zero",
        ("target",),
        normal(rule(squared_error, _no_target_bwd), _MANY, _MANY),
    ),
    WrongRule(
        "product: bwd returns a list",
        "structure",
        (),
        normal(rule(product, lambda dy, a, b: [dy * b, dy * a]), _MANY, _MANY),
    ),
    WrongRule(
        "sine: bwd returns a bare array", "structure", (), normal(rule(sine, lambda dy, x: dy * jnp.cos(x)), _MANY)
    ),
    WrongRule(
        "product: bwd returns one cotangent for two arguments",
        "structure",
        (),
        normal(rule(product, lambda dy, a, b: (dy * b,)), _MANY, _MANY),
    ),
    WrongRule(
        "product: bwd returns a dict",
        "structure",
        (),
        normal(rule(product, lambda dy, a, b: {"a": dy * b, "b": dy * a}), _MANY, _MANY),
    ),
    WrongRule(
        "bias of shape (1, k): its cotangent is (k,)",
        "structure",
        ("b",),
        normal(rule(row_bias, lambda dy, x, b: (dy, dy.sum(0))), (64, 16), (1, 16)),
    ),
    WrongRule(
        "dense: bwd unpacks three residuals, fwd saved two",
        "structure",
        (),
        normal(custom(dense, lambda x, w, b: (dense(x, w, b), (x, w)), _three_residuals_bwd), *_LAYER),
    ),
    WrongRule(
        "lookup: None for the table, an array for the indices",
        "zero",
        ("table",),
        with_labels(custom(lookup, lambda *args: (lookup(*args), args), _lookup_bwd), (40, 10)),
    ),
    WrongRule(
        "sine: fwd returns another shape", "structure", (), normal(_sine_from(lambda x: jnp.sin(x)[None]), _MANY)
    ),
    WrongRule(
        "sine: fwd returns a float16", "dtype", (), normal(_sine_from(lambda x: jnp.sin(x).astype(jnp.float16)), _MANY)
    ),
    WrongRule("sine: fwd returns the value + 1", "value", (), normal(_sine_from(lambda x: jnp.sin(x) + 1), (1000,))),
    WrongRule(
        "mean square: fwd returns the sum, so it grows with the size",
        "value",
        (),
        normal(custom(mean_square, _sum_in_fwd, lambda x, dy: (2 * dy * x / x.size,)), (1000,)),
        source="size-scaled forward",
    ),
    WrongRule(
        "gelu: fwd returns the approximate value",
        "value",
        (),
        normal(custom(gelu, _approximate_fwd, _gelu_bwd), _MANY),
        dtypes=EXACT,
    ),
)
