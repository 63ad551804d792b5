"""Rules in optax, equinox, flax and the solvers built on equinox."""

# pyright: reportMissingImports=false

from typing import Any

import jax.numpy as jnp

from experiments.others_rules_case import Checked, OthersRule, f32, normal, positive


def optax_simplex() -> Checked:
    from optax.projections import projection_simplex

    return Checked(projection_simplex, (f32(0.5, -1, 0.2, 0.5, 2.1, 1.9),))


def optax_simplex_kink() -> Checked:
    from optax.projections import projection_simplex

    return Checked(projection_simplex, (f32(1, 0, -3),))


def optax_weighted_logsoftmax() -> Checked:
    from optax.losses._classification import weighted_logsoftmax

    return Checked(weighted_logsoftmax, (normal(2, 4), positive(2, 4).at[0, 1].set(0.0)))


def optax_scale_gradient() -> Checked:
    import optax

    return Checked(lambda x: optax.scale_gradient(x, 0.5), (normal(4),))


def optax_sparsemax() -> Checked:
    import optax

    return Checked(optax.losses.sparsemax_loss, (f32(-1, 0.3, 1, 4, -1), jnp.asarray([0, 1, 1, 0, 1])))


def equinox_nextafter() -> Checked:
    from equinox.internal import nextafter

    return Checked(nextafter, (f32(0.5, 1, -2),), {"reference": lambda x: x * 1, "rtol": 1e-6})


def equinox_while() -> Checked:
    import equinox.internal as eqxi

    def looped(x: Any, w: Any) -> Any:
        def body(carry: Any) -> Any:
            step, x = carry
            return step + 1, jnp.sin(w @ x) + 0.1 * x

        return eqxi.while_loop(
            lambda carry: carry[0] < 5, body, (0, x), max_steps=8, kind="checkpointed", checkpoints=2
        )[1]

    def plainly(x: Any, w: Any) -> Any:
        for _ in range(5):
            x = jnp.sin(w @ x) + 0.1 * x
        return x

    return Checked(looped, (normal(3), normal(3, 3, seed=1)), {"reference": plainly})


def equinox_error_if() -> Checked:
    import equinox as eqx

    return Checked(lambda x: eqx.error_if(x, x > 100, "too large") ** 2, (normal(3),))


def flax_in_qdq() -> Checked:
    from flax.linen.fp8_ops import in_qdq

    return Checked(
        lambda x, s, h: in_qdq(jnp.float32, jnp.float8_e4m3fn, x, s, h), (normal(2, 3), jnp.ones(1), jnp.zeros(4))
    )


def flax_fp8_dot() -> Checked:
    from flax.linen.fp8_ops import dot_general_with_precision

    return Checked(
        lambda a, b: dot_general_with_precision(a, b, (((1,), (0,)), ((), ()))), (normal(2, 3), normal(3, 4, seed=1))
    )


def lineax_two_norm() -> Checked:
    import lineax

    return Checked(lineax.internal.two_norm, ({"a": normal(3), "b": normal(2, 2, seed=1)},))


def lineax_two_norm_zero() -> Checked:
    import lineax

    return Checked(lineax.internal.two_norm, (jnp.zeros(3),))


def lineax_linear_solve() -> Checked:
    import lineax

    def solved(a: Any, b: Any) -> Any:
        return lineax.linear_solve(lineax.MatrixLinearOperator(a), b).value

    return Checked(solved, (normal(3, 3) + 3 * jnp.eye(3), normal(3, seed=1)), {"reference": jnp.linalg.solve})


def optimistix_root() -> Checked:
    import optimistix

    def root(a: Any) -> Any:
        solver = optimistix.Newton(rtol=1e-10, atol=1e-10)
        return optimistix.root_find(lambda y, a: y**3 + y - a, solver, jnp.zeros_like(a), a, throw=False).value

    def plainly(a: Any) -> Any:
        y = jnp.zeros_like(a)
        for _ in range(30):
            y = y - (y**3 + y - a) / (3 * y**2 + 1)
        return y

    return Checked(root, (normal(4),), {"reference": plainly})


def diffrax_backsolve() -> Checked:
    import diffrax

    def decay(t: Any, y: Any, k: Any) -> Any:
        return -k * y

    def solved(y0: Any, k: Any) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(decay), diffrax.Tsit5(), 0.0, 1.0, 0.02, y0, k, adjoint=diffrax.BacksolveAdjoint()
        ).ys[-1]  # type: ignore[index]

    return Checked(solved, (normal(2), positive(2)), {"reference": lambda y0, k: y0 * jnp.exp(-k), "rtol": 1e-5})


NUMERICS = (
    OthersRule("optax", "projections.projection_simplex", "the sort", optax_simplex, "ok", "two equal elements"),
    OthersRule(
        "optax",
        "projections.projection_simplex",
        "the sort",
        optax_simplex_kink,
        "ok",
        "an element exactly at the edge of the support",
    ),
    OthersRule(
        "optax",
        "losses.weighted_logsoftmax",
        "0 log 0 = 0",
        optax_weighted_logsoftmax,
        "another subgradient",
        "at weight 0 the rule gives log softmax, which is right; autodiff of the primal's `where` gives 0",
    ),
    OthersRule("optax", "losses.sparsemax_loss", "a kink inside (jax.nn.sparse_plus)", optax_sparsemax, "ok", ""),
    OthersRule(
        "optax",
        "scale_gradient",
        "another gradient on purpose",
        optax_scale_gradient,
        "wrong: dx",
        "by design; the diagnosis is `0.5 x the right answer`",
    ),
    OthersRule(
        "equinox",
        "internal.nextafter",
        "the primitive has none",
        equinox_nextafter,
        "ok",
        "reference: the identity, rtol 1e-6 for the value",
    ),
    OthersRule(
        "equinox",
        "internal.while_loop, checkpointed",
        "reverse mode of a loop",
        equinox_while,
        "ok",
        "reference: the loop unrolled",
    ),
    OthersRule("equinox", "error_if", "an effect", equinox_error_if, "ok", ""),
    OthersRule(
        "flax",
        "linen.fp8_ops.in_qdq",
        "straight through, and a new scale for the gradient",
        flax_in_qdq,
        "wrong: ds, dh, linear in the cotangent, zero for a zero cotangent",
        "by design: the `gradients` of scale and history are their next values, also for a zero cotangent",
    ),
    OthersRule(
        "flax",
        "linen.fp8_ops.dot_general_with_precision",
        "lower precision backwards",
        flax_fp8_dot,
        "ok",
        "on a CPU the precisions are the same",
    ),
    OthersRule("lineax", "internal.two_norm", "0 at 0", lineax_two_norm, "ok", "a pytree"),
    OthersRule(
        "lineax",
        "internal.two_norm",
        "0 at 0",
        lineax_two_norm_zero,
        "ok",
        "at 0, where the primal's derivative is NaN",
    ),
    OthersRule(
        "lineax", "linear_solve", "a primitive of its own", lineax_linear_solve, "ok", "reference: numpy.linalg.solve"
    ),
    OthersRule(
        "optimistix", "root_find", "implicit function theorem", optimistix_root, "ok", "reference: Newton, unrolled"
    ),
    OthersRule(
        "diffrax",
        "BacksolveAdjoint",
        "adjoint equation",
        diffrax_backsolve,
        "ok",
        "reference: the exact solution; with rtol=1e-5, since the solver's error is 1e-11",
    ),
)
