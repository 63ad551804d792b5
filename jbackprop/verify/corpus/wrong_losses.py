"""Wrong rules of other losses, softmax and what is measured between two arrays."""

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import Probe, WrongRule
from jbackprop.verify.corpus.wrong_build import EXACT, custom, draw, normal, rule

_LOGITS = (64, 10)
_TEMPERATURE = 0.2


def squared_error(prediction, target):
    return ((prediction - target) ** 2).mean()


def _squared_error_bwd(factor):
    def bwd(dy, prediction, target):
        d = factor * dy * (prediction - target) / prediction.size
        return d, -d

    return bwd


def squared_error_each(prediction, target):
    return ((prediction - target) ** 2).sum(-1)


def _mean_of_dy_bwd(dy, prediction, target):
    d = 2 * dy.mean() * (prediction - target)
    return d, -d


def huber(prediction, target):
    r = prediction - target
    return jnp.where(jnp.abs(r) < 0.5, 0.5 * r * r, 0.5 * (jnp.abs(r) - 0.25)).sum(-1)


def _huber_bwd(dy, prediction, target):
    r = prediction - target
    d = dy[:, None] * jnp.where(jnp.abs(r) < 0.5, r, jnp.sign(r))
    return d, -d


def gaussian_nll(residual, log_variance):
    return 0.5 * (residual**2 * jnp.exp(-log_variance) + log_variance).sum(-1)


def _gaussian_nll_bwd(dy, residual, log_variance):
    precision = jnp.exp(-log_variance)
    return dy[:, None] * residual * precision, 0.5 * dy[:, None] * (residual**2 * precision - 1)


def divergence(p, q):
    return (p * (jnp.log(p) - jnp.log(q))).sum(-1)


def _divergence_bwd(dy, p, q):
    return dy[:, None] * (jnp.log(p) - jnp.log(q)), -dy[:, None] * p / q


def _distributions(function):
    def probe(rng, dtype):
        return Probe(function, tuple(jax.nn.softmax(x) for x in draw(rng, dtype, _LOGITS, _LOGITS)))

    return probe


def softmax(x):
    return jax.nn.softmax(x)


def log_softmax(x):
    return jax.nn.log_softmax(x)


def contrastive(a, b):
    similarity = a @ b.T / _TEMPERATURE
    return (jax.nn.logsumexp(similarity, axis=-1) - jnp.diagonal(similarity)).mean()


def _contrastive_bwd(dy, a, b):
    p = jax.nn.softmax(a @ b.T / _TEMPERATURE)
    d = dy * (p - jnp.eye(a.shape[0], dtype=p.dtype)) / a.shape[0]
    return d @ b, d.T @ a


def distillation(student, teacher):
    target = jax.nn.softmax(teacher / 4)
    return 16 * (target * (jnp.log(target) - jax.nn.log_softmax(student / 4))).sum(-1)


def _distillation_bwd(dy, student, teacher):
    target, logp = jax.nn.softmax(teacher / 4), jax.nn.log_softmax(student / 4)
    per_class = jnp.log(target) - logp
    dteacher = 4 * target * (per_class - (target * per_class).sum(-1, keepdims=True))
    return dy[:, None] * (jnp.exp(logp) - target), dy[:, None] * dteacher


def cosine_similarity(a, b):
    return (a * b).sum(-1) / jnp.sqrt((a * a).sum(-1) * (b * b).sum(-1))


def _cosine_bwd(dy, a, b):
    scale = dy[:, None] / jnp.sqrt((a * a).sum(-1) * (b * b).sum(-1))[:, None]
    return scale * b, scale * a


def _static_reduction_bwd(reduction, residuals, dy):
    prediction, target = residuals
    d = 2 * dy * (prediction - target)
    return d, -d


def reduced_squared_error(prediction, target, reduction):
    errors = (prediction - target) ** 2
    return errors.mean() if reduction == "mean" else errors.sum()


def _reduced_fwd(prediction, target, reduction):
    return reduced_squared_error(prediction, target, reduction), (prediction, target)


LOSSES = (
    WrongRule(
        "squared error of each row: the mean of the cotangent for all rows",
        "uniform cotangent",
        ("prediction", "target"),
        normal(rule(squared_error_each, _mean_of_dy_bwd), (64, 12), (64, 12)),
    ),
    WrongRule(
        "squared error: the factor 2 is missing",
        "factor",
        ("prediction", "target"),
        normal(rule(squared_error, _squared_error_bwd(1)), (64, 12), (64, 12)),
    ),
    WrongRule(
        "squared error: target minus prediction",
        "sign",
        ("prediction", "target"),
        normal(rule(squared_error, _squared_error_bwd(-2)), (64, 12), (64, 12)),
    ),
    WrongRule(
        "squared error with a static reduction: mean is treated as sum",
        "factor",
        ("prediction", "target"),
        normal(
            custom(reduced_squared_error, _reduced_fwd, _static_reduction_bwd, static=(2,)),
            (40, 25),
            (40, 25),
            also=("mean",),
        ),
    ),
    WrongRule(
        "huber: the slope of the linear part is 1",
        "unexplained",
        ("prediction", "target"),
        normal(rule(huber, _huber_bwd), (64, 12), (64, 12)),
    ),
    WrongRule(
        "gaussian likelihood: the sign of the log-variance's gradient",
        "sign",
        ("log_variance",),
        normal(rule(gaussian_nll, _gaussian_nll_bwd), (64, 12), (64, 12)),
    ),
    WrongRule(
        "divergence: d(p log p) without the 1",
        "missing term",
        ("p",),
        _distributions(rule(divergence, _divergence_bwd)),
    ),
    WrongRule(
        "softmax: p·dy is not subtracted",
        "missing term",
        ("x",),
        normal(rule(softmax, lambda dy, x: (softmax(x) * dy,)), _LOGITS),
    ),
    WrongRule(
        "softmax: the diagonal of its Jacobian alone",
        "missing term",
        ("x",),
        normal(rule(softmax, lambda dy, x: (softmax(x) * (1 - softmax(x)) * dy,)), _LOGITS),
        source="a published solution of CS229's convolutional network",
    ),
    WrongRule(
        "log-softmax: dy - p, as if dy summed to 1",
        "not linear",
        ("x",),
        normal(rule(log_softmax, lambda dy, x: (dy - softmax(x),)), _LOGITS),
    ),
    WrongRule(
        "contrastive loss: the temperature is missing",
        "factor",
        ("a", "b"),
        normal(rule(contrastive, _contrastive_bwd), (32, 16), (32, 16)),
        dtypes=EXACT,
    ),
    WrongRule(
        "distillation: one temperature too few",
        "factor",
        ("student",),
        normal(rule(distillation, _distillation_bwd), _LOGITS, _LOGITS),
    ),
    WrongRule(
        "cosine similarity: the norms are taken for constants",
        "missing term",
        ("a", "b"),
        normal(rule(cosine_similarity, _cosine_bwd), (50, 16), (50, 16)),
    ),
)
