"""The options of `compare_vjp`, what each changes and what it refuses; and the parts of the report."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradient_probes import W, X, gradients, normal, rule

from jbackprop.verify.clause_names import CLAUSES
from jbackprop.verify.clauses import CUSTOM_JVP_IS_WRONG, SIDES_WITH_THE_RULE
from jbackprop.verify.compare import VJPError, check_vjp, compare_vjp
from jbackprop.verify.explain import STOPPED

PRODUCT = rule(lambda x, w: x * w, lambda x, w: (x * w, (x, w)), lambda r, d: (d * r[1], d * r[0]))
HALF = rule(lambda x, w: x * w, lambda x, w: (x * w, (x, w)), lambda r, d: (d * r[1], 0.5 * d * r[0]))


def evidence(row):
    assert row.evidence is not None
    return row.evidence


def test_a_seed_chooses_the_cotangents():
    one, other, again = (evidence(gradients(PRODUCT, X, W, seed=seed).rows[0]).manual for seed in (0, 1, 0))
    assert not np.array_equal(one, other)
    assert np.array_equal(one, again)


def test_seeds_are_tried_until_one_fails():
    third = evidence(gradients(PRODUCT, X, W, seed=2).rows[0]).manual / np.asarray(W)
    f = rule(  # wrong for a single cotangent, which only the third seed draws
        lambda x: 1 * x, lambda x: (1 * x, None), lambda _, d: (jnp.where(jnp.abs(d[0] - third[0]) < 1e-4, -d, d),)
    )
    assert gradients(f, X, seeds=2).ok
    report = gradients(f, X, seeds=9)
    assert report.wrong == ("x",)
    assert report.call.endswith("seed=2)")
    assert gradients(f, X, seed=3, seeds=2).call.endswith("seed=4)")


def test_cotangents_of_ones_own():
    only_at = rule(lambda x: 1 * x, lambda x: (1 * x, None), lambda _, d: (jnp.where(d[0] == 7, 0, d),))
    assert gradients(only_at, X).ok
    report = gradients(only_at, X, cotangents={"sevens": jnp.full(4, 7.0)})
    assert "(cotangent: sevens)" in report.rows[0].verdict


def test_cotangents_of_several_outputs_are_like_the_outputs():
    f = lambda x: {"a": jnp.sin(x), "n": x.argmax(), "s": x.sum()}  # noqa: E731
    assert gradients(f, X, cotangents={"mine": {"a": np.ones(4), "n": 0, "s": 2.0}}).ok


@pytest.mark.parametrize("cotangent", [jnp.ones(3), (jnp.ones(4), jnp.ones(4)), 1.0], ids=["shape", "number", "scalar"])
def test_a_cotangent_of_the_wrong_shape_is_refused(cotangent):
    with pytest.raises(ValueError, match=r"the cotangent 'mine' has shapes .*, the float outputs \[\(4,\)\]"):
        compare_vjp(PRODUCT, X, W, cotangents={"mine": cotangent})


def test_nondiff_leaves_an_argument_out():
    assert gradients(HALF, X, W).wrong == ("w",)
    report = gradients(HALF, X, W, nondiff=["w"])
    assert report.ok
    assert [row.verdict for row in report.rows] == ["ok", "not differentiated"]


def test_nondiff_names_a_leaf_or_a_keyword():
    def f(p, *, w):
        return HALF(p["a"], p["b"]) + w

    args, kwargs = ({"a": X, "b": W},), {"w": X}
    assert gradients(f, *args, kwargs=kwargs).wrong == ("p['b']",)
    assert gradients(f, *args, kwargs=kwargs, nondiff=["p['b']"]).ok
    assert [row.argument for row in gradients(f, *args, kwargs=kwargs, nondiff=["p", "w"][1:]).rows if row.ok] == [
        "p['a']",
        "w",
    ]


def test_nondiff_of_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="nondiff names 'v', and the arguments are x, w"):
        compare_vjp(PRODUCT, X, W, nondiff=["v"])
    with pytest.raises(ValueError, match="none of the arguments"):
        compare_vjp(PRODUCT, X, W, nondiff=["x", "w"])


@pytest.mark.parametrize("clause", sorted(set(CLAUSES) - {"symbolic zeros", "sharding"}))
def test_skip_leaves_one_clause_out(clause):
    named = {
        "value": "fwd returns the primal's value",
        "linear": "linear in the cotangent",
        "zero": "zero for a zero cotangent",
        "pure": "the same when called again",
        "jit": "the same without jit",
        "vmap": "vmap is the loop",
        "scan": "the same in scan",
        "checkpoint": "the same under checkpoint",
        "second order": "second order",
        "finite differences": "finite differences agree with autodiff",
    }
    others = [other for other in CLAUSES if other != clause]
    asked = [check.name for check in compare_vjp(PRODUCT, X, W, skip=others).checks]
    assert named[clause] in asked
    assert len(asked) == 3  # beside the two of structure
    assert not set(named.values()) & {check.name for check in gradients(PRODUCT, X, W).checks}


def test_skip_does_not_hide_a_wrong_gradient():
    assert gradients(HALF, X, W).wrong == ("w",)


@pytest.mark.parametrize("skip", [["speed"], ["vmap", "Jit"], "speed"], ids=["unknown", "another case", "a string"])
def test_skip_of_an_unknown_clause_is_refused(skip):
    with pytest.raises(ValueError, match=r"skip is a sequence of 'value', 'linear', .*, not '(speed|Jit)'"):
        compare_vjp(PRODUCT, X, W, skip=skip)


def test_skip_that_is_a_word_alone_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"skip is a sequence of names, not 'vmap': write \('vmap',\)"):
        compare_vjp(PRODUCT, X, W, skip="vmap")


@pytest.mark.usefixtures("as_users_see_it")
def test_other_options_that_are_refused():
    with pytest.raises(ValueError, match="kinks is 'subgradient' or 'match', not 'any'"):
        compare_vjp(PRODUCT, X, W, kinks="any")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1, not 0"):
        compare_vjp(PRODUCT, X, W, seeds=0)
    with pytest.raises(ValueError, match="compare_vjp: seed is a whole number from 0 on, not -1"):
        compare_vjp(PRODUCT, X, W, seed=-1)
    for rtol in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=f"compare_vjp: rtol is a fraction of .* from 0 on, .*, not {rtol}"):
            compare_vjp(PRODUCT, X, W, rtol=rtol)
    with pytest.raises(TypeError, match=r"cotangents are a dictionary by name, not a list: write {'mine': dy}"):
        compare_vjp(PRODUCT, X, W, cotangents=[1])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tolerance"):
        check_vjp(PRODUCT, X, W, tolerance=1e-3)


def drawn(x, **options):
    """What `sample=True` makes of an argument that is not differentiated, which reaches the function as it is."""
    seen = []

    def f(y, x):
        seen.append(x)
        return 1 * y

    gradients(f, W, x, nondiff=["x"], sample=True, **options)
    return np.asarray(seen[0])


RANGES = {
    "positive": (jnp.array([0.5, 3.0, 2.0, 9.0]), lambda x: (x > 0).all() and x.max() <= 9),
    "negative": (jnp.array([-0.5, -3.0, -2.0, -9.0]), lambda x: (x < 0).all() and x.min() >= -9),
    "in [0, 1]": (jnp.array([0.1, 0.3, 0.9, 0.2]), lambda x: (x >= 0).all() and (x <= 1).all()),
    "both signs": (jnp.array([-4.0, 3.0, 2.0, 1.0]), lambda x: (x > 0).any() and (x < 0).any()),
    "probabilities": (
        jnp.array([[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]]),
        lambda x: np.allclose(x.sum(-1), 1, atol=1e-6) and (x >= 0).all(),
    ),
}


@pytest.mark.parametrize(("x", "keeps"), RANGES.values(), ids=RANGES.keys())
def test_a_sample_keeps_the_range(x, keeps):
    found = drawn(x)
    assert keeps(found), found
    assert not np.allclose(found, x)


def test_a_sample_keeps_integers_keys_and_everything_else():
    seen = []

    def f(x, labels, key, mode):
        seen.append((labels, key, mode))
        return x[labels] * jax.random.normal(key, (3,))

    key, labels = jax.random.key(7), jnp.array([1, 3, 2])
    assert gradients(f, X, labels, key, "mode", sample=True).ok
    for found_labels, found_key, mode in seen:
        assert (found_labels.min() >= 1, found_labels.max() <= 3, found_labels.dtype) == (True, True, labels.dtype)
        assert (found_key is key, mode) == (True, "mode")


def test_a_sample_is_another_one_for_each_seed():
    positive = jnp.array([0.5, 3.0, 2.0, 9.0])
    assert not np.allclose(drawn(positive), drawn(positive, seed=1))


def test_without_sample_the_arguments_are_the_given_ones():
    seen = []

    def f(x, labels):
        seen.append(labels)
        return x[labels]

    labels = jnp.array([1, 3, 2])
    gradients(f, X, labels)
    assert all(found is labels for found in seen)


@jax.custom_jvp
def wrong_inside(x):
    return jnp.sin(x)


wrong_inside.defjvps(lambda t, y, x: 2 * t * jnp.cos(x))


def test_finite_differences_find_a_wrong_custom_jvp_inside():
    report = compare_vjp(lambda x: 3 * wrong_inside(x), X, skip=[c for c in CLAUSES if c != "finite differences"])
    assert not report.ok
    (check,) = [check for check in report.checks if not check.ok]
    assert check.detail == CUSTOM_JVP_IS_WRONG
    assert gradients(lambda x: 3 * wrong_inside(x), X).ok


def test_finite_differences_say_where_the_primal_stops_a_gradient():
    skip = [c for c in CLAUSES if c != "finite differences"]

    def primal(x):
        return jax.lax.stop_gradient(x) * x

    report = compare_vjp(primal, X, skip=skip)
    assert report.ok
    assert any("finite differences contradict autodiff" in note for note in report.notes)
    square = rule(primal, lambda x: (x * x, x), lambda x, d: (2 * d * x,))
    report = compare_vjp(square, X, skip=skip)
    assert report.wrong == ("x",)
    assert SIDES_WITH_THE_RULE in report.notes
    assert [(d.argument, d.sentence) for d in report.diagnoses] == [("x", STOPPED)]


def test_a_mistake_that_finite_differences_do_not_speak_of_keeps_its_diagnosis():
    def primal(x):
        return jax.lax.stop_gradient(x) * x

    wide = rule(primal, lambda x: (x * x, x), lambda x, d: (2 * d.astype("float32") * x.astype("float32"),))
    skip = [c for c in CLAUSES if c != "finite differences"]
    report = compare_vjp(wide, X.astype(jnp.bfloat16), skip=skip)
    assert SIDES_WITH_THE_RULE in report.notes
    assert [d.kind for d in report.diagnoses] == ["dtype"]


def test_the_call_is_written_out():
    def f(params, x, n, mode):
        return params["w"] * x**n

    call = gradients(f, {"w": X}, normal(2, 4), 3, kwargs={"mode": "fast"}, seed=5, reference=f, nondiff=["x"]).call
    options = "reference=f, nondiff=('x',)"
    shown = call.replace(call[call.index(", skip=") : call.index(", seed=")], "")  # the helper leaves clauses out
    assert shown == (
        f"compare_vjp(f, {{'w': float32[4]}}, float32[2,4], 3, {options}, seed=5, kwargs={{'mode': 'fast'}})"
    )


def test_the_environment():
    environment = gradients(PRODUCT, X, W).environment
    assert environment["jax"] == jax.__version__
    assert environment["numpy"] == np.__version__
    assert environment["x64"] == str(bool(jax.config.read("jax_enable_x64")))
    assert set(environment) >= {"python", "device"}


def test_the_diagnoses_are_one_for_each_wrong_argument():
    f = rule(lambda x, w: x * w, lambda x, w: (x * w, (x, w)), lambda r, d: (-d * r[1], 0.5 * d * r[0]))
    diagnoses = gradients(f, X, W).diagnoses
    assert [(diagnosis.argument, diagnosis.kind) for diagnosis in diagnoses] == [("x", "sign"), ("w", "factor")]
    assert str(diagnoses[1]).startswith("dw: 0.5 x the right answer")
    assert gradients(PRODUCT, X, W).diagnoses == ()


def test_the_evidence_is_the_two_gradients():
    shown = evidence(gradients(HALF, X, W).rows[1])
    np.testing.assert_allclose(shown.manual, 0.5 * shown.automatic)
    assert shown.manual.dtype == np.float64


def test_check_raises_what_compare_reports():
    with pytest.raises(VJPError) as caught:
        check_vjp(HALF, X, W, skip=CLAUSES)
    assert caught.value.report.wrong == ("w",)
    assert "dw: 0.5 x the right answer" in str(caught.value)


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rtol": "1e-3"}, "rtol is a fraction of max|g| from 0 on, such as 1e-3, not '1e-3'"),
        ({"seed": jax.random.key(0)}, "seed is a whole number from 0 on, not a "),
        ({"seeds": 1.5}, "seeds is the number of seeds to try, at least 1, not 1.5"),
        ({"kwargs": [X]}, "kwargs is a dictionary of keyword arguments, not a list"),
        ({"reference": X}, "reference is a function of the same arguments, not ArrayImpl"),
    ],
)
def test_an_option_of_another_kind_is_refused_in_words(options, words):
    with pytest.raises(TypeError, match=re.escape(words)):
        compare_vjp(PRODUCT, X, W, **options)


@pytest.mark.parametrize(
    ("args", "kind", "words"),
    [
        (("f32[5]", "f32[5]"), ValueError, "pass arrays; `RuleCall` and `jbackprop check` draw"),
        ((jax.ShapeDtypeStruct((5,), jnp.float32), W), TypeError, "x is a ShapeDtypeStruct: pass an array"),
    ],
)
def test_what_is_no_array_is_refused_in_words(args, kind, words):
    with pytest.raises(kind, match=re.escape(words)):
        compare_vjp(PRODUCT, *args)


@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        (((X, W),), {}, "the arguments stand one by one after the function, here 1 of them"),
        ((X, W), {"reference": lambda x: x}, "the reference is called with the arguments of"),
    ],
)
def test_an_error_of_the_call_says_whose_it_is(args, options, words):
    with pytest.raises(TypeError) as raised:
        compare_vjp(PRODUCT, *args, **options)
    assert any(words in note for note in raised.value.__notes__)
