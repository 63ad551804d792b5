"""Wrong rules that move numbers about: gather and scatter, permutations, pytrees."""

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import Probe, WrongRule
from jbackprop.verify.corpus.wrong_build import EXACT, draw, normal, rule, tied

_SEQUENCES = (24, 30)


def embedding(indices, table):
    return table[indices]


def _embedding_set_bwd(dy, indices, table):
    return None, jnp.zeros_like(table).at[indices].set(dy)


def _indexed(function, count, *shapes, unique=False):
    """Draws `count` indices into the rows of the first array, which follow it."""

    def probe(rng, dtype):
        rows = shapes[0][0]
        drawn = rng.permutation(rows)[:count] if unique else rng.integers(0, rows, count)
        return Probe(function, (jnp.asarray(drawn, jnp.int32), *draw(rng, dtype, *shapes)))

    return probe


def segment_means(segments, x):
    return jax.ops.segment_sum(x, segments, 20) / 2


def overwrite(indices, x, values):
    return x.at[indices].set(values)


def add_rows(indices, x, values):
    return x.at[indices].add(values)


def permuted(indices, x):
    return x[indices]


def sorted_rows(x):
    return jnp.sort(x, axis=-1)


def _sorted_bwd(dy, x):
    return (jnp.take_along_axis(dy, jnp.argsort(x, axis=-1), axis=-1),)


def largest(x):
    return x.max(-1)


def rolled(x):
    return jnp.roll(x, 3, axis=-1)


def differences(x):
    return x[:, 1:] - x[:, :-1]


def _differences_bwd(dy, x):
    return (jnp.pad(dy[:, :-1] - dy[:, 1:], ((0, 0), (1, 1))),)


def joined(a, b):
    return jnp.concatenate([a, b], axis=-1)


def _joined_bwd(dy, a, b):
    db, da = jnp.split(dy, 2, axis=-1)
    return da, db


def two_layers(params, x):
    return jnp.tanh(x @ params["first"]) @ params["second"]


def _two_layers_bwd(dy, params, x):
    h = jnp.tanh(x @ params["first"])
    dz = (dy @ params["second"].T) * (1 - h * h)
    return {"first": h.T @ dy, "second": x.T @ dz}, dz @ params["first"].T


def _two_layers_probe(function):
    def probe(rng, dtype):
        first, second, x = draw(rng, dtype, (20, 20), (20, 20), (40, 20))
        return Probe(function, ({"first": first / 4, "second": second}, x))

    return probe


INDEXING = (
    WrongRule(
        "embedding: rows that occur twice are set, not added",
        "overlap",
        ("table",),
        _indexed(rule(embedding, _embedding_set_bwd), 200, (60, 12)),
    ),
    WrongRule(
        "segment means: the 1/2 is missing",
        "factor",
        ("x",),
        _indexed(rule(segment_means, lambda dy, segments, x: (None, dy[segments])), 20, (20, 12)),
    ),
    WrongRule(
        "overwriting rows: the old values keep their cotangent",
        "pass-through",
        ("x",),
        _indexed(
            rule(overwrite, lambda dy, indices, x, values: (None, dy, dy[indices])), 12, (40, 8), (12, 8), unique=True
        ),
    ),
    WrongRule(
        "adding rows: the cotangent of the values is not gathered",
        "permuted",
        ("values",),
        _indexed(rule(add_rows, lambda dy, indices, x, values: (None, dy, dy)), 40, (40, 8), (40, 8), unique=True),
    ),
    WrongRule(
        "permutation: not its inverse",
        "permuted",
        ("x",),
        _indexed(rule(permuted, lambda dy, indices, x: (None, dy[indices])), 40, (40, 8), unique=True),
    ),
    WrongRule(
        "sort: the permutation, not its inverse",
        "permuted",
        ("x",),
        normal(rule(sorted_rows, _sorted_bwd), _SEQUENCES),
        dtypes=EXACT,
    ),
    WrongRule(
        "maximum of a row: ties receive everything",
        "ties",
        ("x",),
        tied(rule(largest, lambda dy, x: (jnp.where(x == largest(x)[:, None], dy[:, None], 0),)), 9, _SEQUENCES),
    ),
    WrongRule(
        "roll: in the same direction",
        "permuted",
        ("x",),
        normal(rule(rolled, lambda dy, x: (jnp.roll(dy, 3, axis=-1),)), _SEQUENCES),
    ),
    WrongRule(
        "differences: the first and last samples are forgotten",
        "part",
        ("x",),
        normal(rule(differences, _differences_bwd), _SEQUENCES),
    ),
    WrongRule(
        "concatenation: the halves exchanged",
        "swapped",
        ("a", "b"),
        normal(rule(joined, _joined_bwd), _SEQUENCES, _SEQUENCES),
    ),
    WrongRule(
        "two layers: the leaves of params exchanged",
        "swapped",
        ("params['first']", "params['second']"),
        _two_layers_probe(rule(two_layers, _two_layers_bwd)),
    ),
)
