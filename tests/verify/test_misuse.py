"""The misuse of `custom_vjp` and of the layers, row by row, and the words that each meets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradient_probes import rule

import jbackprop
from jbackprop.verify.clause_names import CLAUSES
from jbackprop.verify.compare import check_vjp, compare_vjp
from jbackprop.verify.report import VJPError


def product_with(bwd):
    return rule(lambda x, y: x * y, lambda x, y: (x * y, (x, y)), bwd)


def power_with(fwd, bwd):
    return rule(lambda x, n: x**n, fwd, bwd, nondiff_argnums=(1,))


X, Y = jnp.array([1.0, -2.0, 0.5]), jnp.array([3.0, 0.25, -1.0])


def found(f, *args):
    """The checks that fail, by name."""
    return {check.name: check.detail for check in compare_vjp(f, *args, skip=CLAUSES).checks if not check.ok}


def detail(f, *args):
    """What is said of the types that `bwd` returns."""
    return next(text for name, text in found(f, *args).items() if name.startswith("bwd returns a tuple"))


@pytest.mark.parametrize(
    ("bwd", "words"),
    [
        (lambda r, d: d * r[1], "it returns a bare array: write `return dx, dy`"),
        (lambda r, d: (d * r[1],), "it returns 1 for the 2 arguments (x, y): write `return dx, dy`"),
        (lambda r, d: (d, d, d), "it returns 3 for the 2 arguments (x, y): write `return dx, dy`"),
        (lambda r, d: {"x": d, "y": d}, "it returns a dict: write `return dx, dy`"),
        (lambda r, d: [d * r[1], d * r[0]], "it returns a list: write `return dx, dy`"),
    ],
    ids=["a bare array", "too few", "too many", "a dict", "a list"],
)
def test_bwd_returns_no_tuple_with_one_cotangent_for_each_argument(bwd, words):
    assert detail(product_with(bwd), X, Y) == words


def test_bwd_returns_a_bare_array_for_the_only_argument():
    assert "write `return (dx,)`" in detail(rule(jnp.sin, lambda x: (jnp.sin(x), x), lambda x, d: d * jnp.cos(x)), X)


@pytest.mark.parametrize(
    ("cotangent", "tree", "where"),
    [
        (lambda d: {"w": d}, "{'w': *}", "['b'], which is missing"),
        (lambda d: {"w": d, "b": d, "c": d}, "{'b': *, 'c': *, 'w': *}", "['c'], which the argument has not"),
        (lambda d: [d, d], "[*, *]", "['b'], which is missing"),
    ],
    ids=["a key missing", "a key too many", "a list for a dict"],
)
def test_bwd_returns_another_tree_and_both_stand_side_by_side(cotangent, tree, where):
    f = rule(lambda p: p["w"] + p["b"], lambda p: (p["w"] + p["b"], None), lambda _, d: (cotangent(d),))
    words = f"tree PyTreeDef({tree}) for PyTreeDef({{'b': *, 'w': *}}), first different at {where}"
    assert words in detail(f, {"w": X, "b": Y})


def test_bwd_returns_a_cotangent_of_another_shape():
    text = detail(product_with(lambda r, d: (d * r[1], (d * r[0]).sum())), X, Y)
    assert text == "dy: cotangent is float32[], the argument float32[3]"


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.int32])
def test_bwd_returns_a_cotangent_of_another_dtype(dtype):
    report = compare_vjp(product_with(lambda r, d: ((d * r[1]).astype(dtype), d * r[0])), X, Y, skip=CLAUSES)
    name = jnp.dtype(dtype).name
    assert report.wrong == ("x",)
    assert f"dx: cotangent is {name}[3], the argument float32[3]" in str(report)
    (diagnosis,) = [one for one in report.diagnoses if one.argument == "x"]
    assert diagnosis.kind == "dtype"


def test_bwd_returns_None_for_a_float_argument():
    report = compare_vjp(product_with(lambda r, d: (d * r[1], None)), X, Y, skip=CLAUSES)
    assert report.wrong == ("y",)
    assert [str(one) for one in report.diagnoses] == ["dy: bwd returns None, which stands for a gradient of zero"]


def three_of_two(residuals, d):
    x, y, _ = residuals
    return d * y, d * x


def by_name(residuals, d):
    return d * residuals["y"], d * residuals["x"]


def by_attribute(residuals, d):
    return d * residuals.y, d * residuals.x


@pytest.mark.parametrize("bwd", [three_of_two, by_name, by_attribute], ids=["unpacked", "by name", "by attribute"])
def test_residuals_are_unpacked_wrongly(bwd):
    text = detail(product_with(bwd), X, Y)
    assert "bwd does not run" in text
    assert "bwd received residuals of structure (float32[3], float32[3]), as fwd saved them" in text


def test_residuals_that_are_a_dict_are_shown_as_one():
    f = rule(lambda x, y: x * y, lambda x, y: (x * y, {"x": x, "n": y[:1]}), lambda r, d: (d * r["y"], d * r["x"]))
    assert "residuals of structure {n: float32[1], x: float32[3]}" in detail(f, X, Y)


def test_an_error_of_bwd_that_is_no_unpacking_stays_as_it_is():
    def bwd(residuals, d):
        raise RuntimeError("these words")

    assert detail(product_with(bwd), X, Y) == "bwd does not run: RuntimeError: these words"


def test_an_array_among_the_static_arguments_under_jit():
    f = rule(lambda x, by: x * by, lambda x, by: (x * by, None), lambda by, _, d: (d * by,), nondiff_argnums=(1,))
    with pytest.raises(TypeError) as caught:
        check_vjp(jax.jit(f), X, Y, skip=CLAUSES)
    text = str(caught.value)
    assert "an array stands among the static arguments (nondiff_argnums), which must be Python values" in text
    assert "bwd is called as bwd(by, residuals, ct)" in text


def test_bwd_without_its_static_arguments():
    f = power_with(lambda x, n: (x**n, x), lambda x, d: (3 * d * x**2,))
    words = "bwd is called as bwd(n, residuals, ct), which its signature (x, d) does not take"
    assert words in detail(f, X, 3)


def test_fwd_without_its_static_arguments():
    f = power_with(lambda x: (x**3, x), lambda n, x, d: (n * d * x**2,))
    words = "fwd is called with all 2 arguments of the primal, also the static ones: x, n"
    assert any(words in text for text in found(f, X, 3).values())


def scaled_by_a_closure(a, x):
    f = rule(lambda x: x * a, lambda x: (x * a, None), lambda _, d: (d * a,))
    return f(x)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_the_rule_closes_over_a_traced_value(wrap):
    named = "`a`" if wrap is not jax.jit else ".*"  # inside jit its name is gone by the time it is differentiated
    with pytest.raises((VJPError, TypeError), match=f"the rule closes over {named}: pass it as an argument"):
        check_vjp(wrap(scaled_by_a_closure), X, Y, skip=CLAUSES)


@pytest.mark.parametrize("of_integers", [None, lambda i: np.zeros(i.shape, jax.dtypes.float0)], ids=["None", "float0"])
def test_an_integer_argument_is_not_differentiated(of_integers):
    f = rule(
        lambda x, i: x[i],
        lambda x, i: (x[i], (x, i)),
        lambda r, d: (jnp.zeros_like(r[0]).at[r[1]].add(d), of_integers and of_integers(r[1])),
    )
    report = check_vjp(f, X, jnp.array([2, 0, 2]), skip=["vmap", "scan", "checkpoint", "second order"])
    assert [(row.argument, row.verdict) for row in report.rows] == [("x", "ok"), ("i", "not differentiated")]


def test_an_integer_argument_that_is_a_python_number_and_booleans():
    f = rule(
        lambda x, mask, n: jnp.where(mask, n * x, 0),
        lambda x, mask, n: (jnp.where(mask, n * x, 0), (mask, n)),
        lambda r, d: (jnp.where(r[0], r[1] * d, 0), None, None),
    )
    report = check_vjp(f, X, jnp.array([True, False, True]), 3, skip=CLAUSES)
    assert [(row.argument, row.verdict) for row in report.rows] == [("x", "ok"), ("mask", "not differentiated")]


def test_a_label_from_k_on_or_below_zero_gives_NaN_in_the_loss_and_in_that_rows_gradient():
    logits, labels = jnp.array([[0.5, 1.0], [2.0, 0.0], [1.0, 1.5]]), jnp.array([1, 2, -1])
    rows = jax.jit(lambda z: jbackprop.softmax_cross_entropy(z, labels, "none"))(logits)
    assert jnp.isnan(rows).tolist() == [False, True, True]
    loss, dlogits = jax.jit(jax.value_and_grad(jbackprop.softmax_cross_entropy))(logits, labels)
    assert jnp.isnan(loss)
    assert jnp.isnan(dlogits).tolist() == [[False] * 2, [True] * 2, [True] * 2]


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("name", ["mean_squared_error", "squared_error"])
def test_float_labels_of_the_wrong_shape_are_refused_with_both_shapes(name):
    with pytest.raises(ValueError, match=r"prediction has shape \(4, 1\) but target has shape \(4,\)"):
        jax.eval_shape(getattr(jbackprop, name), jnp.ones((4, 1)), jnp.ones(4))


@pytest.mark.usefixtures("as_users_see_it")
def test_float_probabilities_of_the_wrong_shape_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"logits \(4, 3\), labels \(4,\)"):
        jax.eval_shape(jbackprop.softmax_cross_entropy, jnp.ones((4, 3)), jnp.ones(4))


def test_NaN_into_relu_is_NaN_in_value_and_gradient():
    x = jnp.array([-1.0, jnp.nan, 2.0])
    assert jnp.isnan(jbackprop.relu(x)).tolist() == [False, True, False]
    assert jnp.isnan(jax.jit(jax.grad(lambda x: jbackprop.relu(x)[1]))(x)).tolist() == [False, True, False]


@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
def test_NaN_into_a_pooling_window_is_NaN_in_its_value(name):
    x = jnp.arange(16.0).reshape(4, 4, 1).at[0, 1, 0].set(jnp.nan)
    assert jnp.isnan(jax.jit(getattr(jbackprop, name))(x))[..., 0].tolist() == [[True, False], [False, False]]


def test_NaN_into_a_window_of_max_pool_takes_the_cotangent_and_makes_it_NaN():
    x = jnp.arange(4.0).reshape(2, 2, 1).at[0, 1, 0].set(jnp.nan)
    dx = jax.jit(jax.grad(lambda x: jbackprop.max_pool(x).sum()))(x)[..., 0]
    assert jnp.isnan(dx).tolist() == [[False, True], [False, False]]
    assert dx[1].tolist() == [0.0, 0.0]


INFINITE = {  # logits, the limit of the softmax, and that of the cross-entropy for label 0
    "one +inf": ([jnp.inf, 1.0, 2.0], [1.0, 0.0, 0.0], 0.0),
    "a mask of -inf": ([0.0, -jnp.inf, 0.0], [0.5, 0.0, 0.5], np.log(2.0)),
    "the label is masked": ([-jnp.inf, 0.0, -jnp.inf], [0.0, 1.0, 0.0], np.inf),
    "a row all -inf": ([-jnp.inf] * 3, [np.nan] * 3, np.nan),
    "two +inf": ([jnp.inf, jnp.inf, 0.0], [np.nan] * 3, np.nan),
}


@jax.jit
def losses_and_softmax(z):
    loss = jax.value_and_grad(jbackprop.softmax_cross_entropy)(z, jnp.zeros((), int))
    return loss, jbackprop.softmax(z), jbackprop.log_softmax(z)


@pytest.mark.parametrize(("logits", "p", "loss"), INFINITE.values(), ids=INFINITE.keys())
def test_an_infinite_logit_gives_the_limit_where_there_is_one(logits, p, loss):
    z = jnp.array(logits)
    (found, dz), of_softmax, of_log_softmax = losses_and_softmax(z)
    np.testing.assert_allclose(of_softmax, p)
    np.testing.assert_allclose(np.exp(of_log_softmax), p)
    np.testing.assert_allclose(found, loss, rtol=1e-6)
    np.testing.assert_allclose(dz, np.array(p) - [1.0, 0.0, 0.0])


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("loss", "shapes"),
    [
        (lambda z: jbackprop.softmax_cross_entropy(z, jnp.zeros(0, int)), (0, 3)),
        (lambda z: jbackprop.mean_squared_error(z, z), (0, 3)),
    ],
    ids=["softmax_cross_entropy", "mean_squared_error"],
)
def test_an_empty_batch_is_refused_when_it_is_traced(loss, shapes):
    with pytest.raises(ValueError, match=r"empty|nothing|N = 0"):
        jax.eval_shape(loss, jnp.zeros(shapes))


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
def test_a_window_larger_than_the_input_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}: a window that reaches over 5 does not fit into height 4"):
        jax.eval_shape(lambda x: getattr(jbackprop, name)(x, 5), jnp.ones((4, 4, 1)))


@pytest.mark.usefixtures("as_users_see_it")
def test_a_kernel_larger_than_the_input_is_refused():
    with pytest.raises(ValueError, match="conv2d: a window that reaches over 5 does not fit into height 4"):
        jax.eval_shape(jbackprop.conv2d, jnp.ones((1, 4, 4, 1)), jnp.ones((5, 5, 1, 1)))


@pytest.mark.parametrize("name", ["max_pool", "avg_pool"])
def test_a_stride_that_does_not_divide_drops_the_remainder(name):
    pool = jax.jit(getattr(jbackprop, name))
    x = jnp.asarray(np.random.default_rng(0).permutation(25), jnp.float32).reshape(5, 5, 1)
    np.testing.assert_array_equal(pool(x), pool(x[:4, :4]))
    dx = jax.jit(jax.grad(lambda x: pool(x).sum()))(x)
    np.testing.assert_array_equal(dx[4], 0)
    np.testing.assert_array_equal(dx[:, 4], 0)


IMAGES = jnp.full((1, 4, 4, 1), 255, jnp.uint8)
TAKES_IMAGES = {
    "conv2d": lambda: jbackprop.conv2d(IMAGES, jnp.ones((2, 2, 1, 1))),
    "linear": lambda: jbackprop.linear(IMAGES.reshape(1, 16), jnp.ones((16, 2)), jnp.ones(2)),
    "max_pool": lambda: jbackprop.max_pool(IMAGES),
    "avg_pool": lambda: jbackprop.avg_pool(IMAGES),
    "relu": lambda: jbackprop.relu(IMAGES),
}


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("name", TAKES_IMAGES)
def test_uint8_images_are_refused_with_the_remedy(name):
    with pytest.raises(TypeError, match=rf"{name}: [xz] is uint8.*images: cast to float and scale them"):
        TAKES_IMAGES[name]()


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (rule(lambda x, y: x * y, lambda r, d: (d * r[1], d * r[0]), lambda x, y: (x * y, (x, y))), "exchanged"),
        ((lambda r, d: (d * r[1], d * r[0]), lambda x, y: (x * y, (x, y))), "write `f.defvjp(fwd, bwd)`"),
        (
            rule(lambda x, y: x * y, lambda x, y: ((x, y), x * y), lambda r, d: (d * r[1], d * r[0])),
            "where the residuals stand first, write `return value, residuals`",
        ),
    ],
    ids=["defvjp(bwd, fwd)", "the pair (bwd, fwd)", "residuals first"],
)
def test_what_stands_in_the_wrong_order(f, words):
    assert words in " ".join(found(f, X, Y).values())


@pytest.mark.parametrize("bwd", [lambda x, dy, n: (n * x ** (n - 1) * dy,), lambda n, x, dy: (n * x * dy,)])
def test_static_arguments_that_bwd_takes_last(bwd):
    notes = compare_vjp(power_with(lambda x, n: (x**n, x), bwd), X, 3).notes
    wanted = "note: bwd is called as bwd(n, residuals, ct), static arguments first, and its signature is (x, dy, n)"
    assert (wanted in notes) == (bwd.__code__.co_varnames[0] == "x")


def test_bwd_that_is_a_generator():
    assert detail(product_with(lambda r, d: (ct for ct in (d, d))), X, Y).startswith("it returns a generator")


def test_a_value_of_another_shape_beside_itself_as_residual_is_told_by_its_shape():
    f = rule(jax.nn.sigmoid, lambda x: (jax.nn.sigmoid(x).mean(), jax.nn.sigmoid(x)), lambda y, dy: (dy * y * (1 - y),))
    assert found(f, X)["fwd returns the primal's tree, shapes and dtypes"].startswith("float32[] for float32[3]")
