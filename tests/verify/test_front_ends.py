"""However a derivative is written, and wherever it stands: the right one passes and the wrong one is found."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradient_probes import FACTORS, W, X, gradients, rule, scaled, sine

from jbackprop.verify.clause_names import CLAUSES
from jbackprop.verify.compare import check_vjp, compare_vjp
from tests.custom_vjp3 import CHECKPOINT_IS_BROKEN_FOR_EQUINOX, unhashable_static_arguments


def with_custom_jvp(factor):
    f = jax.custom_jvp(lambda x, w: jnp.sin(x) * w)
    f.defjvps(lambda t, y, x, w: t * jnp.cos(x) * w, lambda t, y, x, w: factor * t * jnp.sin(x))
    return f


def with_custom_gradient(factor):
    @jax.custom_gradient
    def product(x, w):
        return x * w, lambda d: (d * w, factor * d * x)

    return product


def pair(factor):
    return lambda x, w: (x * w, (x, w)), lambda r, d: (d * r[1], factor * d * r[0])


class Module:
    def __init__(self, factor):
        self.f = scaled(factor)

    def method(self, x, w):
        return self.f(x, w)

    def __call__(self, x, w):
        return self.f(x, w)


def in_scan(factor):
    def f(x, w):
        return jax.lax.scan(lambda h, _: (scaled(factor)(jnp.sin(h), w), None), x, length=2)[0]

    return f


WRITTEN = {
    "custom_jvp": with_custom_jvp,
    "custom_gradient": lambda factor: lambda x, w: with_custom_gradient(factor)(x, w),
    "a pair": pair,
    "jit": lambda factor: jax.jit(scaled(factor)),
    "a bound method": lambda factor: Module(factor).method,
    "a callable object": Module,
    "vmap": lambda factor: jax.vmap(scaled(factor)),
    "scan": in_scan,
    "checkpoint": lambda factor: jax.checkpoint(scaled(factor)),
    "cond": lambda factor: lambda x, w: jax.lax.cond(x[0] > 9, lambda x, w: x, scaled(factor), x, w),
    "jit of a partial": lambda factor: jax.jit(functools.partial(lambda f, x, w: f(x, w), scaled(factor))),
    "a rule in the primal of a rule": lambda factor: (
        lambda x, w: rule(jnp.exp, lambda x: (jnp.exp(x), jnp.exp(x)), lambda y, d: (d * y,))(scaled(factor)(x, w))
    ),
}


@pytest.mark.parametrize("make", WRITTEN.values(), ids=WRITTEN.keys())
def test_however_it_is_written(make):
    assert gradients(make(1.0), X, W).ok
    assert gradients(make(2.0), X, W).wrong == ("w",)


def test_a_partial_of_a_rule():
    for factor in FACTORS:
        report = gradients(functools.partial(scaled(factor), X), W)
        assert report.ok == (factor == 1)
        assert [row.argument for row in report.rows] == ["w"]


def test_a_custom_jvp_passes_every_clause():
    check_vjp(with_custom_jvp(1.0), X, W)


def test_a_custom_gradient_by_itself():
    check_vjp(with_custom_gradient(1.0), X, W)
    assert gradients(with_custom_gradient(2.0), X, W).wrong == ("args[1]",)  # JAX keeps no names there


def test_a_custom_jvp_inside_is_not_the_one_that_is_checked():
    assert gradients(lambda x, w: with_custom_jvp(2.0)(x, w), X, W).ok  # finite differences find it
    assert not gradients(with_custom_jvp(2.0), X, W).ok


def test_the_pair_has_the_name_and_the_arguments_of_its_fwd():
    def product_fwd(x, w):
        return x * w, (x, w)

    report = gradients((product_fwd, pair(2.0)[1]), X, W)
    assert (report.function, report.wrong) == ("product_fwd", ("w",))


@pytest.mark.usefixtures("as_users_see_it")
def test_what_is_neither_function_nor_pair_is_refused():
    for what in (3, (jnp.sin,), (jnp.sin, 3), "f"):
        with pytest.raises(TypeError, match=r"a function or a pair \(fwd, bwd\) is wanted, not"):
            compare_vjp(what, X)  # type: ignore[arg-type]


@unhashable_static_arguments  # equinox passes some
@pytest.mark.parametrize("factor", FACTORS)
def test_equinox_differentiates_the_first_argument_alone(factor):
    eqx = pytest.importorskip("equinox")

    @eqx.filter_custom_vjp
    def product(x, w):
        return x * w

    product.def_fwd(lambda perturbed, x, w: (x * w, None))
    product.def_bwd(lambda residuals, d, perturbed, x, w: factor * d * w)
    broken = ["checkpoint"] if CHECKPOINT_IS_BROKEN_FOR_EQUINOX else []
    report = compare_vjp(product, X, W, skip=["second order", "finite differences", *broken])
    assert report.ok == (factor == 1)
    assert [(row.argument, row.verdict[:5]) for row in report.rows] == [
        ("x", "ok" if factor == 1 else "wrong"),
        ("w", "not d"),
    ]


@unhashable_static_arguments  # equinox passes some
def test_equinox_takes_a_tree_with_static_leaves():
    eqx = pytest.importorskip("equinox")

    @eqx.filter_custom_vjp
    def apply(layer_and_x):
        layer, x = layer_and_x
        return layer(x)

    apply.def_fwd(lambda perturbed, given: (given[0](given[1]), None))

    def bwd(residuals, d, perturbed, given):
        layer, x = given
        dlayer = eqx.tree_at(lambda leaf: (leaf.weight, leaf.bias), layer, (jnp.outer(d, x), 2 * d))
        return eqx.filter(dlayer, eqx.is_inexact_array), layer.weight.T @ d

    apply.def_bwd(bwd)
    layer = eqx.nn.Linear(4, 3, key=jax.random.key(0))
    assert gradients(apply, (layer, X)).wrong == ("layer_and_x[0].bias",)


def power(factor, **options):
    def fwd(x, n, *, of=1.0):
        return x**n, x

    return rule(lambda x, n: x**n, fwd, lambda n, x, d: (factor * n * d * x ** (n - 1),), **options)


def test_nondiff_argnums():
    assert gradients(power(1.0, nondiff_argnums=(1,)), X, 3).ok
    assert gradients(power(2.0, nondiff_argnums=(1,)), X, 3).wrong == ("x",)
    assert gradients(power(2.0, nondiff_argnums=(1,)), X, kwargs={"n": 3}).wrong == ("x",)


def test_nondiff_argnames():
    for n in (3, 3.0):
        assert gradients(power(1.0, nondiff_argnames=("n",)), X + 3, n).ok
        assert gradients(power(2.0, nondiff_argnames=("n",)), X + 3, n).wrong == ("x",)


@pytest.mark.parametrize("factor", FACTORS)
def test_symbolic_zeros(factor):
    f = rule(
        lambda x, w: x * w,
        lambda x, w: (x.value * w.value, (x.value, w.value)),
        lambda r, d: (d * r[1], factor * d * r[0]),
        symbolic_zeros=True,
    )
    report = compare_vjp(f, X, W, skip=[clause for clause in CLAUSES if clause != "symbolic zeros"])
    assert report.ok == (factor == 1)
    assert report.wrong == (() if factor == 1 else ("w",))
    assert "one output or argument at a time" in [check.name for check in report.checks]


@pytest.mark.parametrize("factor", FACTORS)
def test_optimize_remat(factor):
    assert compare_vjp(sine(factor, optimize_remat=True), X, skip=["vmap", "scan", "second order"]).ok == (factor == 1)


def test_a_rule_that_closes_over_what_is_traced_around_the_check():
    @jax.jit
    def outer(scale):
        return compare_vjp(rule(lambda x: x * scale, lambda x: (x * scale, None), lambda _, d: (d * scale,)), X)

    with pytest.raises(TypeError, match=r"closes over a (value that is being traced: call it outside of|traced value)"):
        outer(2.0)


def test_an_argument_that_is_taken_by_name_alone():
    f = rule(lambda x, *, w: x * w, lambda x, *, w: (x * w, w), lambda w, d: (d * w,))
    with pytest.raises(TypeError, match="a rule gets all arguments by position, and fwd takes w by name alone"):
        compare_vjp(f, X, kwargs={"w": X})


@pytest.mark.parametrize(("residual", "cotangent"), [("mode", None), (None, "zero")])
def test_a_string_where_an_array_belongs(residual, cotangent):
    f = rule(lambda x: x, lambda x: (x, residual), lambda _, d: (cotangent or d,))
    assert any("fwd or bwd returns something that is no array" in check.detail for check in compare_vjp(f, X).checks)


def test_a_string_that_the_caller_gives_is_declared_static():
    f = rule(lambda x, mode: 2 * x, lambda x, mode: (2 * x, None), lambda _, d: (2 * d, None))
    with pytest.raises(TypeError, match="mode is no array: declare it static, in nondiff_argnums"):
        compare_vjp(f, X, "same")


@pytest.mark.parametrize(
    "static",
    [
        ("a", "b"),
        pytest.param(np.array(["a", "b"]), marks=unhashable_static_arguments),
        jax.ShapeDtypeStruct((2,), jnp.float32),
    ],
)
def test_whatever_is_static_a_wrong_rule_is_reported(static):
    f = rule(lambda x, names: x**2, lambda x, names: (x**2, x), lambda names, x, d: (3 * x * d,), nondiff_argnums=(1,))
    assert compare_vjp(f, X, static).wrong == ("x",)


@pytest.mark.parametrize("by_name", [True, False])
def test_a_partial_whose_other_defaults_jax_does_not_see(by_name):
    def scaled(x, w, flag=True, scale=3.0):
        return scale * x * w

    fwd = (lambda x, w: (2 * x * w, (x, w))) if by_name else (lambda *args: (2 * args[0] * args[1], args))
    f = rule(functools.partial(scaled, scale=2.0), fwd, lambda r, dy: (2 * dy * r[1], 2 * dy * r[0]))
    assert compare_vjp(f, X, W).ok


def test_a_python_number_for_the_cotangent_of_a_number():
    f = rule(lambda x: 2 * x, lambda x: (2 * x, None), lambda _, dy: (2.0,))
    report = compare_vjp(f, jnp.float32(1.5))
    assert not report.ok
    assert any("the same for every cotangent" in str(diagnosis) for diagnosis in report.diagnoses)
