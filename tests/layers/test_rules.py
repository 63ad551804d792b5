"""The one test body of every rule: each row of the registry, in every dtype and under every transform.

Nothing here restates a derivation: a rule is held against JAX's derivative of the independent reference in float64,
first and second, and the transformed rule against the reference that went through a plain loop. In the narrow dtypes
one example of each rule is run, the others with `-m slow`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.verify.cases import RULES
from tests.custom_vjp3 import CHECKPOINT_IS_BROKEN

WIDE, NARROW = ("float64", "float32"), ("bfloat16", "float16")
EXAMPLES = [
    pytest.param(
        dtypes,
        case,
        example,
        id=f"{case.name}-{example.label}-{dtypes[0]}",
        marks=pytest.mark.slow if dtypes is NARROW and example is not case.examples[0] else (),
    )
    for case in RULES
    for example in case.examples
    for dtypes in (WIDE, NARROW)
]
FIRST_EXAMPLES = [pytest.param(case, case.examples[0], id=case.name) for case in RULES]
SPECIAL = [pytest.param(case, special, id=f"{case.name}-{special.label}") for case in RULES for special in case.special]
REFUSED = [pytest.param(case, refused, id=f"{case.name}-{refused.label}") for case in RULES for refused in case.refused]

# One rounding of the result, and a few of the intermediate values that low precision keeps (p, a, y - ŷ): the second
# order differentiates through those once more.
FIRST_ORDER = {"float64": 1e-14, "float32": 2e-6, "bfloat16": 2e-2, "float16": 3e-3}
SECOND_ORDER = {"float64": 1e-13, "float32": 5e-6, "bfloat16": 8e-2, "float16": 1e-2}


def is_float(a) -> bool:
    return bool(jnp.issubdtype(a.dtype, jnp.floating))


def cast(tree, dtype):
    return jax.tree.map(lambda a: a.astype(dtype) if is_float(a) else a, tree)


def normal(seed, shape, dtype):
    """Standard normals that every dtype holds exactly, so that all dtypes see the same numbers."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.bfloat16).astype(dtype)


def of_floats(function, args):
    """Returns `function` as one of the floating arguments alone, and those; labels stay as they are."""

    def restricted(*floats):
        rest = iter(floats)
        return function(*[next(rest) if is_float(a) else a for a in args])

    return restricted, [a for a in args if is_float(a)]


def derivatives(function, args, others):
    """Returns what the test compares: value, cotangents, the same under vmap, scan and checkpoint, second order."""
    restricted, floats = of_floats(function, args)
    value = restricted(*floats)
    ct = normal(1, value.shape, value.dtype)
    tangents = tuple(normal(2 + i, a.shape, a.dtype) for i, a in enumerate(floats))
    arguments = tuple(range(len(floats)))

    def cotangents(*args):
        restricted, floats = of_floats(function, args)
        return jax.vjp(restricted, *floats)[1](ct)

    gradient = jax.grad(lambda *floats: jnp.sum(restricted(*floats) ** 2 * ct), arguments)

    def gradient_dot_tangents(*floats):
        return sum(jnp.sum(g * t) for g, t in zip(gradient(*floats), tangents, strict=True))

    first = {
        "value": value,
        "cotangents": cotangents(*args),
        "vmap": [batched(cotangents, args, others, i) for i in range(len(args))],
        "scan": jax.grad(lambda *floats: scanned(restricted, floats, ct), arguments)(*floats),
    }
    if not CHECKPOINT_IS_BROKEN:
        first["checkpoint"] = jax.vjp(jax.checkpoint(restricted), *floats)[1](ct)
    second = {
        "grad of grad": jax.grad(gradient_dot_tangents, arguments)(*floats),
        "forward over reverse": jax.jvp(gradient, tuple(floats), tangents)[1],
    }
    return first, second


def batched(cotangents, args, others, i):
    """Maps over argument i alone, which takes its own value and another."""
    in_axes = [0 if j == i else None for j in range(len(args))]
    return jax.vmap(cotangents, in_axes)(*[jnp.stack([a, others[j]]) if j == i else a for j, a in enumerate(args)])


def scanned(function, floats, ct):
    """The sum of two steps of a scan that calls the function in its body."""
    return jax.lax.scan(
        lambda total, weight: (total + jnp.sum(function(*floats) * ct) * weight, None),
        jnp.zeros((), ct.dtype),
        jnp.asarray([1.0, 0.5], ct.dtype),
    )[0]


def expected_derivatives(function, args, others):
    """The same by plain loops over the reference."""
    first, second = derivatives_without_transforms(function, args)
    first["vmap"] = [
        jax.tree.map(
            lambda *rows: jnp.stack(rows),
            first["cotangents"],
            derivatives_without_transforms(function, [others[j] if j == i else a for j, a in enumerate(args)])[0][
                "cotangents"
            ],
        )
        for i in range(len(args))
    ]
    first["scan"] = jax.tree.map(lambda g: g * 1.5, first["cotangents"])
    first["checkpoint"] = first["cotangents"]
    return first, second


def derivatives_without_transforms(function, args):
    restricted, floats = of_floats(function, args)
    arguments = tuple(range(len(floats)))
    value, vjp = jax.vjp(restricted, *floats)
    ct = normal(1, value.shape, value.dtype)
    tangents = [normal(2 + i, a.shape, a.dtype) for i, a in enumerate(floats)]
    loss = lambda *floats: jnp.sum(restricted(*floats) ** 2 * ct)  # noqa: E731
    hessian_product = jax.grad(
        lambda *floats: sum(jnp.sum(g * t) for g, t in zip(jax.grad(loss, arguments)(*floats), tangents, strict=True)),
        arguments,
    )(*floats)
    return {"value": value, "cotangents": vjp(ct)}, {
        "grad of grad": hessian_product,
        "forward over reverse": hessian_product,
    }


def assert_close(ours, reference, bound, what):
    assert jax.tree.structure(ours) == jax.tree.structure(reference)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True):
        assert a.shape == b.shape, what
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.isfinite(a).all(), what
        if b.size:
            error = np.abs(a - b).max() / max(np.abs(b).max(), 1e-2)
            assert error <= bound, f"{what}: {error:.1e} of max|g|, bound {bound:.1e}"


@pytest.mark.parametrize(("dtypes", "case", "example"), EXAMPLES)
def test_derivatives_equal_those_of_the_reference_in_every_dtype_and_under_every_transform(dtypes, case, example):
    with jax.enable_x64(True):
        reference = jax.jit(lambda args, others: expected_derivatives(example.reference, args, others))
    rule = jax.jit(
        lambda args, others: derivatives(lambda *args: case.function(*args, **example.options), args, others)
    )
    for dtype in dtypes:
        with jax.enable_x64(dtype == "float64"):
            args, others = (example.arguments(jax.random.key(seed), dtype) for seed in (0, 1))
            first, second = rule(args, others)
        assert all(leaf.dtype == dtype for leaf in jax.tree.leaves((first, second))), dtype
        with jax.enable_x64(True):
            first_expected, second_expected = reference(*cast((args, others), "float64"))
        for what in first:
            assert_close(first[what], first_expected[what], FIRST_ORDER[dtype], f"{dtype} {what}")
        for what in second:
            assert_close(second[what], second_expected[what], SECOND_ORDER[dtype], f"{dtype} {what}")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("case", "example"), FIRST_EXAMPLES)
def test_eager_equals_jit(case, example, dtype):
    def value_and_cotangents(args):
        restricted, floats = of_floats(lambda *args: case.function(*args, **example.options), args)
        value, vjp = jax.vjp(restricted, *floats)
        return value, vjp(normal(1, value.shape, value.dtype))

    with jax.enable_x64(dtype == "float64"):
        args = example.arguments(jax.random.key(0), dtype)
        eager, jitted = value_and_cotangents(args), jax.jit(value_and_cotangents)(args)
        assert [leaf.dtype for leaf in jax.tree.leaves(eager)] == [leaf.dtype for leaf in jax.tree.leaves(jitted)]
        assert_close(eager, jitted, FIRST_ORDER[dtype], "eager")


def arrays_of(special):
    """Lists of integers are class indices; everything else is float32."""

    def array(values):
        a = np.asarray(values)
        return jnp.asarray(a, jnp.int32 if np.issubdtype(a.dtype, np.integer) else jnp.float32)

    return tuple(map(array, special.arguments))


@pytest.mark.parametrize(("case", "special"), SPECIAL)
def test_the_convention_holds_at_kinks_ties_and_infinities(case, special):
    args = arrays_of(special)
    restricted, floats = of_floats(lambda *args: case.function(*args, **special.options), args)

    @jax.jit
    def value_and_gradient(*floats):
        value, vjp = jax.vjp(restricted, *floats)
        return value, vjp(jnp.ones_like(value))

    value, cotangents = value_and_gradient(*floats)
    np.testing.assert_allclose(value, special.value, rtol=1e-6, atol=1e-7)
    stated = [expected for expected in special.cotangents if expected is not None]
    for cotangent, expected in zip(cotangents, stated, strict=True):
        np.testing.assert_allclose(cotangent, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("how", ["eager", "jit", "grad"])
@pytest.mark.parametrize(("case", "refused"), REFUSED)
def test_static_mistakes_are_refused_with_words(case, refused, how):
    args = refused.arguments()

    def call(*args):
        return case.function(*args, **refused.options)

    with pytest.raises(refused.error) as caught:  # noqa: PT012
        if how == "grad":
            restricted, floats = of_floats(call, args)
            jax.vjp(restricted, *floats)
        else:
            (jax.jit(call) if how == "jit" else call)(*args)
    assert refused.words in str(caught.value)
    assert str(caught.value).startswith(f"{case.name}: ")
