"""Wrong rules of losses for class indices."""

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import Probe, WrongRule
from jbackprop.verify.corpus.wrong_build import EXACT, custom, rule, with_labels

_LOGITS = (64, 10)


def _onehot(labels, logits):
    return jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)


def _p_minus_y(logits, labels):
    return jax.nn.softmax(logits) - _onehot(labels, logits)


def cross_entropy_each(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=-1)[:, 0]


def _gradient_in_fwd(logits, labels):
    return cross_entropy_each(logits, labels), _p_minus_y(logits, labels)


def cross_entropy(logits, labels):
    return cross_entropy_each(logits, labels).mean()


def linear_cross_entropy(x, labels, w):
    return cross_entropy_each(x @ w, labels)


def _linear_cross_entropy_fwd(x, labels, w):
    dlogits = _p_minus_y(x @ w, labels)
    return linear_cross_entropy(x, labels, w), (dlogits @ w.T, x.T @ dlogits)


def smoothed_cross_entropy(logits, labels):
    targets = 0.9 * _onehot(labels, logits) + 0.01
    return -(targets * jax.nn.log_softmax(logits)).sum(-1).mean()


def _smoothed_bwd(dy, logits, labels):
    return dy * (jax.nn.softmax(logits) - 0.9 * _onehot(labels, logits)) / labels.size, None


def weighted_cross_entropy(logits, labels, weights):
    return (weights * cross_entropy_each(logits, labels)).sum() / weights.sum()


def _weighted_by_count_bwd(dy, logits, labels, weights):
    loss = weighted_cross_entropy(logits, labels, weights)
    dlogits = dy * weights[:, None] * _p_minus_y(logits, labels) / labels.size
    return dlogits, None, dy * (cross_entropy_each(logits, labels) - loss) / weights.sum()


def _weights_without_norm_bwd(dy, logits, labels, weights):
    dlogits = dy * weights[:, None] * _p_minus_y(logits, labels) / weights.sum()
    return dlogits, None, dy * cross_entropy_each(logits, labels) / weights.sum()


def _weighted(function):
    def probe(rng, dtype):
        call = with_labels(function, _LOGITS)(rng, dtype)
        return Probe(function, (*call.args, jnp.asarray(rng.random(64) * 3, dtype)))

    return probe


def padded_cross_entropy(logits, labels, count):
    counted = jnp.arange(labels.size) < count
    return jnp.where(counted, cross_entropy_each(logits, labels), 0).sum() / 50


def _padding_too_bwd(dy, logits, labels, count):
    return dy * _p_minus_y(logits, labels) / 50, None, None


def _mean_of_block_means_bwd(dy, logits, labels):
    blocks = [range(i, min(i + 32, labels.size)) for i in range(0, labels.size, 32)]
    scale = jnp.asarray([1 / len(block) / len(blocks) for block in blocks for _ in block], logits.dtype)
    return dy * scale[:, None] * _p_minus_y(logits, labels), None


def focal(logits, labels):
    loss = cross_entropy_each(logits, labels)
    return (1 - jnp.exp(-loss)) ** 2 * loss


def _focal_bwd(dy, logits, labels):
    p = jnp.exp(-cross_entropy_each(logits, labels))
    return (dy * (1 - p) ** 2)[:, None] * _p_minus_y(logits, labels), None


def cross_entropy_and_z(logits, labels):
    return cross_entropy_each(logits, labels) + 0.1 * jax.nn.logsumexp(logits, axis=-1) ** 2


def loss_and_entropy(logits, labels):
    logp = jax.nn.log_softmax(logits)
    return cross_entropy(logits, labels), -(jnp.exp(logp) * logp).sum(-1)


CROSS_ENTROPY = (
    WrongRule(
        "cross-entropy of each row: all rows scaled by the first one's cotangent",
        "uniform cotangent",
        ("logits",),
        with_labels(custom(cross_entropy_each, _gradient_in_fwd, lambda d, dy: (d * dy[0], None)), _LOGITS),
        source="Liger-Kernel, cross-entropy with reduction='none' (issues 678, 968)",
    ),
    WrongRule(
        "linear and cross-entropy of each row: dx and dw scaled by one cotangent",
        "uniform cotangent",
        ("x", "w"),
        with_labels(
            custom(linear_cross_entropy, _linear_cross_entropy_fwd, lambda d, dy: (d[0] * dy[0], None, d[1] * dy[0])),
            (64, 12),
            (12, 10),
            classes=10,
        ),
        source="Liger-Kernel, fused linear cross-entropy with reduction='none' (pull request 1298)",
    ),
    WrongRule(
        "cross-entropy: dy is never used",
        "cotangent ignored",
        ("logits",),
        with_labels(
            rule(cross_entropy, lambda dy, logits, labels: (_p_minus_y(logits, labels) / labels.size, None)), _LOGITS
        ),
    ),
    WrongRule(
        "cross-entropy: 1/N is missing",
        "factor",
        ("logits",),
        with_labels(rule(cross_entropy, lambda dy, logits, labels: (dy * _p_minus_y(logits, labels), None)), _LOGITS),
    ),
    WrongRule(
        "cross-entropy: labels minus probabilities",
        "sign",
        ("logits",),
        with_labels(
            rule(cross_entropy, lambda dy, logits, labels: (-dy * _p_minus_y(logits, labels) / labels.size, None)),
            _LOGITS,
        ),
    ),
    WrongRule(
        "cross-entropy: a mean of the means of blocks, the last one smaller",
        "part",
        ("logits",),
        with_labels(rule(cross_entropy, _mean_of_block_means_bwd), (68, 10)),
        source="ragged last batch",
        same_as=("factor",),
    ),
    WrongRule(
        "cross-entropy of a padded batch: the padding has a gradient",
        "part",
        ("logits",),
        with_labels(rule(padded_cross_entropy, _padding_too_bwd), _LOGITS, also=(50,)),
        source="ragged last batch",
    ),
    WrongRule(
        "smoothed cross-entropy: the uniform part of the targets is missing",
        "missing term",
        ("logits",),
        with_labels(rule(smoothed_cross_entropy, _smoothed_bwd), _LOGITS),
        dtypes=EXACT,
        same_as=("added",),
    ),
    WrongRule(
        "weighted cross-entropy: divided by N, not by the sum of the weights",
        "factor",
        ("logits",),
        _weighted(rule(weighted_cross_entropy, _weighted_by_count_bwd)),
    ),
    WrongRule(
        "weighted cross-entropy: the weights in the denominator are taken for constants",
        "missing term",
        ("weights",),
        _weighted(rule(weighted_cross_entropy, _weights_without_norm_bwd)),
        same_as=("added",),
    ),
    WrongRule(
        "focal loss: the focus is taken for a constant",
        "missing term",
        ("logits",),
        with_labels(rule(focal, _focal_bwd), _LOGITS),
        same_as=("factor",),
    ),
    WrongRule(
        "z-loss: the gradient of the cross-entropy alone",
        "missing term",
        ("logits",),
        with_labels(
            rule(cross_entropy_and_z, lambda dy, logits, labels: (dy[:, None] * _p_minus_y(logits, labels), None)),
            _LOGITS,
        ),
    ),
    WrongRule(
        "loss and entropy: the entropy's cotangent is not used",
        "cotangent ignored",
        ("logits",),
        with_labels(
            rule(loss_and_entropy, lambda dy, logits, labels: (dy[0] * _p_minus_y(logits, labels) / labels.size, None)),
            _LOGITS,
        ),
    ),
)
