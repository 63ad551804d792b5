"""Wrong rules of normalisations and running statistics."""

import jax.numpy as jnp

from jbackprop.verify.corpus.case import Probe, WrongRule
from jbackprop.verify.corpus.wrong_build import EXACT, draw, normal, rule

_ROWS = (40, 24)
_EPS = 1e-5


def _mean(x, axis=-1):
    return x.mean(axis, keepdims=True)


def layer_norm(x, scale, offset):
    y, _ = _standardised(x, -1)
    return y * scale + offset


def _standardised(x, axis):
    z = x - _mean(x, axis)
    rstd = 1 / jnp.sqrt(_mean(z * z, axis) + _EPS)
    return z * rstd, rstd


def _layer_norm_without_mean_bwd(dy, x, scale, offset):
    y, rstd = _standardised(x, -1)
    g = dy * scale
    return rstd * (g - y * _mean(g * y)), (dy * y).sum(0), dy.sum(0)


def _layer_norm_without_variance_bwd(dy, x, scale, offset):
    y, rstd = _standardised(x, -1)
    g = dy * scale
    return rstd * (g - _mean(g)), (dy * y).sum(0), dy.sum(0)


def _layer_norm_scale_bwd(dy, x, scale, offset):
    y, rstd = _standardised(x, -1)
    g = dy * scale
    return rstd * (g - _mean(g) - y * _mean(g * y)), (dy * x).sum(0), dy.sum(0)


def _layer_norm_other_axis_bwd(dy, x, scale, offset):
    y, rstd = _standardised(x, -1)
    g = dy * scale
    return rstd * (g - _mean(g, 0) - y * _mean(g * y, 0)), (dy * y).sum(0), dy.sum(0)


def batch_norm(x, scale, offset):
    y, _ = _standardised(x, 0)
    return y * scale + offset


def _batch_norm_bwd(dx, dscale, doffset):
    """The right backward, with one of the three cotangents replaced."""

    def bwd(dy, x, scale, offset):
        y, rstd = _standardised(x, 0)
        g = dy * scale
        right = rstd * (g - _mean(g, 0) - y * _mean(g * y, 0))
        return dx(right, g, rstd), dscale((dy * y).sum(0), dy * y), doffset(dy.sum(0), dy)

    return bwd


def _keep(right, *_):
    return right


def rms_norm(x):
    return x / jnp.sqrt(_mean(x * x) + _EPS)


def l2_normalise(x):
    return x / jnp.sqrt((x * x).sum(-1, keepdims=True))


def weight_norm(v, gain):
    return gain * v / jnp.sqrt((v * v).sum(0))


def _weight_norm_bwd(dy, v, gain):
    norm = jnp.sqrt((v * v).sum(0))
    return gain * dy / norm, (dy * v / norm).sum(0)


def standardise_quiet(x):
    return _standardised(x, -1)[0]


def _without_eps_bwd(dy, x):
    z = x - _mean(x)
    rstd = 1 / jnp.sqrt(_mean(z * z))
    y = z * rstd
    return (rstd * (dy - _mean(dy) - y * _mean(dy * y)),)


def _quiet(function):
    def probe(rng, dtype):
        return Probe(function, tuple(4e-3 * x for x in draw(rng, dtype, _ROWS)))

    return probe


def running_mean(running, x):
    return 0.9 * running + 0.1 * x.mean(0)


def _running_mean_bwd(dy, running, x):
    return 0.9 * dy, jnp.broadcast_to(dy / x.shape[0], x.shape)


def train_norm(x, running):
    mean = x.mean(0)
    return x - mean, 0.9 * running + 0.1 * mean


def _output_alone_bwd(dy, x, running):
    d_centred, d_running = dy
    return d_centred - d_centred.mean(0), 0.9 * d_running


_LAYER_NORM = (_ROWS, (24,), (24,))

NORMALISATION = (
    WrongRule(
        "layer norm: the mean of dy is not subtracted",
        "missing term",
        ("x",),
        normal(rule(layer_norm, _layer_norm_without_mean_bwd), *_LAYER_NORM),
    ),
    WrongRule(
        "layer norm: the variance is taken for a constant",
        "missing term",
        ("x",),
        normal(rule(layer_norm, _layer_norm_without_variance_bwd), *_LAYER_NORM),
    ),
    WrongRule(
        "layer norm: the means are taken over the batch",
        "unexplained",
        ("x",),
        normal(rule(layer_norm, _layer_norm_other_axis_bwd), *_LAYER_NORM),
    ),
    WrongRule(
        "layer norm: dscale with the input, not the normalised one",
        "wrong point",
        ("scale",),
        normal(rule(layer_norm, _layer_norm_scale_bwd), *_LAYER_NORM),
    ),
    WrongRule(
        "batch norm: mean and variance are taken for constants",
        "missing term",
        ("x",),
        normal(rule(batch_norm, _batch_norm_bwd(lambda right, g, rstd: g * rstd, _keep, _keep)), *_LAYER_NORM),
    ),
    WrongRule(
        "batch norm: dscale is a mean",
        "factor",
        ("scale",),
        normal(rule(batch_norm, _batch_norm_bwd(_keep, lambda right, terms: terms.mean(0), _keep)), *_LAYER_NORM),
    ),
    WrongRule(
        "batch norm: doffset summed over everything",
        "extra sum",
        ("offset",),
        normal(
            rule(batch_norm, _batch_norm_bwd(_keep, _keep, lambda right, dy: jnp.full_like(right, dy.sum()))),
            *_LAYER_NORM,
        ),
    ),
    WrongRule(
        "rms norm: the root mean square is taken for a constant",
        "missing term",
        ("x",),
        normal(rule(rms_norm, lambda dy, x: (dy / jnp.sqrt(_mean(x * x) + _EPS),)), _ROWS),
    ),
    WrongRule(
        "l2 norm: the part along x is not removed",
        "missing term",
        ("x",),
        normal(rule(l2_normalise, lambda dy, x: (dy / jnp.sqrt((x * x).sum(-1, keepdims=True)),)), _ROWS),
    ),
    WrongRule(
        "weight norm: dv is not projected",
        "missing term",
        ("v",),
        normal(rule(weight_norm, _weight_norm_bwd), _ROWS, (24,)),
    ),
    WrongRule(
        "standardised rows: eps forgotten in bwd, and the rows are quiet",
        "unexplained",
        ("x",),
        _quiet(rule(standardise_quiet, _without_eps_bwd)),
    ),
    WrongRule(
        "running mean: 1 - momentum is missing",
        "factor",
        ("x",),
        normal(rule(running_mean, _running_mean_bwd), (24,), _ROWS),
    ),
    WrongRule(
        "centring with a running mean: the running mean's cotangent does not reach x",
        "cotangent ignored",
        ("x",),
        normal(rule(train_norm, _output_alone_bwd), (8, 24), (24,)),
        dtypes=EXACT,
    ),
)
