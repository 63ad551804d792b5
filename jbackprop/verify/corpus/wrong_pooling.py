"""Wrong rules of pooling, padding and rearranged images."""

import jax.numpy as jnp

from jbackprop.verify.corpus.case import WrongRule
from jbackprop.verify.corpus.wrong_build import EXACT, normal, rule, tied


def _blocks(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c)


def _spread(y):
    return y.repeat(2, axis=1).repeat(2, axis=2)


def max_pool(x):
    return _blocks(x).max((2, 4))


def _every_winner_bwd(dy, x):
    return (jnp.where(x == _spread(max_pool(x)), _spread(dy), 0),)


def _winner_over_all_channels_bwd(dy, x):
    largest = _spread(max_pool(x).max(-1, keepdims=True))
    return (jnp.where(x == largest, _spread(dy), 0),)


def _loop_ends_early_bwd(dy, x):
    blocks, y = _blocks(x), max_pool(x)
    d = jnp.where(blocks == y[:, :, None, :, None], dy[:, :, None, :, None], 0)
    return (d.at[:, -1].set(0).at[:, :, :, -1].set(0).reshape(x.shape),)  # range(0, height - 2, 2)


def overlapping_max_pool(x):
    return jnp.stack([x[:, 0:-2:2], x[:, 1:-1:2], x[:, 2::2]]).max(0)


def _last_window_wins_bwd(dy, x):
    windows = jnp.stack([x[:, 0:-2:2], x[:, 1:-1:2], x[:, 2::2]])
    winner = windows.argmax(0) + 2 * jnp.arange(dy.shape[1])
    rows = jnp.arange(x.shape[0])[:, None]
    return (jnp.zeros_like(x).at[rows, winner].set(dy),)


def overlapping_mean_pool(x):
    return (x[:, :-2] + x[:, 1:-1] + x[:, 2:]) / 3


def _mean_replaced_bwd(dy, x):
    dx, n = jnp.zeros_like(x), dy.shape[1]
    for u in range(3):
        dx = dx.at[:, u : u + n].set(dy / 3)
    return (dx,)


def mean_pool(x):
    return _blocks(x).mean((2, 4))


def _padded_sums(x):
    padded = jnp.pad(x, ((0, 0), (1, 1)))
    return padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]


def mean_pool_same(x):
    return _padded_sums(x) / _padded_sums(jnp.ones_like(x))


def upsample(x):
    return _spread(x)


def space_to_depth(x):
    n, h, w, c = x.shape
    return _blocks(x).transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4 * c)


def _depth_to_space_bwd(dy, x):
    n, h, w, c = x.shape
    return (dy.reshape(n, h // 2, w // 2, 2, 2, c).transpose(0, 1, 4, 2, 3, 5).reshape(n, h, w, c),)


def padded(x):
    return jnp.pad(x, ((0, 0), (2, 2), (2, 2)))


def reflected(x):
    return jnp.pad(x, ((0, 0), (2, 2)), mode="reflect")


def global_mean(x):
    return x.mean((1, 2))


def _global_mean_bwd(dy, x):
    return (jnp.broadcast_to(dy[:, None, None], x.shape) / x.shape[1],)


POOLING = (
    WrongRule(
        "max-pool: every tied element receives everything",
        "ties",
        ("x",),
        tied(rule(max_pool, _every_winner_bwd), 4, (4, 8, 8, 3)),
        source="JACOBIAN: 1 where x is the maximum of its window",
    ),
    WrongRule(
        "max-pool: the winner is looked for over all channels",
        "unexplained",
        ("x",),
        normal(rule(max_pool, _winner_over_all_channels_bwd), (4, 8, 8, 3)),
        dtypes=EXACT,
        source="a published solution of CS229's convolutional network",
    ),
    WrongRule(
        "max-pool: the loop stops before the last window",
        "part",
        ("x",),
        normal(rule(max_pool, _loop_ends_early_bwd), (4, 10, 10, 3)),
        dtypes=EXACT,
        source="a published solution of CS229's convolutional network",
    ),
    WrongRule(
        "overlapping max-pool: set in place of add",
        "overlap",
        ("x",),
        normal(rule(overlapping_max_pool, _last_window_wins_bwd), (20, 41)),
        dtypes=EXACT,
        source="overlapping pooling: NNlib.jl issue 205",
    ),
    WrongRule(
        "overlapping mean-pool: set in place of add",
        "overlap",
        ("x",),
        normal(rule(overlapping_mean_pool, _mean_replaced_bwd), (20, 40)),
        source="overlapping pooling",
    ),
    WrongRule(
        "mean-pool: 1/4 is missing",
        "factor",
        ("x",),
        normal(rule(mean_pool, lambda dy, x: (_spread(dy),)), (4, 8, 8, 3)),
    ),
    WrongRule(
        "mean-pool with padding: the padding is counted",
        "part",
        ("x",),
        normal(rule(mean_pool_same, lambda dy, x: (_padded_sums(dy) / 3,)), (20, 30)),
    ),
    WrongRule(
        "upsampling: one of the four copies",
        "missing sum",
        ("x",),
        normal(rule(upsample, lambda dy, x: (dy[:, ::2, ::2],)), (4, 8, 8, 3)),
    ),
    WrongRule(
        "upsampling: the mean of the four copies",
        "factor",
        ("x",),
        normal(rule(upsample, lambda dy, x: (mean_pool(dy),)), (4, 8, 8, 3)),
    ),
    WrongRule(
        "space to depth: rows and columns of a block mixed up on the way back",
        "permuted",
        ("x",),
        normal(rule(space_to_depth, _depth_to_space_bwd), (4, 8, 8, 3)),
    ),
    WrongRule(
        "padding: cropped one pixel too early",
        "permuted",
        ("x",),
        normal(rule(padded, lambda dy, x: (dy[:, 1:-3, 1:-3],)), (4, 16, 16)),
    ),
    WrongRule(
        "padding by reflection: the border's share is dropped",
        "part",
        ("x",),
        normal(rule(reflected, lambda dy, x: (dy[:, 2:-2],)), (20, 30)),
        same_as=("overlap",),
    ),
    WrongRule(
        "global mean: divided by the height alone",
        "factor",
        ("x",),
        normal(rule(global_mean, _global_mean_bwd), (4, 8, 6, 3)),
    ),
)
