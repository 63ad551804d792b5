"""Wrong rules of linear algebra."""

import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from jbackprop.verify.corpus.case import Probe, WrongRule
from jbackprop.verify.corpus.wrong_build import EXACT, custom, draw, normal, rule


def outer(a, b):
    return a[:, None] * b[None, :]


def quadratic_form(x, a):
    return jnp.einsum("ni,ij,nj->n", x, a, x)


def solve(a, b):
    return jnp.linalg.solve(a, b)


def _solve_fwd(a, b):
    x = solve(a, b)
    return x, (a, x)


def _solve_bwd(residuals, dx):
    a, x = residuals
    db = jnp.linalg.solve(a, dx)
    return -db @ x.T, db


def solve_lower(lower, b):
    return solve_triangular(lower, b, lower=True)


def _solve_lower_fwd(lower, b):
    x = solve_lower(lower, b)
    return x, (lower, x)


def _solve_lower_bwd(residuals, dx):
    lower, x = residuals
    db = solve_triangular(lower, dx, lower=True)
    return jnp.tril(-db @ x.T), db


def log_determinant(a):
    return jnp.linalg.slogdet(a)[1]


def inverse(a):
    return jnp.linalg.inv(a)


def _well_conditioned(function, *shapes, triangular=False):
    def probe(rng, dtype):
        a, *rest = draw(rng, dtype, *shapes)
        a = a / 4 + 3 * jnp.eye(a.shape[0], dtype=a.dtype)
        return Probe(function, (jnp.tril(a) if triangular else a, *rest))

    return probe


ALGEBRA = (
    WrongRule(
        "outer product: da and db exchanged",
        "swapped",
        ("a", "b"),
        normal(rule(outer, lambda dy, a, b: (dy.T @ a, dy @ b)), (40,), (40,)),
    ),
    WrongRule(
        "quadratic form: only one of the two x",
        "missing term",
        ("x",),
        normal(
            rule(quadratic_form, lambda dy, x, a: (dy[:, None] * (x @ a.T), jnp.einsum("n,ni,nj->ij", dy, x, x))),
            (50, 20),
            (20, 20),
        ),
    ),
    WrongRule(
        "solve: not the transposed system",
        "wrong point",
        ("a", "b"),
        _well_conditioned(custom(solve, _solve_fwd, _solve_bwd), (20, 20), (20, 6)),
        dtypes=EXACT,
    ),
    WrongRule(
        "triangular solve: not the transposed system",
        "wrong point",
        ("lower", "b"),
        _well_conditioned(custom(solve_lower, _solve_lower_fwd, _solve_lower_bwd), (20, 20), (20, 6), triangular=True),
        dtypes=EXACT,
    ),
    WrongRule(
        "log-determinant: the inverse is not transposed",
        "transposed",
        ("a",),
        _well_conditioned(rule(log_determinant, lambda dy, a: (dy * jnp.linalg.inv(a),)), (20, 20)),
        dtypes=EXACT,
    ),
    WrongRule(
        "inverse: the minus is missing",
        "sign",
        ("a",),
        _well_conditioned(rule(inverse, lambda dy, a: (inverse(a).T @ dy @ inverse(a).T,)), (20, 20)),
        dtypes=EXACT,
    ),
)
