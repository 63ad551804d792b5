"""Right rules of pytrees, and with several outputs."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import Probe, RightRule
from jbackprop.verify.corpus.right_inputs import normal, normals, row, uniform


@jax.custom_vjp
def mlp(params, x):
    h = jnp.tanh(x @ params["hidden"]["w"] + params["hidden"]["b"])
    return h @ params["out"][0] + params["out"][1]


def mlp_fwd(params, x):
    h = jnp.tanh(x @ params["hidden"]["w"] + params["hidden"]["b"])
    return h @ params["out"][0] + params["out"][1], (params, x, h)


def mlp_bwd(residuals, dy):
    params, x, h = residuals
    dz = dy @ params["out"][0].T * (1 - h * h)
    hidden = {"w": x.T @ dz, "b": dz.sum(0)}
    return {"hidden": hidden, "out": [h.T @ dy, dy.sum(0)]}, dz @ params["hidden"]["w"].T


mlp.defvjp(mlp_fwd, mlp_bwd)


class Affine(NamedTuple):
    w: Any
    b: Any  # None: no bias


def _affine(layer, x):
    return x @ layer.w if layer.b is None else x @ layer.w + layer.b


affine = jax.custom_vjp(_affine)


def affine_bwd(residuals, dy):
    layer, x = residuals
    return Affine(x.T @ dy, None if layer.b is None else dy.sum(0)), dy @ layer.w.T


affine.defvjp(lambda layer, x: (_affine(layer, x), (layer, x)), affine_bwd)


@jax.custom_vjp
def moments(x):
    mean = x.mean(0)
    return {"mean": mean, "variance": ((x - mean) ** 2).mean(0), "rows": jnp.asarray(x.shape[0], jnp.int32)}


def moments_fwd(x):
    mean = x.mean(0)
    centred = x - mean
    outputs = {"mean": mean, "variance": (centred**2).mean(0), "rows": jnp.asarray(x.shape[0], jnp.int32)}
    return outputs, centred


moments.defvjp(
    moments_fwd, lambda centred, d_outs: ((d_outs["mean"] + 2 * centred * d_outs["variance"]) / centred.shape[0],)
)


@jax.custom_vjp
def mean_and_count(x):
    return jnp.mean(x), x.size


mean_and_count.defvjp(
    lambda x: ((jnp.mean(x), x.size), x), lambda x, d_outs: (jnp.broadcast_to(d_outs[0] / x.size, x.shape),)
)


@jax.custom_vjp
def magnitude_and_place(x):
    return jnp.max(x, axis=-1), jnp.argmax(x, axis=-1), x > 0


def magnitude_and_place_fwd(x):
    outs = magnitude_and_place(x)
    return outs, (x, outs[1])


def magnitude_and_place_bwd(residuals, d_outs):
    x, place = residuals
    return (jax.nn.one_hot(place, x.shape[-1], dtype=x.dtype) * d_outs[0][:, None],)


magnitude_and_place.defvjp(magnitude_and_place_fwd, magnitude_and_place_bwd)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Polynomial:
    coefficients: Any

    def __call__(self, x):
        return _polynomial(self.coefficients, x)


@jax.custom_vjp
def _polynomial(coefficients, x):
    return jnp.polyval(coefficients, x)


def _polynomial_bwd(residuals, dy):
    coefficients, x = residuals
    degrees = range(len(coefficients) - 1, -1, -1)
    dcoefficients = jnp.stack([jnp.sum(dy * x**i) for i in degrees])
    return dcoefficients, dy * sum(i * coefficients[k] * x ** (i - 1) for k, i in enumerate(degrees) if i > 0)


_polynomial.defvjp(lambda coefficients, x: (jnp.polyval(coefficients, x), (coefficients, x)), _polynomial_bwd)


def call_polynomial(polynomial, x):
    return polynomial(x)


def _mlp_args(rng, dtype):
    hidden = {"w": normal(rng, dtype, 16, 24, scale=0.3), "b": normal(rng, dtype, 24)}
    return {"hidden": hidden, "out": [normal(rng, dtype, 24, 5, scale=0.3), normal(rng, dtype, 5)]}, normal(
        rng, dtype, 10, 16
    )


def _affine_args(rng, dtype):
    return Affine(normal(rng, dtype, 16, 8), None), normal(rng, dtype, 20, 16)


PYTREES = (
    row("mlp", "dicts and lists", mlp, _mlp_args),
    row("affine_without_bias", "a NamedTuple with None", affine, _affine_args),
    row("moments", "a dict of outputs, one an integer", moments, normals((40, 12))),
    row("mean_and_count", "an output that is a Python number", mean_and_count, normals((20, 20))),
    row(
        "magnitude_and_place",
        "integer and boolean outputs",
        magnitude_and_place,
        normals((30, 20)),
        ("float32", "float64"),  # in bfloat16 the largest tie
    ),
    row(
        "polynomial",
        "a dataclass that is a pytree, called",
        call_polynomial,
        lambda rng, dtype: (Polynomial(normal(rng, dtype, 4)), uniform(rng, dtype, -1, 1, 200)),
    ),
    RightRule(
        "polynomial_method",
        "an object as the function, with arrays inside",
        lambda rng, dtype: Probe(Polynomial(normal(rng, dtype, 4)), (uniform(rng, dtype, -1, 1, 200),)),
        dtypes=("float32", "float64"),
    ),
)
