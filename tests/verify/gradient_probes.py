"""What the tests of rules and arguments of every kind share: rules with a factor, which is 1 in a right one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.verify.clause_names import CLAUSES
from jbackprop.verify.compare import compare_vjp

gradients = functools.partial(compare_vjp, skip=CLAUSES)


def normal(*shape, dtype=jnp.float32, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


X, W = normal(4), normal(4, seed=1)
FACTORS = [1.0, 2.0]  # right and wrong


def rule(primal, fwd, bwd, **options):
    f = jax.custom_vjp(primal, **{k: v for k, v in options.items() if k.startswith("nondiff")})
    f.defvjp(fwd, bwd, **{k: v for k, v in options.items() if not k.startswith("nondiff")})
    return f


def sine(factor, **options):
    return rule(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, d: (factor * d * jnp.cos(x),), **options)


def scaled(factor):
    """Takes two arguments; the cotangent of the second is multiplied by `factor`."""
    return rule(lambda x, w: x * w, lambda x, w: (x * w, (x, w)), lambda r, d: (d * r[1], factor * d * r[0]))
