"""What a rule owes to JAX beside the right numbers: each clause of the contract, broken by a rule right in the rest."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from clause_probes import SINE, X, failed, only, sine_with
from gradient_probes import rule

from jbackprop.verify.compare import check_vjp, compare_vjp


def test_every_clause_is_asked():
    names = [check.name for check in check_vjp(SINE, X).checks]
    assert names == [
        "fwd returns the primal's tree, shapes and dtypes",
        "bwd returns a tuple with a cotangent of its shape and dtype for each argument",
        "fwd returns the primal's value",
        "linear in the cotangent",
        "zero for a zero cotangent",
        "the same when called again",
        "the same without jit",
        "vmap is the loop",
        "the same in scan",
        "the same under checkpoint",
        "second order",
        "finite differences agree with autodiff",
    ]


def counting():
    calls = []

    def bwd(x, d):
        calls.append(x.shape)
        return (d * jnp.cos(x) * len(calls),)

    return bwd


def drawing():
    rng = np.random.default_rng(0)
    return lambda x, d: (d * jnp.cos(x) + rng.standard_normal(x.shape).astype(x.dtype),)


def remembering():
    state = {"scale": 1.0}

    def bwd(x, d):
        state["scale"] *= 0.5
        return (d * jnp.cos(x) * state["scale"],)

    return bwd


def asking_the_host():
    calls = []

    def host(x):
        calls.append(1)
        return np.full_like(x, len(calls))

    def bwd(x, d):
        return (d * jnp.cos(x) * jax.pure_callback(host, jax.ShapeDtypeStruct(x.shape, x.dtype), x),)

    return bwd


IMPURE = {
    "a counter": counting,
    "numpy's random numbers": drawing,
    "a global": remembering,
    "a callback": asking_the_host,
}


@pytest.mark.parametrize("made", IMPURE.values(), ids=IMPURE.keys())
def test_a_rule_that_is_no_function(made):
    report = compare_vjp(sine_with(made()), X, skip=only("pure"))
    assert "the same when called again" in [check.name for check in report.checks if not check.ok]
    assert [diagnosis.kind for diagnosis in report.diagnoses] == ["impure"]


def test_a_hidden_state_that_the_numbers_do_not_depend_on():
    calls = []

    def bwd(x, d):
        calls.append(x.shape)
        return (d * jnp.cos(x),)

    check_vjp(sine_with(bwd), X, skip=only("pure", "jit"))
    assert len(calls) > 1


def test_a_random_key_of_its_own_is_pure():
    def noisy(x):
        return x * jax.random.normal(jax.random.key(3), x.shape, x.dtype)

    f = rule(noisy, lambda x: (noisy(x), None), lambda _, d: (noisy(d),))
    assert failed(f, X, clauses=["pure"]) == {}


def test_a_rule_that_cannot_be_differentiated_again_rightly():
    f = sine_with(lambda x, d: (d * jax.lax.stop_gradient(jnp.cos(x)),))
    found = failed(f, X, clauses=["second order"])
    assert list(found) == ["second order"]
    assert found["second order"].startswith("gradient of the gradient: dx is off by")


def doubled_forward(x):
    """The cosine, whose tangent is wrong in forward mode and right when it is transposed."""

    def derivative(x, t, factor):
        return -factor * jnp.sin(x) * t

    @jax.custom_jvp
    def cosine(x):
        return jnp.cos(x)

    @cosine.defjvp
    def _(primals, tangents):
        (x,), (t,) = primals, tangents
        forward, transposed = (functools.partial(derivative, factor=factor) for factor in (2.0, 1.0))
        return jnp.cos(x), jax.custom_derivatives.linear_call(forward, transposed, x, t)

    return cosine(x)


def test_forward_over_reverse_alone():
    found = failed(sine_with(lambda x, d: (d * doubled_forward(x),)), X, clauses=["second order"])
    assert list(found) == ["second order"]
    assert found["second order"].startswith("forward over reverse: dx is off by")


@pytest.mark.parametrize(
    ("bwd", "way"),
    [
        (lambda x, d: (d * SINE(x + jnp.pi / 2),), "forward over reverse"),
        (
            lambda x, d: (jax.lax.while_loop(lambda s: s[0] < 1, lambda s: (s[0] + 1, s[1] * jnp.cos(x)), (0, d))[1],),
            "gradient of the gradient",
        ),
    ],
    ids=["another rule", "a loop without reverse mode"],
)
def test_a_second_derivative_that_JAX_does_not_take_is_no_mistake_but_said(bwd, way):
    (check,) = [c for c in compare_vjp(sine_with(bwd), X, skip=only("second order")).checks if c.name == "second order"]
    assert check.ok
    assert check.detail.startswith(f"{way} not compared, JAX cannot take it through the rule: ")


def second_order_of(f, x):
    return [check.name for check in compare_vjp(f, x, skip=only("second order")).checks if not check.ok]


def test_the_second_derivative_of_a_kink_and_of_a_square():
    relu = rule(lambda x: jnp.maximum(x, 0), lambda x: (jnp.maximum(x, 0), x), lambda x, d: (jnp.where(x > 0, d, 0),))
    cube = rule(lambda x: x**3, lambda x: (x**3, x**2), lambda squared, d: (3 * d * squared,))
    assert second_order_of(relu, jnp.array([-1.0, 0.0, 1.0])) == []
    assert second_order_of(cube, X) == []


@pytest.mark.parametrize(
    ("primal", "bwd", "kind"),
    [
        (lambda x: jnp.sin(x), lambda x, d: (jnp.clip(d, -0.5, 0.5) * jnp.cos(x),), "not linear"),
        (lambda x: jnp.sin(x), lambda x, d: (d * jnp.cos(x) + 1e-3,), "added"),
    ],
    ids=["clipped", "weight decay"],
)
def test_linearity_and_zero(primal, bwd, kind):
    report = compare_vjp(rule(primal, lambda x: (primal(x), x), bwd), X, skip=only("linear", "zero"))
    broken = [check.name for check in report.checks if not check.ok]
    assert "linear in the cotangent" in broken
    assert ("zero for a zero cotangent" in broken) == (kind == "added")
    assert [diagnosis.kind for diagnosis in report.diagnoses] == [kind]
