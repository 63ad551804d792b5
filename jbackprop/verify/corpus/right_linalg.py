"""Right rules of linear algebra, transforms, scatters and convolutions."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular

from jbackprop.verify.corpus.right_inputs import labels, normal, normals, row

EXACT = ("float32", "float64")  # LAPACK has no half precision


@jax.custom_vjp
def inverse(a):
    return jnp.linalg.inv(a)


def inverse_fwd(a):
    y = jnp.linalg.inv(a)
    return y, y


inverse.defvjp(inverse_fwd, lambda y, dy: (-y.T @ dy @ y.T,))


@jax.custom_vjp
def logdet(a):
    return jnp.linalg.slogdet(a)[1]


logdet.defvjp(lambda a: (jnp.linalg.slogdet(a)[1], a), lambda a, dy: (dy * jnp.linalg.inv(a).T,))


@jax.custom_vjp
def solve(a, b):
    return jnp.linalg.solve(a, b)


def solve_fwd(a, b):
    y = jnp.linalg.solve(a, b)
    return y, (a, y)


def solve_bwd(residuals, dy):
    a, y = residuals
    db = jnp.linalg.solve(a.T, dy)
    return -db @ y.T, db


solve.defvjp(solve_fwd, solve_bwd)


@jax.custom_vjp
def substitute(a, b):
    return solve_triangular(a, b, lower=True)  # reads the lower triangle alone


def substitute_fwd(a, b):
    y = solve_triangular(a, b, lower=True)
    return y, (a, y)


def substitute_bwd(residuals, dy):
    a, y = residuals
    db = solve_triangular(a, dy, lower=True, trans=1)
    return -jnp.tril(db @ y.T), db


substitute.defvjp(substitute_fwd, substitute_bwd)


@jax.custom_vjp
def cholesky(a):
    return jnp.linalg.cholesky(a)


def cholesky_fwd(a):
    y = jnp.linalg.cholesky(a)
    return y, y


def cholesky_bwd(y, dy):
    inner = jnp.tril(y.T @ dy)
    inner = inner - 0.5 * jnp.diag(jnp.diag(inner))
    half = solve_triangular(y, inner, lower=True, trans=1)
    da = solve_triangular(y, half.T, lower=True, trans=1).T
    return (0.5 * (da + da.T),)


cholesky.defvjp(cholesky_fwd, cholesky_bwd)


def _conjugate_gradients(a, b):
    tiny = jnp.finfo(b.dtype).tiny

    def step(_, state):
        x, r, p = state
        squares, ap = r @ r, a @ p
        length = squares / (p @ ap + tiny)
        after = r - length * ap
        return x + length * p, after, after + (after @ after) / (squares + tiny) * p

    return lax.fori_loop(0, 40, step, (jnp.zeros_like(b), b, b))[0]


@jax.custom_vjp
def iterative_solve(a, b):
    return _conjugate_gradients(a, b)


def iterative_solve_fwd(a, b):
    y = iterative_solve(a, b)
    return y, (a, y)


def iterative_solve_bwd(residuals, dy):
    a, y = residuals
    db = iterative_solve(a.T, dy)  # a is symmetric, but its derivative need not be
    return -jnp.outer(db, y), db


iterative_solve.defvjp(iterative_solve_fwd, iterative_solve_bwd)


@jax.custom_vjp
def running_sum(x):
    return jnp.cumsum(x, axis=-1)


running_sum.defvjp(lambda x: (jnp.cumsum(x, axis=-1), None), lambda _, dy: (lax.cumsum(dy, dy.ndim - 1, reverse=True),))


@jax.custom_vjp
def segment_sums(x, segments):
    return jax.ops.segment_sum(x, segments, 12)


segment_sums.defvjp(lambda x, s: (jax.ops.segment_sum(x, s, 12), s), lambda s, dy: (dy[s], None))


@jax.custom_vjp
def bilinear(x, w, y):
    return jnp.einsum("ni,oij,nj->no", x, w, y)


def bilinear_bwd(residuals, dz):
    x, w, y = residuals
    dx = jnp.einsum("no,oij,nj->ni", dz, w, y)
    dw = jnp.einsum("no,ni,nj->oij", dz, x, y)
    return dx, dw, jnp.einsum("no,oij,ni->nj", dz, w, x)


bilinear.defvjp(lambda x, w, y: (jnp.einsum("ni,oij,nj->no", x, w, y), (x, w, y)), bilinear_bwd)


def _far_from_singular(rng, dtype, n):
    return normal(rng, dtype, n, n, scale=0.3) + 3 * jnp.eye(n, dtype=dtype)


def _positive(rng, dtype, n):
    a = normal(rng, dtype, n, n, scale=0.3)
    return a @ a.T + 2 * jnp.eye(n, dtype=dtype)


def _matrix_and_columns(rng, dtype):
    return _far_from_singular(rng, dtype, 16), normal(rng, dtype, 16, 5)


LINALG = (
    row(
        "inverse",
        "two products with the inverse",
        inverse,
        lambda rng, dtype: (_far_from_singular(rng, dtype, 16),),
        EXACT,
    ),
    row("logdet", "the inverse, transposed", logdet, lambda rng, dtype: (_far_from_singular(rng, dtype, 16),), EXACT),
    row("solve", "bwd solves again", solve, _matrix_and_columns, EXACT),
    row("substitute", "zeros above the diagonal are meant", substitute, _matrix_and_columns, EXACT),
    row(
        "cholesky",
        "defined on symmetric matrices alone",
        cholesky,
        lambda rng, dtype: (_positive(rng, dtype, 16),),
        EXACT,
    ),
    row(
        "iterative_solve",
        "conjugate gradients forward and backward",
        iterative_solve,
        lambda rng, dtype: (_positive(rng, dtype, 16), normal(rng, dtype, 16)),
        EXACT,
        reference=jnp.linalg.solve,
    ),
    row("running_sum", "a sum in the other direction", running_sum, normals((10, 80))),
    row(
        "segment_sums",
        "indices that repeat",
        segment_sums,
        lambda rng, dtype: (normal(rng, dtype, 200, 3), labels(rng, 12, 200)),
    ),
    row("bilinear", "three arguments by einsum", bilinear, normals((20, 6), (4, 6, 7), (20, 7)), EXACT),
)
