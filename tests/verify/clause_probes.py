"""What the tests of the contract share: a right rule, and the clauses that another one fails."""

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.verify.clauses import CLAUSES
from jbackprop.verify.compare import compare_vjp


def rule(primal, fwd, bwd, **options):
    f = jax.custom_vjp(primal, **options)
    f.defvjp(fwd, bwd)
    return f


def sine_with(bwd):
    return rule(jnp.sin, lambda x: (jnp.sin(x), x), bwd)


def only(*clauses):
    return [clause for clause in CLAUSES if clause not in clauses]


def failed(f, *args, clauses):
    """The checks that a function fails whose gradient has no wrong row."""
    report = compare_vjp(f, *args, skip=only(*clauses))
    assert report.wrong == ()
    return {check.name: check.detail for check in report.checks if not check.ok}


X = jnp.asarray(np.random.default_rng(0).standard_normal(5), jnp.float32)
W = jnp.asarray(np.random.default_rng(1).standard_normal(5), jnp.float32)
SINE = sine_with(lambda x, d: (d * jnp.cos(x),))
