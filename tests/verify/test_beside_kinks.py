"""Kinks beside mistakes: each argument is judged by itself, a factor keeps its name, a jump is no kink."""

import jax.numpy as jnp
import pytest
from gradient_probes import gradients, normal, rule


def test_a_kink_beside_an_argument_that_is_wrong():
    def bwd(r, dy):
        x, low, high = r
        inside = (x >= low) & (x <= high)  # not what autodiff takes at a tie
        return jnp.where(inside, dy, 0), jnp.where(x <= 0, dy, 0).sum(), jnp.where(x > high, dy, 0).sum()

    f = rule(lambda x, low, high: jnp.clip(x, low, high), lambda *args: (jnp.clip(*args), args), bwd)
    report = gradients(f, normal(200).at[3].set(-1).at[9].set(0.75), jnp.float32(-1), jnp.float32(0.75))
    assert report.wrong == ("low",)


@pytest.mark.parametrize("factor", [-1.0, 0.5, 2.0])
def test_a_factor_is_named_where_the_rule_takes_another_subgradient_too(factor):
    x, w = jnp.maximum(normal(30, 20), 0), normal(20, 9, seed=1)

    def bwd(r, dy):
        return jnp.where(r[0] > 0, factor * (dy @ r[1].T), 0), jnp.maximum(r[0], 0).T @ dy

    f = rule(lambda x, w: jnp.maximum(x, 0) @ w, lambda x, w: (jnp.maximum(x, 0) @ w, (x, w)), bwd)
    (diagnosis,) = gradients(f, x, w).diagnoses
    assert (diagnosis.argument, diagnosis.kind) == ("x", "sign" if factor < 0 else "factor")


@pytest.mark.parametrize(
    ("there", "guarded", "ok"), [(0.0, True, True), (1.0, True, False), (1e3, True, False), (0.0, False, True)]
)
def test_where_the_function_jumps_there_is_no_subgradient(there, guarded, ok):
    """Unless autodiff has no number there either: then any convention will do."""

    def unit(x):
        square = (x * x).sum(-1, keepdims=True)
        size = jnp.sqrt(jnp.where(square == 0, 1, square) if guarded else square)
        return (
            jnp.where(square == 0, 0, x / jnp.where(square == 0, 1, size)),
            square == 0,
            jnp.where(square == 0, 1, size),
        )

    def bwd(r, dy):
        y, zero, size = r
        return (jnp.where(zero, there * dy, (dy - y * (y * dy).sum(-1, keepdims=True)) / size),)

    f = rule(lambda x: unit(x)[0], lambda x: (unit(x)[0], unit(x)), bwd)
    assert gradients(f, normal(20, 5).at[::4].set(0)).wrong == (() if ok else ("x",))
