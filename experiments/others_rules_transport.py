"""Rules in ott-jax and jaxopt."""

# pyright: reportMissingImports=false

import functools
from typing import Any

import jax
import jax.numpy as jnp

from experiments.others_rules_case import Checked, OthersRule, f32, normal


def ott_norm_zero() -> Checked:
    from ott.math.utils import norm

    return Checked(norm, (jnp.zeros(3),))


def ott_logsumexp_empty() -> Checked:
    from ott.math.utils import logsumexp

    return Checked(logsumexp, (normal(2, 3).at[0].set(-jnp.inf), 1))


def ott_softmin() -> Checked:
    from ott.math.utils import softmin

    return Checked(lambda x, gamma: softmin(x, gamma, 1), (normal(3, 4), f32(0.7)[0]))


def ott_lambertw() -> Checked:
    from ott.math.utils import lambertw

    def plainly(z: Any) -> Any:
        w = jnp.log1p(z)
        for _ in range(30):
            w = w - (w * jnp.exp(w) - z) / (jnp.exp(w) * (w + 1))
        return w

    return Checked(lambertw, (f32(0.1, 1, 5),), {"reference": plainly})


def _roots(x: Any) -> tuple[Any, Any]:
    values, vectors = jnp.linalg.eigh(x)
    return (vectors * jnp.sqrt(values)) @ vectors.T, (vectors / jnp.sqrt(values)) @ vectors.T


def ott_sqrtm() -> Checked:
    from ott.math.matrix_square_root import sqrtm_only

    a = normal(3, 3)
    return Checked(
        lambda x: sqrtm_only((x + x.T) / 2, 1e-12),
        (a @ a.T + jnp.eye(3),),
        {"reference": lambda x: _roots((x + x.T) / 2)[0]},
    )


def ott_inv_sqrtm() -> Checked:
    from ott.math.matrix_square_root import inv_sqrtm_only

    a = normal(3, 3)
    return Checked(
        lambda x: inv_sqrtm_only((x + x.T) / 2, 1e-12),
        (a @ a.T + jnp.eye(3),),
        {"reference": lambda x: _roots((x + x.T) / 2)[1]},
    )


def ott_fixpoint(least: int) -> Checked:
    from ott.math.fixed_point_loop import fixpoint_iter_backprop

    def looped(a: Any, x: Any) -> Any:
        def body(step: Any, a: Any, x: Any, compute_error: Any) -> Any:
            return jnp.sin(a @ x)

        return fixpoint_iter_backprop(lambda *_: True, body, least, 6, 3, a, x)

    def plainly(a: Any, x: Any) -> Any:
        for _ in range(6):
            x = jnp.sin(a @ x)
        return x

    return Checked(looped, (normal(3, 3), normal(3, seed=1)), {"reference": plainly})


def ott_legendre() -> Checked:
    from ott.geometry import costs, regularizers

    cost = costs.RegTICost(regularizers.L1(), lam=0.7)
    return Checked(cost.h_legendre, (f32(-2, 0.3, 0.7, 1.5),))


def jaxopt_ridge() -> Checked:
    from jaxopt import implicit_diff

    def optimality(x: Any, a: Any, b: Any) -> Any:
        return a.T @ (a @ x - b) + 0.5 * x

    def plainly(a: Any, b: Any) -> Any:
        return jnp.linalg.solve(a.T @ a + 0.5 * jnp.eye(a.shape[1], dtype=a.dtype), a.T @ b)

    solver = implicit_diff.custom_root(optimality)(lambda init, a, b: plainly(a, b))
    return Checked(lambda a, b: solver(None, a, b), (normal(5, 3), normal(5, seed=1)), {"reference": plainly})


def jaxopt_isotonic() -> Checked:
    from jaxopt.isotonic import isotonic_l2_pav

    def plainly(y: Any) -> Any:
        """The largest over j <= i of the smallest over k >= i of the mean of y from j to k."""
        sums = jnp.concatenate([jnp.zeros(1, y.dtype), jnp.cumsum(y)])

        def mean(j: int, k: int) -> Any:
            return (sums[k + 1] - sums[j]) / (k + 1 - j)

        def smallest(i: int, j: int) -> Any:
            return jnp.min(jnp.stack([mean(j, k) for k in range(i, len(y))]))

        return jnp.stack([jnp.max(jnp.stack([smallest(i, j) for j in range(i + 1)])) for i in range(len(y))])

    return Checked(isotonic_l2_pav, (normal(6),), {"reference": plainly, "rtol": 1e-6})


def jaxopt_perturbed() -> Checked:
    from jaxopt.perturbations import make_perturbed_argmax

    perturbed = make_perturbed_argmax(lambda x: jax.nn.one_hot(jnp.argmax(x), x.shape[0]), num_samples=50, sigma=0.5)
    key = jax.random.PRNGKey(0)
    return Checked(lambda x: perturbed(x, key), (normal(4),))


TRANSPORT = (
    OthersRule(
        "ott-jax",
        "math.utils.norm",
        "0 at 0",
        ott_norm_zero,
        "wrong: fwd returns the primal's value",
        "**bug**: differentiated at 0 it returns sqrt(n) for the norm, see below",
    ),
    OthersRule(
        "ott-jax",
        "math.utils.logsumexp",
        "0 for a row of -inf",
        ott_logsumexp_empty,
        "wrong: fwd returns the primal's value",
        "**bug**: differentiated it returns 0 for a row of -inf, see below",
    ),
    OthersRule(
        "ott-jax",
        "math.utils.softmin",
        "right at infinities",
        ott_softmin,
        "wrong: dgamma",
        "the rule returns None for gamma: nobody learns a temperature with it, and nothing says so",
    ),
    OthersRule(
        "ott-jax", "math.utils.lambertw", "a loop of unknown length", ott_lambertw, "ok", "reference: Newton, unrolled"
    ),
    OthersRule(
        "ott-jax", "math.matrix_square_root.sqrtm_only", "Sylvester equation", ott_sqrtm, "ok", "reference: eigh"
    ),
    OthersRule(
        "ott-jax",
        "math.matrix_square_root.inv_sqrtm_only",
        "Sylvester equation",
        ott_inv_sqrtm,
        "ok",
        "reference: eigh",
    ),
    OthersRule(
        "ott-jax",
        "math.fixed_point_loop, min < max",
        "checkpoints",
        functools.partial(ott_fixpoint, 0),
        "ok",
        "reference: the loop unrolled",
    ),
    OthersRule(
        "ott-jax",
        "math.fixed_point_loop, min = max",
        "checkpoints",
        functools.partial(ott_fixpoint, 6),
        "wrong: da, dx",
        "**bug**: with min_iterations = max_iterations the checkpoints are read from the wrong end, see below",
    ),
    OthersRule("ott-jax", "costs.RegTICost.h_legendre", "Danskin's theorem", ott_legendre, "ok", ""),
    OthersRule(
        "jaxopt",
        "implicit_diff.custom_root",
        "implicit function theorem",
        jaxopt_ridge,
        "ok",
        "reference: the primal itself",
    ),
    OthersRule(
        "jaxopt",
        "isotonic.isotonic_l2_pav",
        "a callback",
        jaxopt_isotonic,
        "ok",
        "reference: the min-max formula; with rtol=1e-6, since the rule adds a constant that makes it differ by 1e-8",
    ),
    OthersRule(
        "jaxopt",
        "perturbations.make_perturbed_argmax",
        "an estimate for a function without derivative",
        jaxopt_perturbed,
        "wrong: finite differences agree",
        "by design: the mean of 50 samples of argmax is constant, the rule estimates the derivative of its expectation",
    ),
)
