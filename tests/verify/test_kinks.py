"""At kinks and ties any subgradient is right; what lies outside the subdifferential, or is wrong elsewhere, is not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradient_probes import gradients, normal, rule

from jbackprop.verify.compare import check_vjp, compare_vjp


def pointwise(primal, derivative):
    return rule(primal, lambda x: (primal(x), x), lambda x, d: (d * derivative(x),))


def relu_with(at_zero, elsewhere=1.0):
    def derivative(x):
        return jnp.where(x > 0, elsewhere, jnp.where(x == 0, at_zero, 0)).astype(x.dtype)

    return pointwise(lambda x: jnp.maximum(x, 0), derivative)


AT_KINK = jnp.array([-1.0, 0.0, 2.0, 0.5, 0.0, -0.3])


@pytest.mark.parametrize("at_zero", [0.0, 0.3, 0.5, 1.0])
def test_relu_at_zero_takes_any_value_from_0_to_1(at_zero):
    report = gradients(relu_with(at_zero), AT_KINK)
    assert report.ok, f"\n{report}"


@pytest.mark.parametrize("at_zero", [2.0, -0.5])
def test_relu_at_zero_takes_nothing_else(at_zero):
    assert gradients(relu_with(at_zero), AT_KINK).wrong == ("x",)


def test_another_subgradient_is_told_in_the_verdict():
    (row,) = gradients(relu_with(1.0), AT_KINK).rows
    assert row.verdict == "ok: another subgradient in 2 of 6 places, at a kink or tie"


def test_a_right_rule_at_a_kink_passes_every_clause():
    check_vjp(relu_with(1.0), AT_KINK)


def test_match_demands_the_choice_of_the_oracle():
    assert gradients(relu_with(0.5), AT_KINK, kinks="match").ok  # that of jnp.maximum
    assert gradients(relu_with(1.0), AT_KINK, kinks="match").wrong == ("x",)
    assert gradients(relu_with(0.0), AT_KINK, kinks="match", reference=jax.nn.relu).ok
    assert gradients(relu_with(0.5), AT_KINK, kinks="match", reference=jax.nn.relu).wrong == ("x",)


def test_match_is_content_away_from_kinks():
    assert gradients(relu_with(1.0), jnp.array([-1.0, 2.0, 0.5]), kinks="match").ok


@pytest.mark.parametrize("at_zero", [0.0, 1.0])
def test_a_rule_that_is_wrong_elsewhere_too_is_wrong(at_zero):
    assert gradients(relu_with(at_zero, elsewhere=1.01), AT_KINK).wrong == ("x",)


def test_a_rule_that_is_wrong_on_one_side_of_the_kink_alone_is_wrong():
    f = pointwise(jnp.abs, lambda x: -jnp.ones_like(x))
    assert gradients(f, jnp.array([0.0, -1.0, -2.0])).wrong == ("x",)  # though -1 is right at each of these points


@pytest.mark.parametrize(("at_zero", "ok"), [(-1.0, True), (0.25, True), (1.0, True), (1.5, False)])
def test_the_absolute_value_at_zero(at_zero, ok):
    f = pointwise(jnp.abs, lambda x: jnp.where(x == 0, at_zero, jnp.sign(x)).astype(x.dtype))
    assert gradients(f, AT_KINK).ok == ok


@pytest.mark.parametrize(("at_bound", "ok"), [(0.0, True), (1.0, True), (-1.0, False), (3.0, False)])
def test_clip_at_its_bounds(at_bound, ok):
    def derivative(x):
        return jnp.where(jnp.abs(x) == 1, at_bound, jnp.where(jnp.abs(x) < 1, 1.0, 0.0)).astype(x.dtype)

    f = pointwise(lambda x: jnp.clip(x, -1, 1), derivative)
    assert gradients(f, jnp.array([-1.0, 0.5, 1.0, 2.0, -3.0])).ok == ok


def maximum_with(of_first, of_second):
    def bwd(residuals, d):
        x, y = residuals
        dx = jnp.where(x > y, 1, jnp.where(x == y, of_first, 0)).astype(d.dtype)
        dy = jnp.where(x < y, 1, jnp.where(x == y, of_second, 0)).astype(d.dtype)
        return d * dx, d * dy

    return rule(jnp.maximum, lambda x, y: (jnp.maximum(x, y), (x, y)), bwd)


EQUAL = (jnp.array([1.0, 2.0, -1.0, 0.5]), jnp.array([1.0, 0.0, 3.0, 0.5]))


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (0.25, 0.75)])
def test_the_maximum_of_equal_arguments_is_shared_in_any_way(shares):
    report = gradients(maximum_with(*shares), *EQUAL)
    assert report.ok, f"\n{report}"


@pytest.mark.parametrize("shares", [(1.0, 1.0), (0.0, 0.0), (2.0, -1.0)])
def test_the_shares_of_equal_arguments_must_add_up(shares):
    assert not gradients(maximum_with(*shares), *EQUAL).ok


def pooled(x, size, stride):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (size, size), (stride, stride), "VALID")


def pool_with(choose, size, stride):
    """A max pool that shares each cotangent as `choose` says, which is given the tied places `[places, u, v]`."""

    def windows(x):
        corner = [x.shape[0] - size + 1, x.shape[1] - size + 1]
        return jnp.stack([x[i : i + corner[0] : stride, j : j + corner[1] : stride] for i, j in np.ndindex(size, size)])

    def bwd(x, d):
        taken = windows(x)
        shares = choose((taken == taken.max(0)).astype(d.dtype))
        return jax.vjp(windows, x)[1](shares * d)

    return rule(lambda x: pooled(x, size, stride), lambda x: (pooled(x, size, stride), x), bwd)


CHOICES = {
    "first": lambda tied: jnp.where(jnp.cumsum(tied, 0) == 1, tied, 0),
    "last": lambda tied: jnp.where(jnp.cumsum(tied[::-1], 0)[::-1] == 1, tied, 0),
    "shared": lambda tied: tied / tied.sum(0),
}
NO_CHOICES = {
    "everything to everyone": lambda tied: tied,
    "a half to everyone": lambda tied: jnp.where(tied.sum(0) > 1, tied / 2, tied) + 0 * tied,
    "nothing to anyone": lambda tied: jnp.where(tied.sum(0) > 1, 0 * tied, tied),
}
WITH_TIES = jnp.asarray(np.random.default_rng(0).integers(0, 3, (5, 5)), jnp.float32)
IMAGES = {
    "2x2": (WITH_TIES[:4, :4], 2, 2),
    "3x3, overlapping": (WITH_TIES, 3, 1),
    "a constant image": (jnp.full((4, 4), 2.0), 2, 2),
}


@pytest.mark.parametrize(("image", "size", "stride"), IMAGES.values(), ids=IMAGES.keys())
@pytest.mark.parametrize("choice", CHOICES)
def test_a_max_pool_may_choose_its_winner_or_share(choice, image, size, stride):
    report = gradients(pool_with(CHOICES[choice], size, stride), image)
    assert report.ok, f"\n{report}"


@pytest.mark.parametrize(("image", "size", "stride"), IMAGES.values(), ids=IMAGES.keys())
@pytest.mark.parametrize("choice", ["everything to everyone", "nothing to anyone"])
def test_a_max_pool_may_not_make_or_lose_cotangents(choice, image, size, stride):
    assert gradients(pool_with(NO_CHOICES[choice], size, stride), image).wrong == ("x",)


def test_a_max_pool_that_gives_each_of_three_a_half():
    image = jnp.array([[1.0, 1.0, 0.0, 4.0], [1.0, 0.0, 2.0, 1.0]])
    assert gradients(pool_with(NO_CHOICES["a half to everyone"], 2, 2), image).wrong == ("x",)


def test_the_diagnosis_of_a_rule_that_is_wrong_at_ties_alone():
    report = gradients(pool_with(NO_CHOICES["everything to everyone"], 2, 2), IMAGES["2x2"][0])
    assert [diagnosis.kind for diagnosis in report.diagnoses] == ["ties"]


def median_with(shares):
    """The median of three, with `shares` of the cotangent for those that equal it, in the order of the arguments."""

    def bwd(x, d):
        tied = x == jnp.sort(x)[1]
        return (jnp.where(tied.sum() > 1, jnp.asarray(shares, x.dtype), tied.astype(x.dtype)) * d,)

    return rule(lambda x: jnp.sort(x)[1], lambda x: (jnp.sort(x)[1], x), bwd)


@pytest.mark.parametrize(
    ("shares", "ok"),
    [((1, 0, 0), True), ((0, 0, 1), True), ((0.5, 0, 0.5), True), ((1, 0, 1), False), ((0, 1, 0), False)],
)
def test_a_median_with_equal_keys(shares, ok):
    assert gradients(median_with(shares), jnp.array([1.0, 3.0, 1.0])).ok == ok


def sort_with(order):
    """A sort that gives the cotangent of place k to element `order(x)[k]`."""
    return rule(
        lambda x: jnp.sort(x), lambda x: (jnp.sort(x), order(x)), lambda at, d: (jnp.zeros_like(d).at[at].add(d),)
    )


KEYS = jnp.array([2.0, 1.0, 2.0, 0.0, 1.0])


def test_a_sort_may_order_equal_keys_either_way():
    backwards = sort_with(lambda x: (x.size - 1 - jnp.argsort(x[::-1])).astype(jnp.int32))
    assert gradients(sort_with(jnp.argsort), KEYS).ok
    assert gradients(backwards, KEYS).ok
    assert gradients(backwards, KEYS, kinks="match").wrong == ("x",)


def test_a_sort_that_gives_all_equal_keys_to_the_first_is_wrong():
    first = sort_with(lambda x: (x == jnp.sort(x)[:, None]).argmax(1))
    assert gradients(first, KEYS).wrong == ("x",)


def norm(x):
    return jnp.sqrt((x * x).sum())


def norm_with(at_zero):
    def bwd(residuals, d):
        x, y = residuals
        return (d * jnp.where(y == 0, jnp.asarray(at_zero, x.dtype), x / jnp.where(y == 0, 1, y)),)

    return rule(norm, lambda x: (norm(x), (x, norm(x))), bwd)


@pytest.mark.parametrize("at_zero", [(0.0, 0.0, 0.0), (0.6, 0.0, 0.0), (0.0, 0.8, -0.6)])
def test_a_norm_at_zero_has_the_unit_ball_for_subgradients(at_zero):
    report = gradients(norm_with(at_zero), jnp.zeros(3))
    assert report.ok, f"\n{report}"


def test_a_norm_that_is_wrong_where_it_is_smooth():
    wrong = rule(norm, lambda x: (norm(x), x), lambda x, d: (2 * d * x,))
    assert gradients(wrong, jnp.zeros(3)).wrong == ("x",)


def test_a_tie_inside_a_scalar_loss():
    def loss(choice):
        pool = pool_with({**CHOICES, **NO_CHOICES}[choice], 2, 2)
        return lambda x, w: (pool(jnp.tanh(x)) * w).mean()

    image, w = IMAGES["2x2"][0], jnp.array([[1.0, -2.0], [0.5, 3.0]])
    assert gradients(loss("last"), image, w).ok
    assert gradients(loss("everything to everyone"), image, w).wrong == ("x",)


def test_a_kink_inside_a_network():
    def network(x, w, at_zero):
        return jnp.sin(relu_with(at_zero)(x @ w)).sum(1)

    x, w = jnp.array([[1.0, -1.0], [2.0, 0.5]]), jnp.array([[1.0, 2.0], [1.0, -3.0]])  # the first hidden unit is 0
    for at_zero, ok in ((0.0, True), (1.0, True), (3.0, False)):
        assert gradients(functools.partial(network, at_zero=at_zero), x, w).ok == ok


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_kinks_in_half_precision(dtype):
    assert gradients(relu_with(1.0), AT_KINK.astype(dtype)).ok
    assert gradients(relu_with(2.0), AT_KINK.astype(dtype)).wrong == ("x",)


def test_ties_in_half_precision():
    image, size, stride = IMAGES["2x2"]
    narrow = image.astype(jnp.bfloat16)
    assert gradients(pool_with(CHOICES["last"], size, stride), narrow).ok
    assert gradients(pool_with(NO_CHOICES["everything to everyone"], size, stride), narrow).wrong == ("x",)


def shared(x, d):
    tied = (x == x.max()).astype(x.dtype)
    return d * tied / tied.sum()


def test_an_argmax_that_is_tied_leaves_the_value_alone():
    f = rule(lambda x: x[jnp.argmax(x)], lambda x: (x.max(), x), lambda x, d: (shared(x, d),))
    assert gradients(f, jnp.array([1.0, 3.0, 3.0])).ok


@pytest.mark.parametrize("size", [40, 150])
def test_any_order_of_equal_numbers_sorts_them(size):
    def descending(x):
        return jnp.sort(x)[::-1]

    f = rule(
        descending,
        lambda x: (descending(x), jnp.argsort(-x)),
        lambda order, dy: (jnp.zeros_like(dy).at[order].set(dy),),
    )
    x = jnp.round(normal(size))
    assert not jnp.array_equal(jnp.argsort(-x), jnp.argsort(x)[::-1])
    assert compare_vjp(f, x).ok


@pytest.mark.parametrize(("slope", "ok"), [(0.5, True), (1.5, False)])
def test_one_kink_among_more_than_are_probed_one_by_one(slope, ok):
    x = jnp.asarray(np.random.default_rng(0).integers(-1, 2, 60_000), jnp.float32)
    place = jnp.arange(x.size) == jnp.argmax(x == 0)
    f = rule(
        jnp.abs,
        lambda x: (jnp.abs(x), x),
        lambda x, dy: (dy * jnp.where((x == 0) & place, slope, jnp.sign(x)),),
    )
    assert compare_vjp(f, x, skip=("vmap", "scan", "checkpoint", "second order")).ok == ok


@pytest.mark.parametrize("size", [40, 150])
def test_all_equal_numbers_in_the_place_of_the_first_sort_nothing(size):
    def bwd(residuals, dy):
        x, y = residuals
        return (dy[jnp.searchsorted(y, x)],)

    f = rule(lambda x: jnp.sort(x), lambda x: (jnp.sort(x), (x, jnp.sort(x))), bwd)
    assert not compare_vjp(f, jnp.round(normal(size))).ok
