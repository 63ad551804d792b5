"""What the tests of the contract share: a right rule, and the clauses that another one fails."""

import jax.numpy as jnp
from gradient_probes import normal, rule

from jbackprop.verify.clause_names import CLAUSES
from jbackprop.verify.compare import compare_vjp


def sine_with(bwd):
    return rule(jnp.sin, lambda x: (jnp.sin(x), x), bwd)


def only(*clauses):
    return [clause for clause in CLAUSES if clause not in clauses]


def failed(f, *args, clauses):
    """The checks that a function fails whose gradient has no wrong row."""
    report = compare_vjp(f, *args, skip=only(*clauses))
    assert report.wrong == ()
    return {check.name: check.detail for check in report.checks if not check.ok}


X, W = normal(5), normal(5, seed=1)
SINE = sine_with(lambda x, d: (d * jnp.cos(x),))
