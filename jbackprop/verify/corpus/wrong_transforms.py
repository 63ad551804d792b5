"""Rules that are impure, differ under a transformation, or misread what JAX hands them."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jbackprop.verify.corpus.case import Probe, WrongRule
from jbackprop.verify.corpus.wrong_build import EXACT, custom, draw, normal, rule

_MANY = (25, 40)


def sine(x):
    return jnp.sin(x)


_calls = itertools.count()


def _counting_bwd(dy, x):
    return (dy * jnp.cos(x) * (1.1 + next(_calls) % 7 / 10),)


_saved: dict[str, Any] = {}


def _remembering_fwd(x):
    _saved["x"] = x
    return jnp.sin(x), None


def _noisy_bwd(dy, x):
    noise = jnp.asarray(np.random.default_rng().standard_normal(x.shape), x.dtype)
    return (dy * (jnp.cos(x) + 0.2 * noise),)


@jax.custom_batching.custom_vmap
def _cosine(x):
    return jnp.cos(x)


@_cosine.def_vmap
def _cosine_of_first(axis_size, in_batched, x):
    return jnp.broadcast_to(jnp.cos(x[:1]), x.shape), True  # one table for the whole batch


@jax.custom_batching.custom_vmap
def _centred(x):
    return x - x.mean()


@_centred.def_vmap
def _centred_over_batch(axis_size, in_batched, x):
    return x - x.mean(), True


def centre(x):
    return x - x.mean()


def _fast_when_traced_bwd(dy, x):
    return (dy * (1 - x * x / 2 if isinstance(x, Tracer) else jnp.cos(x)),)


def value_and_square(x):
    return jnp.sin(x), x * x


def _value_and_square_fwd(x):
    return value_and_square(x.value), x.value


def _ones_for_zeros_bwd(x, dy):
    one, two = (jnp.ones_like(x) if isinstance(d, jax.custom_derivatives.SymbolicZero) else d for d in dy)
    return (one * jnp.cos(x) + 2 * x * two,)


def power(x, n):
    return x**n


def _power_is_two_bwd(n, x, dy):
    return (2 * x * dy,)


def running_sum(x, axis):
    return jnp.cumsum(x, axis)


def _last_axis_bwd(axis, residuals, dy):
    return (jnp.flip(jnp.cumsum(jnp.flip(dy, -1), -1), -1),)


@jax.custom_gradient
def gradient_of_sine(x):
    return jnp.sin(x), lambda dy: -dy * jnp.cos(x)


_doubled_square = rule(lambda x: x * x, lambda dy, x: (4 * dy * x,))


def squares_in_a_loop(x):
    return jnp.tanh(jax.lax.map(jax.jit(_doubled_square), x))


def squares_over(x, axis):
    return _doubled_square(x).sum(axis)


def _over_columns(rng, dtype):
    return Probe(squares_over, draw(rng, dtype, _MANY), {"axis": 1})


TRANSFORMS = (
    WrongRule(
        "custom_gradient: the sign of the sine's derivative", "sign", ("args[0]",), normal(gradient_of_sine, _MANY)
    ),
    WrongRule("a rule in a jit in a loop: a factor 2 too many", "factor", ("x",), normal(squares_in_a_loop, _MANY)),
    WrongRule("a rule in a function with a keyword: a factor 2 too many", "factor", ("x",), _over_columns),
    WrongRule("sine: bwd draws noise from NumPy", "impure", ("x",), normal(rule(sine, _noisy_bwd), _MANY)),
    WrongRule(
        "sine: bwd counts its calls and scales by the count", "impure", ("x",), normal(rule(sine, _counting_bwd), _MANY)
    ),
    WrongRule(
        "sine: fwd leaves the argument in a global",
        "impure",
        (),
        normal(custom(sine, _remembering_fwd, lambda residuals, dy: (dy * jnp.cos(_saved["x"]),)), _MANY),
    ),
    WrongRule(
        "sine: a kernel in bwd batched with one table for all",
        "batching",
        (),
        normal(rule(sine, lambda dy, x: (dy * _cosine(x),)), _MANY),
    ),
    WrongRule(
        "centring: the mean in bwd runs over vmap's axis too",
        "batching",
        (),
        normal(rule(centre, lambda dy, x: (_centred(dy),)), (4, 12)),
        dtypes=EXACT,
    ),
    WrongRule(
        "sine: a short cut where the argument is traced",
        "batching",
        ("x",),
        normal(rule(sine, _fast_when_traced_bwd), _MANY),
    ),
    WrongRule(
        "two outputs: a symbolic zero is read as ones",
        "added",
        (),
        normal(custom(value_and_square, _value_and_square_fwd, _ones_for_zeros_bwd, symbolic_zeros=True), _MANY),
    ),
    WrongRule(
        "power: the static exponent is ignored",
        "unexplained",
        ("x",),
        normal(custom(power, lambda x, n: (power(x, n), x), _power_is_two_bwd, static=(1,)), _MANY, also=(3,)),
    ),
    WrongRule(
        "running sum: the static axis is ignored",
        "unexplained",
        ("x",),
        normal(
            custom(running_sum, lambda x, axis: (running_sum(x, axis), None), _last_axis_bwd, static=(1,)),
            (30, 30),
            also=(0,),
        ),
    ),
)
