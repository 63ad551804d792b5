"""Wrong rules of element-wise functions of several arguments, dropout and simple functions."""

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import Probe, WrongRule
from jbackprop.verify.corpus.wrong_build import custom, draw, normal, rule, tied

_MANY = (40, 50)


def square(x):
    return x * x


def cosine(x):
    return jnp.cos(x)


def hard_tanh(x):
    return jnp.clip(x, -1, 1)


def per_channel_gain(x, gain):
    return x * gain


def choose(mask, a, b):
    return jnp.where(mask, a, b)


def _choose_probe(function):
    def probe(rng, dtype):
        return Probe(function, (jnp.asarray(rng.random(_MANY) < 0.4), *draw(rng, dtype, _MANY, _MANY)))

    return probe


def dropout(x, mask):
    return jnp.where(mask, x / 0.75, 0)


def _dropout_probe(function):
    def probe(rng, dtype):
        return Probe(function, (*draw(rng, dtype, _MANY), jnp.asarray(rng.random(_MANY) < 0.75)))

    return probe


def keyed_dropout(key, x):
    return jnp.where(jax.random.bernoulli(key, 0.75, x.shape), x / 0.75, 0)


def _keyed_dropout_bwd(residuals, dy):
    (key,) = residuals
    _, fresh = jax.random.split(key)
    return None, jnp.where(jax.random.bernoulli(fresh, 0.75, dy.shape), dy / 0.75, 0)


def _keyed_probe(function):
    def probe(rng, dtype):
        return Probe(function, (jax.random.key(int(rng.integers(1000))), *draw(rng, dtype, _MANY)))

    return probe


def atan2(y, x):
    return jnp.arctan2(y, x)


def _atan2_bwd(dz, y, x):
    square_of_radius = x * x + y * y
    return -dz * y / square_of_radius, dz * x / square_of_radius


def divide(a, b):
    return a / b


def _divide_probe(function):
    def probe(rng, dtype):
        a, b = draw(rng, dtype, _MANY, _MANY)
        return Probe(function, (a, jnp.where(b > 0, b + 0.5, b - 0.5)))

    return probe


def larger(a, b):
    return jnp.maximum(a, b)


def scaled_lanes(x):
    return 3 * x


def _scaled_lanes_bwd(dy, x):
    lanes = x.size // 8 * 8  # eight at a time, and nothing for the tail
    return (jnp.zeros_like(x).at[:lanes].set(3 * dy[:lanes]),)


ELEMENTWISE = (
    WrongRule(
        "square: the factor 2 is missing", "factor", ("x",), normal(rule(square, lambda dy, x: (dy * x,)), _MANY)
    ),
    WrongRule(
        "cosine: the minus is missing", "sign", ("x",), normal(rule(cosine, lambda dy, x: (dy * jnp.sin(x),)), _MANY)
    ),
    WrongRule(
        "clip: passes outside instead of inside",
        "unexplained",
        ("x",),
        normal(rule(hard_tanh, lambda dy, x: (jnp.where(jnp.abs(x) > 1, dy, 0),)), _MANY),
    ),
    WrongRule(
        "gain: its cotangent is the mean over the batch",
        "factor",
        ("gain",),
        normal(rule(per_channel_gain, lambda dy, x, gain: (dy * gain, (dy * x).mean(0))), _MANY, (50,)),
    ),
    WrongRule(
        "product: da and db exchanged",
        "swapped",
        ("x", "gain"),
        normal(rule(per_channel_gain, lambda dy, x, gain: (dy * x, dy * gain)), _MANY, _MANY),
    ),
    WrongRule(
        "where: the mask is inverted",
        "swapped",
        ("a", "b"),
        _choose_probe(rule(choose, lambda dy, mask, a, b: (None, jnp.where(mask, 0, dy), jnp.where(mask, dy, 0)))),
    ),
    WrongRule(
        "dropout: 1/keep is missing",
        "factor",
        ("x",),
        _dropout_probe(rule(dropout, lambda dy, x, mask: (jnp.where(mask, dy, 0), None))),
    ),
    WrongRule(
        "dropout: bwd draws another mask",
        "unexplained",
        ("x",),
        _keyed_probe(custom(keyed_dropout, lambda key, x: (keyed_dropout(key, x), (key,)), _keyed_dropout_bwd)),
    ),
    WrongRule(
        "atan2: the two arguments exchanged", "swapped", ("y", "x"), normal(rule(atan2, _atan2_bwd), _MANY, _MANY)
    ),
    WrongRule(
        "quotient: the minus is missing",
        "sign",
        ("b",),
        _divide_probe(rule(divide, lambda dy, a, b: (dy / b, dy * a / (b * b)))),
    ),
    WrongRule(
        "maximum: ties go to both in full",
        "ties",
        ("a", "b"),
        tied(rule(larger, lambda dy, a, b: (jnp.where(a >= b, dy, 0), jnp.where(b >= a, dy, 0))), 6, _MANY, _MANY),
    ),
    WrongRule(
        "eight elements at a time: the tail is forgotten",
        "part",
        ("x",),
        normal(rule(scaled_lanes, _scaled_lanes_bwd), (509,)),
    ),
)
