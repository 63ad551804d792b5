"""Wrong rules of dense layers."""

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import WrongRule
from jbackprop.verify.corpus.wrong_build import EXACT, custom, normal, rule

_LAYER = ((64, 24), (24, 16), (16,))


def dense(x, w, b):
    return x @ w + b


def linear(x, w):
    return x @ w


def sequence_dense(x, w, b):
    return jnp.einsum("bti,io->bto", x, w) + b


def with_positions(x, positions):
    return x + positions


def tied_autoencoder(x, w):
    return jnp.tanh(x @ w) @ w.T


def _tied_bwd(dy, x, w):
    h = jnp.tanh(x @ w)
    dz = (dy @ w) * (1 - h * h)
    return dz @ w.T, dy.T @ h  # the encoder's share, x.T @ dz, is forgotten


def low_rank(x, w, a, b):
    return x @ w + 0.25 * ((x @ a) @ b)


def _low_rank_bwd(dy, x, w, a, b):
    return dy @ w.T + 0.25 * (dy @ b.T) @ a.T, x.T @ dy, x.T @ (dy @ b.T), (x @ a).T @ dy


def residual_block(x, w):
    return x + jnp.tanh(x @ w)


def _residual_bwd(dy, x, w):
    dz = dy * (1 - jnp.tanh(x @ w) ** 2)
    return dz @ w.T, x.T @ dz


def heads(x, w):
    return jnp.einsum("nhd,hde->nhe", x, w)


def blocked_linear(x, w):
    return x @ w


def _blocked_bwd(dy, x, w):
    whole = x.shape[0] // 32 * 32  # examples after the last full block are lost
    return dy @ w.T, sum(x[i : i + 32].T @ dy[i : i + 32] for i in range(0, whole, 32))


def _bias_in_bfloat16(dy, x, w, b):
    return dy @ w.T, x.T @ dy, dy.astype(jnp.bfloat16).sum(0).astype(b.dtype)


def add_bias(x, b):
    return x + b


def _bias_one_by_one(dy, x, b):
    return dy, jax.lax.scan(lambda total, row: (total + row, None), jnp.zeros_like(b), dy)[0]


def _swapped_residuals_bwd(residuals, dy):
    x, w = residuals
    return dy @ w.T, x.T @ dy


DENSE = (
    WrongRule(
        "dense: db is one number",
        "extra sum",
        ("b",),
        normal(rule(dense, lambda dy, x, w, b: (dy @ w.T, x.T @ dy, jnp.full_like(b, dy.sum()))), *_LAYER),
        source="a published solution of CS229's network for MNIST: db1 summed over everything",
    ),
    WrongRule(
        "dense: db is the mean over the batch",
        "factor",
        ("b",),
        normal(rule(dense, lambda dy, x, w, b: (dy @ w.T, x.T @ dy, dy.mean(0))), *_LAYER),
    ),
    WrongRule(
        "dense: dw is divided by the batch, as the loss has done already",
        "factor",
        ("w",),
        normal(rule(dense, lambda dy, x, w, b: (dy @ w.T, x.T @ dy / x.shape[0], dy.sum(0))), *_LAYER),
    ),
    WrongRule(
        "dense: db of the first example alone",
        "missing sum",
        ("b",),
        normal(rule(dense, lambda dy, x, w, b: (dy @ w.T, x.T @ dy, dy[0])), *_LAYER),
    ),
    WrongRule(
        "dense over a sequence: db summed over the batch, not over time",
        "missing sum",
        ("b",),
        normal(
            rule(
                sequence_dense,
                lambda dy, x, w, b: (dy @ w.T, jnp.einsum("bti,bto->io", x, dy), dy.sum(0)[-1]),
            ),
            (8, 12, 24),
            (24, 16),
            (16,),
        ),
    ),
    WrongRule(
        "positions added to a batch: their cotangent is not summed over it",
        "missing sum",
        ("positions",),
        normal(rule(with_positions, lambda dy, x, positions: (dy, dy[0])), (12, 20, 16), (20, 16)),
    ),
    WrongRule(
        "square linear: w for its transpose",
        "wrong point",
        ("x",),
        normal(rule(linear, lambda dy, x, w: (dy @ w, x.T @ dy)), (48, 20), (20, 20)),
    ),
    WrongRule(
        "square linear: dw transposed",
        "transposed",
        ("w",),
        normal(rule(linear, lambda dy, x, w: (dy @ w.T, dy.T @ x)), (48, 20), (20, 20)),
    ),
    WrongRule(
        "one square matrix for each head: the last two axes of dw exchanged",
        "transposed",
        ("w",),
        normal(
            rule(heads, lambda dy, x, w: (jnp.einsum("nhe,hde->nhd", dy, w), jnp.einsum("nhd,nhe->hed", x, dy))),
            (40, 4, 12),
            (4, 12, 12),
        ),
    ),
    WrongRule(
        "linear: the weight decay of the optimizer is in dw",
        "added",
        ("w",),
        normal(rule(linear, lambda dy, x, w: (dy @ w.T, x.T @ dy + 1e-2 * w)), (64, 24), (24, 16)),
        dtypes=EXACT,
    ),
    WrongRule(
        "linear: dw forgets dy",
        "cotangent ignored",
        ("w",),
        normal(rule(linear, lambda dy, x, w: (dy @ w.T, x.T @ jnp.ones_like(dy))), (64, 24), (24, 16)),
    ),
    WrongRule(
        "linear: the sums over the batch taken before the product",
        "uniform cotangent",
        ("w",),
        normal(rule(linear, lambda dy, x, w: (dy @ w.T, x.sum(0)[:, None] * dy.mean(0))), (64, 24), (24, 16)),
    ),
    WrongRule(
        "linear: a frozen w",
        "zero",
        ("w",),
        normal(rule(linear, lambda dy, x, w: (dy @ w.T, jnp.zeros_like(w))), (64, 40), (40, 32)),
    ),
    WrongRule(
        "linear: dw in blocks of 32 examples, the incomplete last one dropped",
        "missing term",
        ("w",),
        normal(rule(blocked_linear, _blocked_bwd), (100, 24), (24, 16)),
        source="ragged last batch",
        same_as=("part",),
    ),
    WrongRule(
        "square linear: fwd saves (w, x), bwd reads (x, w)",
        "unexplained",
        ("x", "w"),
        normal(custom(linear, lambda x, w: (x @ w, (w, x)), _swapped_residuals_bwd), (24, 24), (24, 24)),
    ),
    WrongRule(
        "tied autoencoder: dw of the decoder alone",
        "missing term",
        ("w",),
        normal(rule(tied_autoencoder, _tied_bwd), (50, 24), (24, 10)),
    ),
    WrongRule(
        "low-rank update: the scale is missing",
        "factor",
        ("a", "b"),
        normal(rule(low_rank, _low_rank_bwd), (50, 24), (24, 16), (24, 4), (4, 16)),
    ),
    WrongRule(
        "residual block: the skip connection is missing",
        "missing term",
        ("x",),
        normal(rule(residual_block, _residual_bwd), (50, 24), (24, 24)),
    ),
    WrongRule(
        "dense: db summed in bfloat16",
        "accuracy",
        ("b",),
        normal(rule(dense, _bias_in_bfloat16), (256, 24), (24, 16), (16,)),
        dtypes=EXACT,
    ),
    WrongRule(
        "bias: db summed row by row in its own bfloat16",
        "accuracy",
        ("b",),
        normal(rule(add_bias, _bias_one_by_one), (2000, 8), (8,)),
        dtypes=("bfloat16",),
    ),
)
