"""Right rules where elements tie: whoever is given the cotangent, its sum is kept."""

import jax
import jax.numpy as jnp
from jax import lax

from jbackprop.verify.corpus.case import Probe, RightRule
from jbackprop.verify.corpus.right_inputs import grid, normal


def _windows(x):
    """(n, h, w, c) as (n, h/2, w/2, c, 4)."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(n, h // 2, w // 2, c, 4)


def _unwindowed(windows):
    n, h, w, c, _ = windows.shape
    return windows.reshape(n, h, w, c, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(n, 2 * h, 2 * w, c)


def _give(index, dy, size):
    return jax.nn.one_hot(index, size, dtype=dy.dtype) * dy[..., None]


def _reduce_max(x, window, stride):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, window, window, 1), (1, stride, stride, 1), "VALID")


@jax.custom_vjp
def max_pool_first(x):
    return jnp.max(_windows(x), axis=-1)  # autodiff splits


def max_pool_first_fwd(x):
    windows = _windows(x)
    return jnp.max(windows, axis=-1), jnp.argmax(windows, axis=-1).astype(jnp.int8)


max_pool_first.defvjp(max_pool_first_fwd, lambda index, dy: (_unwindowed(_give(index, dy, 4)),))


@jax.custom_vjp
def max_pool_last(x):
    return _reduce_max(x, 2, 2)  # autodiff gives all to the first


def max_pool_last_fwd(x):
    windows = _windows(x)
    return jnp.max(windows, axis=-1), 3 - jnp.argmax(windows[..., ::-1], axis=-1)


max_pool_last.defvjp(max_pool_last_fwd, lambda index, dy: (_unwindowed(_give(index, dy, 4)),))


@jax.custom_vjp
def max_pool_split(x):
    return _reduce_max(x, 2, 2)


def max_pool_split_fwd(x):
    windows = _windows(x)
    y = jnp.max(windows, axis=-1)
    return y, windows == y[..., None]


def max_pool_split_bwd(winners, dy):
    share = dy / jnp.sum(winners, axis=-1).astype(dy.dtype)
    return (_unwindowed(jnp.where(winners, share[..., None], 0)),)


max_pool_split.defvjp(max_pool_split_fwd, max_pool_split_bwd)


def _shifts(size):
    """Where the nine elements of each 3x3 window at stride 2 lie."""
    along = [slice(i, i + 2 * size - 1, 2) for i in range(3)]
    return [(slice(None), rows, columns) for rows in along for columns in along]


@jax.custom_vjp
def max_pool_overlapping(x):
    return _reduce_max(x, 3, 2)


def max_pool_overlapping_fwd(x):
    size = (x.shape[1] - 3) // 2 + 1
    stacked = jnp.stack([x[where] for where in _shifts(size)])
    return jnp.max(stacked, axis=0), (8 - jnp.argmax(stacked[::-1], axis=0), jnp.zeros_like(x))


def max_pool_overlapping_bwd(residuals, dy):
    index, dx = residuals
    for k, where in enumerate(_shifts(dy.shape[1])):
        dx = dx.at[where].add(jnp.where(index == k, dy, 0))
    return (dx,)


max_pool_overlapping.defvjp(max_pool_overlapping_fwd, max_pool_overlapping_bwd)


@jax.custom_vjp
def row_max(x):
    return jnp.max(x, axis=-1)


row_max.defvjp(
    lambda x: (jnp.max(x, axis=-1), (jnp.argmax(x, axis=-1), x)),
    lambda residuals, dy: (_give(residuals[0], dy, residuals[1].shape[-1]),),
)


@jax.custom_vjp
def largest(x):
    return jnp.max(jnp.abs(x))


def largest_fwd(x):
    index = jnp.argmax(jnp.abs(x))
    return jnp.abs(x[index]), (index, jnp.sign(x[index]), jnp.zeros_like(x))


largest.defvjp(largest_fwd, lambda residuals, dy: (residuals[2].at[residuals[0]].set(dy * residuals[1]),))


@jax.custom_vjp
def median(x):
    return jnp.median(x, axis=-1)


def median_fwd(x):
    order = jnp.argsort(x, axis=-1)
    middle = order[..., x.shape[-1] // 2]
    return jnp.take_along_axis(x, middle[..., None], axis=-1)[..., 0], (middle, x)


median.defvjp(median_fwd, lambda residuals, dy: (_give(residuals[0], dy, residuals[1].shape[-1]),))


@jax.custom_vjp
def sort(x):
    return jnp.sort(x, axis=-1)


def sort_fwd(x):
    order = x.shape[-1] - 1 - jnp.argsort(x[..., ::-1], axis=-1, stable=True)  # equal keys in reversed order
    return jnp.take_along_axis(x, order, axis=-1), jnp.argsort(order, axis=-1)


sort.defvjp(sort_fwd, lambda inverse, dy: (jnp.take_along_axis(dy, inverse, axis=-1),))


@jax.custom_vjp
def top_3(x):
    values, indices = lax.top_k(x, 3)
    return values, indices


def top_3_fwd(x):
    values, indices = lax.top_k(x, 3)
    return (values, indices), (indices, jnp.zeros_like(x))


def top_3_bwd(residuals, d_outs):
    indices, dx = residuals
    return (dx.at[jnp.arange(dx.shape[0])[:, None], indices].add(d_outs[0]),)


top_3.defvjp(top_3_fwd, top_3_bwd)


def _minimum(share):
    """The smaller of two, with this share of the cotangent for the first where they are equal."""

    @jax.custom_vjp
    def minimum(a, b):
        return jnp.minimum(a, b)

    def bwd(residuals, dy):
        a, b = residuals
        to_a = jnp.where(a < b, 1.0, jnp.where(a == b, share, 0.0)).astype(dy.dtype)
        return dy * to_a, dy * (1 - to_a)

    minimum.defvjp(lambda a, b: (jnp.minimum(a, b), (a, b)), bwd)
    return minimum


minimum_both, minimum_left, minimum_right = _minimum(0.5), _minimum(1.0), _minimum(0.0)


@jax.custom_vjp
def l1_norm(x):
    return jnp.sum(jnp.abs(x))


l1_norm.defvjp(lambda x: (jnp.sum(jnp.abs(x)), x), lambda x, dy: (jnp.where(x > 0, dy, -dy),))


def _swap(x, i, j):
    low, high = minimum_left(x[:, i], x[:, j]), -minimum_right(-x[:, i], -x[:, j])
    return x.at[:, i].set(low).at[:, j].set(high)


def sorting_network(x):
    """Rows of four, sorted by five comparators, each built of two rules."""
    for i, j in ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2)):
        x = _swap(x, i, j)
    return x


def _levels(rng, dtype, *shape):
    return grid(rng, dtype, 1, 2, *shape)


def _row(name, temptation, function, *shape, count=1):
    return RightRule(
        name, temptation, lambda rng, dtype: Probe(function, tuple(_levels(rng, dtype, *shape) for _ in range(count)))
    )


TIES = (
    _row("max_pool_first", "ties: all to the first; int8 residual", max_pool_first, 2, 8, 12, 3),
    _row("max_pool_last", "ties: all to the last", max_pool_last, 2, 8, 12, 3),
    _row("max_pool_split", "ties: equal shares", max_pool_split, 2, 8, 12, 3),
    _row("max_pool_overlapping", "ties in windows that overlap", max_pool_overlapping, 2, 11, 11, 3),
    RightRule(
        "max_pool_no_ties",
        "no tie at all",
        lambda rng, dtype: Probe(max_pool_overlapping, (normal(rng, dtype, 1, 13, 13, 2),)),
    ),
    _row("row_max", "ties in a row", row_max, 40, 17),
    _row("largest", "ties of both signs", largest, 400),
    _row("median", "ties around the middle", median, 30, 15),
    _row("sort", "equal keys, reversed order among them", sort, 20, 32),
    _row("top_3", "equal keys; an integer output", top_3, 20, 32),
    _row("minimum_both", "equal arguments: half to each", minimum_both, 30, 10, count=2),
    _row("minimum_left", "equal arguments: all to the first", minimum_left, 300, count=2),
    _row("minimum_right", "equal arguments: all to the second", minimum_right, 300, count=2),
    _row("l1_norm", "zeros in an l1 norm", l1_norm, 600),
    _row("sorting_network", "rules upon rules, with ties", sorting_network, 80, 4),
)
