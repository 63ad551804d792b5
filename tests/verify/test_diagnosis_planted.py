"""Mistakes of every kind are planted in right cotangents, and `diagnose` must name each of them and no other."""

import numpy as np
import pytest
from diagnosis_probes import IDS, SENTENCES, TEN, WEIGHTS, planted, right

from jbackprop.verify.diagnosis import KINDS


def only(keep, array):
    return np.where(keep, array, 0)


def rot180(d):
    return d[::-1, ::-1]


def overwritten(table, ids, rows):
    table = np.zeros_like(table)
    for index, row in zip(ids, rows, strict=True):
        table[index] = row
    return table


def pooled(d, ct, combine):
    """The backward of the sum pool with its windows combined in another way."""
    found, count = np.zeros_like(d), np.zeros(d.shape)
    for i in range(3):
        for j in range(3):
            window = (slice(None), slice(2 * i, 2 * i + 3), slice(2 * j, 2 * j + 3))
            found[window] = combine(found[window], ct[:, i, j][:, None, None])
            count[window] += 1
    return found, count


def softmax_like(y, ct):
    return y * (ct - (y * ct).sum(-1, keepdims=True))


def norm_parts(args, ct):
    x, scale = args[0], args[1]
    rstd = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    xhat, g = (x - x.mean(-1, keepdims=True)) * rstd, ct * scale
    return rstd, xhat, g, g.mean(-1, keepdims=True), xhat * (g * xhat).mean(-1, keepdims=True)


# ruff: disable[E501]
# fmt: off
PLANTED = [
    ("linear", "w", lambda d, a, y, ct: d / 9, "factor", "0.1111 x the right answer: a factor N = 9 (axis 0 of the output) is missing"),
    ("linear", "w", lambda d, a, y, ct: 9 * d, "factor", "a division by N = 9 (axis 0 of the output) is missing"),
    ("linear", "w", lambda d, a, y, ct: d / 36, "factor", "N = 36 (axes 0 and 1 of the output)"),
    ("linear", "w", lambda d, a, y, ct: -2 * d, "factor", "-2 x the right answer: the sign is wrong, and"),
    ("linear", "w", lambda d, a, y, ct: 1.7 * d, "factor", "1.7 x the right answer"),
    ("linear", "w", lambda d, a, y, ct: (1 + 1e-9) * d, "factor", "1 + 1.0e-09 x"),
    ("linear", "b", lambda d, a, y, ct: d.sum(), "extra sum", "summed over everything once too often"),
    ("linear", "b", lambda d, a, y, ct: d.mean(), "uniform cotangent", "averaged over everything, along which it should vary"),
    ("linear", "b", lambda d, a, y, ct: ct[0], "missing sum", "only the first row"),
    ("linear", "w", lambda d, a, y, ct: np.outer(a[0][0], ct[0]), "missing sum", "only the first row of the cotangent (axis 0)"),
    ("linear", "w", lambda d, a, y, ct: a[0][:8].T @ ct[:8], "part", "the last row of the cotangent (axis 0) left out"),
    ("linear", "w", lambda d, a, y, ct: a[0][[0, 1, 2, 4, 5, 7, 8]].T @ ct[[0, 1, 2, 4, 5, 7, 8]], "part", "rows 3 and 6 of the cotangent"),
    ("linear", "w", lambda d, a, y, ct: (a[0] * np.arange(9)[:, None]).T @ ct, "factor", "a factor for each row of the cotangent"),
    ("linear", "w", lambda d, a, y, ct: a[0].T @ np.ones_like(ct), "cotangent ignored", "it is taken to be 1"),
    ("linear", "w", lambda d, a, y, ct: a[0].T @ np.full_like(ct, ct.mean()), "uniform cotangent", "the cotangent's mean is used"),
    ("linear", "w", lambda d, a, y, ct: a[0].T @ np.full_like(ct, ct.sum()), "uniform cotangent", "the cotangent's sum is used"),
    ("linear", "w", lambda d, a, y, ct: a[0].T @ np.full_like(ct, ct[0, 0]), "uniform cotangent", "first element"),
    ("linear", "w", lambda d, a, y, ct: a[0].T @ (ct * 0 + ct.mean(0)), "uniform cotangent", "mean over axis 0"),
    ("linear", "w", lambda d, a, y, ct: a[0].T @ (ct * np.abs(ct)), "not linear", "multiplied by its size"),
    ("linear", "w", lambda d, a, y, ct: a[0].T @ np.clip(ct, -1, 1), "not linear", "clipped at 1"),
    ("linear", "w", lambda d, a, y, ct: a[0].T @ np.clip(ct, -77, 77), "not linear", "huge"),
    ("linear", "w", lambda d, a, y, ct: np.clip(d, -3, 3), "not linear", "the right answer clipped at 3"),
    ("linear", "w", lambda d, a, y, ct: d / max(np.linalg.norm(d), 1.0), "not linear", "not linear"),
    ("linear", "w", lambda d, a, y, ct: d + 0.01 * a[1], "added", "0.01 x w is added"),
    ("linear", "x", lambda d, a, y, ct: d + 0.001, "added", "0.001 is added"),
    ("linear", "x", lambda d, a, y, ct: only(np.arange(9)[:, None] < 8, d), "part", "wrong in 5 of 45 places, all in the last row (axis 0): zero there"),
    ("linear", "x", lambda d, a, y, ct: only(np.arange(9)[:, None] == 0, d), "part", "right in the first row (axis 0) only"),
    ("linear", "x", lambda d, a, y, ct: np.where(np.arange(9)[:, None] < 8, d, 2 * d), "part", "2 x the right answer there"),
    ("linear", "x", lambda d, a, y, ct: only(np.arange(5) % 2 == 0, d), "part", "columns 1 and 3 (axis 1)"),
    ("linear", "x", lambda d, a, y, ct: np.where((np.arange(45) == 17).reshape(9, 5), d + ct[0, 0], d), "part", "all at (3, 2)"),
    ("linear", "x", lambda d, a, y, ct: np.roll(d, 1, 0), "permuted", "rolled by 1 along axis 0"),
    ("linear", "x", lambda d, a, y, ct: np.vstack([0 * d[:1], d[:-1]]), "permuted", "shifted by 1 along axis 0"),
    ("linear", "x", lambda d, a, y, ct: d[[3, 1, 2, 7, 0, 5, 6, 4, 8]], "permuted", "in another order along axis 0"),
    ("linear", "x", lambda d, a, y, ct: d[::-1], "flipped", "right if flipped along axis 0"),
    ("linear", "w", lambda d, a, y, ct: d.T.reshape(5, 4), "transposed", "reshaped where it should be transposed"),
    ("linear", "x", lambda d, a, y, ct: np.where(d > 0, np.nan, d), "nan", "not finite in"),
    ("square linear", "w", lambda d, a, y, ct: d.T, "transposed", "right if transposed (axes 0 and 1)"),
    ("square linear", "w", lambda d, a, y, ct: a[0] @ ct, "wrong point", "x transposed"),
    ("square linear", "x", lambda d, a, y, ct: ct @ a[1], "wrong point", "w transposed (axes 0 and 1)"),
    ("square linear", "b", lambda d, a, y, ct: ct.sum(1), "missing sum", "summed over axis 1; it should be summed over axis 0"),
    ("square linear", "x", lambda d, a, y, ct: ct, "pass-through", "the cotangent of the output itself"),
    ("square linear", "w", lambda d, a, y, ct: y.T @ ct, "wrong point", "evaluated at the output instead of x"),
    ("square linear", "x", lambda d, a, y, ct: ct @ a[0].T, "wrong point", "evaluated at x in the place of w"),
    ("square linear", "x", lambda d, a, y, ct: only(~np.eye(6, dtype=bool), d), "part", "on the diagonal"),
    ("product", "y", lambda d, a, y, ct: ct * np.cos(a[1]), "factor", "a factor x is missing"),
    ("product", "y", lambda d, a, y, ct: ct * y * np.cos(a[1]), "wrong point", "evaluated at the output instead of x"),
    ("product", "x", lambda d, a, y, ct: ct * np.sin(a[0]), "wrong point", "evaluated at x in the place of y"),
    ("product", "x", lambda d, a, y, ct: ct, "pass-through", "the local derivative is forgotten"),
    ("square", "x", lambda d, a, y, ct: a[0] * ct, "factor", "0.5 x the right answer: a factor 2 is missing"),
    ("square", "x", lambda d, a, y, ct: 2 * y * ct, "factor", "a factor x too much"),
    ("square", "x", lambda d, a, y, ct: 2 * ct, "factor", "a factor x is missing"),
    ("square", "x", lambda d, a, y, ct: only(np.arange(11) < 9, d), "part", "the last 2 elements"),
    ("square", "x", lambda d, a, y, ct: np.abs(d), "not linear", "the right answer taken without its sign"),
    ("tanh", "x", lambda d, a, y, ct: ct * (1 - a[0] ** 2), "wrong point", "x is put for y"),
    ("tanh", "x", lambda d, a, y, ct: ct * (1 - np.tanh(y) ** 2), "wrong point", "evaluated at the output instead of x"),
    ("tanh", "x", lambda d, a, y, ct: ct * (1 - y), "factor", "a factor (1 + y) is missing"),
    ("sigmoid", "x", lambda d, a, y, ct: ct * y, "factor", "a factor (1 - y) is missing"),
    ("sigmoid", "x", lambda d, a, y, ct: ct * a[0] * (1 - a[0]), "wrong point", "x is put for y"),
    ("swish", "x", lambda d, a, y, ct: ct / (1 + np.exp(-a[0])), "missing term", "the term dy * "),
    ("leaky", "x", lambda d, a, y, ct: ct * (a[0] > 0), "part", "where x < 0: zero there"),
    ("leaky", "x", lambda d, a, y, ct: ct, "pass-through", "the local derivative is forgotten"),
    ("mixed", "x", lambda d, a, y, ct: WEIGHTS @ ct, "transposed", "inside, a transpose is missing"),
    ("exp", "x", lambda d, a, y, ct: ct * np.exp(y), "wrong point", "evaluated at the output instead of x"),
    ("exp", "x", lambda d, a, y, ct: ct, "pass-through", "the local derivative is forgotten"),
    ("scalar", "x", lambda d, a, y, ct: -d, "sign", "the sign is wrong"),
    ("scalar", "x", lambda d, a, y, ct: d / y, "factor", "a factor y = the output is missing"),
    ("scalar", "x", lambda d, a, y, ct: d * 0 + y * np.cos(a[0]), "cotangent ignored", "it is taken to be 1"),
    ("softmax", "x", lambda d, a, y, ct: ct * y, "missing term", "a multiple of y, another for each line along axis 1"),
    ("softmax", "x", lambda d, a, y, ct: ct * y * (1 - y), "missing term", "its own output's contribution alone"),
    ("softmax", "x", lambda d, a, y, ct: softmax_like(a[0], ct), "wrong point", "x is put for y"),
    ("softmax", "x", lambda d, a, y, ct: ct - (y * ct).sum(-1, keepdims=True), "factor", "a factor y is missing"),
    ("layer norm", "x", lambda d, a, y, ct: d + norm_parts(a, ct)[0] * norm_parts(a, ct)[3], "missing term", "constant along axis 1 (the mean over axis 1)"),
    ("layer norm", "x", lambda d, a, y, ct: d + norm_parts(a, ct)[0] * norm_parts(a, ct)[4], "missing term", "x"),
    ("layer norm", "x", lambda d, a, y, ct: norm_parts(a, ct)[0] * norm_parts(a, ct)[2], "missing term", "and a constant"),
    ("layer norm", "x", lambda d, a, y, ct: d / norm_parts(a, ct)[0], "factor", "the standard deviation of x"),
    ("layer norm", "scale", lambda d, a, y, ct: ct.sum(0), "pass-through", "the cotangent of the output itself, summed over axis 0"),
    ("layer norm", "scale", lambda d, a, y, ct: d * a[1], "factor", "a factor scale too much"),
    ("cross entropy", "logits", lambda d, a, y, ct: d + ct[:, None] * np.eye(5)[[0, 3, 1, 1, 4, 2]], "missing term", "one-hot"),
    ("cross entropy", "logits", lambda d, a, y, ct: d * 0 - ct[:, None] * np.eye(5)[[0, 3, 1, 1, 4, 2]], "missing term", "exp(logits)"),
    ("cross entropy", "logits", lambda d, a, y, ct: right("cross entropy").oracle["ones"][0] * ct.mean(), "uniform cotangent", "mean"),
    ("cross entropy", "logits", lambda d, a, y, ct: d / 6, "factor", "N = 6 (axis 0 of the output)"),
    ("conv", "k", lambda d, a, y, ct: rot180(d), "flipped", "right if flipped along axes 0 and 1: a rotation by 180 degrees is missing"),
    ("conv", "k", lambda d, a, y, ct: d.transpose(0, 1, 3, 2), "transposed", "right if transposed (axes 2 and 3)"),
    ("conv", "k", lambda d, a, y, ct: d.transpose(1, 0, 2, 3), "transposed", "right if transposed (axes 0 and 1)"),
    ("conv", "x", lambda d, a, y, ct: right("conv").pull((a[0], rot180(a[1])), (ct,))[0], "wrong point", "k flipped along axes 0 and 1, a rotation by 180 degrees"),
    ("conv", "x", lambda d, a, y, ct: right("conv").pull((a[0], a[1].transpose(0, 1, 3, 2)), (ct,))[0], "wrong point", "k transposed (axes 2 and 3)"),
    ("conv", "x", lambda d, a, y, ct: np.pad(d[:, 1:-1, 1:-1], ((0, 0), (1, 1), (1, 1), (0, 0))), "part", "within 1 of the edge along axes 1 and 2: zero there"),
    ("sum pool", "x", lambda d, a, y, ct: pooled(d, ct, lambda old, new: new)[0], "overlap", "one contribution replaces the others"),
    ("sum pool", "x", lambda d, a, y, ct: d / pooled(d, ct, lambda old, new: new)[1], "overlap", "averaged instead of added"),
    ("sum pool", "x", lambda d, a, y, ct: d / 9, "factor", "is missing"),
    ("embedding", "table", lambda d, a, y, ct: overwritten(d, IDS, ct), "overlap", "one contribution replaces the others"),
    ("embedding", "table", lambda d, a, y, ct: d - np.eye(8)[6][:, None] * d[6], "part", "row 6 (axis 0): zero there"),
    ("sentences", "table", lambda d, a, y, ct: overwritten(d, SENTENCES.ravel(), ct.reshape(160, 16)), "overlap", "one contribution replaces"),
    ("ten", "table", lambda d, a, y, ct: overwritten(d, TEN, ct), "overlap", "wrong in 300 of 300 places, which several outputs share"),
    ("normalise", "x", lambda d, a, y, ct: ct / np.linalg.norm(a[0], axis=-1, keepdims=True), "missing term", "a multiple of "),
    ("normalise", "x", lambda d, a, y, ct: d * np.linalg.norm(a[0], axis=-1, keepdims=True) ** 2, "factor", "x"),
    ("mean square", "x", lambda d, a, y, ct: d * 24, "factor", "a division by N = 24 (axes 0 and 1 of x) is missing"),
    ("mean square", "x", lambda d, a, y, ct: d * 3, "factor", "a division by N = 3 (axis 1 of x) is missing"),
    ("mean square", "t", lambda d, a, y, ct: -d, "sign", "the sign is wrong"),
    ("mean square", "x", lambda d, a, y, ct: d * ct, "not linear", "not linear"),
    ("row square", "x", lambda d, a, y, ct: 2 * a[0] * ct.mean(), "uniform cotangent", "the cotangent's mean is used"),
    ("row square", "x", lambda d, a, y, ct: 2 * a[0] * ct[0], "uniform cotangent", "first element"),
    ("row square", "x", lambda d, a, y, ct: 2 * a[0], "cotangent ignored", "it is taken to be 1"),
    ("row square", "x", lambda d, a, y, ct: 2 * ct[:, None], "factor", "a factor x is missing"),
    ("cumsum", "x", lambda d, a, y, ct: np.cumsum(ct), "flipped", "the cotangent and the answer are both flipped"),
    ("cumsum", "x", lambda d, a, y, ct: ct, "pass-through", ""),
    ("two outputs", "x", lambda d, a, y, ct: ct * np.cos(a[0]), "cotangent ignored", "the cotangent of output 1 is ignored"),
    ("two outputs", "x", lambda d, a, y, ct: 2 * ct * np.cos(a[0]) - d, "sign", "what comes from output 1 has the wrong sign"),
    ("two outputs", "x", lambda d, a, y, ct: (d + ct * np.cos(a[0])) / 2, "factor", "what comes from output 1 is multiplied by 0.5"),
    ("linear", "w", lambda d, a, y, ct: 0.9999 * d, "factor", "1 - 1.0e-04 x the right answer"),
    ("complex", "x", lambda d, a, y, ct: np.conj(d), "factor", "conjugated"),
    ("batched", "w", lambda d, a, y, ct: d.sum(0, keepdims=True), "extra sum", "summed over axis 0 once too often"),
    ("batched", "w", lambda d, a, y, ct: d[:1], "part", "right in the first row (axis 0) only"),
    ("residual", "x", lambda d, a, y, ct: d - ct, "missing term", "the cotangent of the output itself is missing"),
    ("residual", "x", lambda d, a, y, ct: d + ct, "added", "the cotangent of the output itself is added"),
    ("huber", "x", lambda d, a, y, ct: ct * a[0], "part", "where |x| > 1"),
    ("huber", "x", lambda d, a, y, ct: ct * np.sign(a[0]), "part", "where |x| < 1"),
    ("softplus", "x", lambda d, a, y, ct: ct / (1 + np.exp(a[0])), "wrong point", "evaluated at minus x"),
    ("image bias", "b", lambda d, a, y, ct: ct.mean((0, 1, 2)), "factor", "N = 32 (axes 0, 1 and 2 of the output)"),
    ("image bias", "b", lambda d, a, y, ct: ct[0].sum((0, 1)), "missing sum", "only the first row of the cotangent (axis 0)"),
    ("image bias", "b", lambda d, a, y, ct: ct[:, :3].sum((0, 1, 2)), "part", "the last row of the cotangent (axis 1) left out"),
    ("large", "x", lambda d, a, y, ct: 3 * a[0] * ct, "factor", "a factor x is missing"),
    ("large", "x", lambda d, a, y, ct: only(a[0] < 1, d), "part", "where x > 1: zero there"),
    ("large", "x", lambda d, a, y, ct: 3 * y**2 * ct, "wrong point", "evaluated at the output instead of x"),
]
# fmt: on
# ruff: enable[E501]


@pytest.mark.parametrize(
    ("name", "leaf", "mistake", "kind", "words"),
    PLANTED,
    ids=[f"{row[0]}-{row[1]}-{row[3]}-{i}" for i, row in enumerate(PLANTED)],
)
def test_the_planted_mistake_is_named(name, leaf, mistake, kind, words):
    found = planted(name, leaf, mistake)
    assert found is not None
    assert (found.kind, found.argument) == (kind, leaf), str(found)
    assert words in found.sentence
    assert kind in KINDS
