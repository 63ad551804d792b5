"""Mistakes are planted in right cotangents, and `diagnose` must name each of them and no other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.verify.cotangents import standard_cotangents
from jbackprop.verify.diagnosis import KINDS, Setting, diagnose


def conv(x, k):
    return jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def layer_norm(x, scale, offset):
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + offset


def sum_pool(x):
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 3, 3), (1, 2, 2), "VALID")


def cross_entropy(logits):
    return -jax.nn.log_softmax(logits)[jnp.arange(6), jnp.array([0, 3, 1, 1, 4, 2])]


IDS = np.array([0, 3, 3, 1, 5, 0, 6])

PRIMALS = {
    "linear": (lambda x, w, b: x @ w + b, {"x": (9, 5), "w": (5, 4), "b": (4,)}),
    "square linear": (lambda x, w, b: x @ w + b, {"x": (6, 6), "w": (6, 6), "b": (6,)}),
    "product": (lambda x, y: x * jnp.sin(y), {"x": (5, 4), "y": (5, 4)}),
    "square": (lambda x: x**2, {"x": (11,)}),
    "tanh": (jnp.tanh, {"x": (5, 3)}),
    "sigmoid": (jax.nn.sigmoid, {"x": (5, 3)}),
    "swish": (lambda x: x * jax.nn.sigmoid(x), {"x": (12,)}),
    "leaky": (lambda x: jnp.where(x > 0, x, 0.1 * x), {"x": (6, 5)}),
    "exp": (jnp.exp, {"x": (7,)}),
    "scalar": (lambda x: jnp.exp(jnp.sin(x)), {"x": ()}),
    "softmax": (jax.nn.softmax, {"x": (4, 6)}),
    "layer norm": (layer_norm, {"x": (5, 8), "scale": (8,), "offset": (8,)}),
    "cross entropy": (cross_entropy, {"logits": (6, 5)}),
    "conv": (conv, {"x": (2, 6, 6, 2), "k": (3, 3, 2, 2)}),
    "sum pool": (sum_pool, {"x": (2, 7, 7)}),
    "embedding": (lambda table: table[IDS], {"table": (8, 3)}),
    "normalise": (lambda x: x / jnp.sqrt((x**2).sum(-1, keepdims=True)), {"x": (4, 6)}),
    "mean square": (lambda x, t: ((x - t) ** 2).mean(), {"x": (8, 3), "t": (8, 3)}),
    "row square": (lambda x: (x**2).sum(-1), {"x": (8, 3)}),
    "cumsum": (jnp.cumsum, {"x": (9,)}),
    "two outputs": (lambda x: (jnp.sin(x), x**2), {"x": (4, 3)}),
    "complex": (lambda x: x * (1.0 + 2.0j), {"x": (4,)}),
    "batched": (lambda x, w: jnp.einsum("bij,bjk->bik", x, w), {"x": (3, 4, 2), "w": (3, 2, 5)}),
    "residual": (lambda x, w: x + jnp.tanh(x @ w), {"x": (7, 4), "w": (4, 4)}),
    "huber": (lambda x: jnp.where(jnp.abs(x) < 1, 0.5 * x * x, jnp.abs(x) - 0.5), {"x": (30,)}),
    "softplus": (jax.nn.softplus, {"x": (20,)}),
    "image bias": (lambda x, b: x + b, {"x": (2, 4, 4, 3), "b": (3,)}),
    "large": (lambda x: x**3, {"x": (300, 200)}),
}


@functools.cache
def right(name, seed=0):
    """The right cotangents of a primal, by autodiff in float64, and its pullback elsewhere."""
    primal, shapes = PRIMALS[name]
    rng = np.random.default_rng(seed)
    inputs = tuple(
        np.asarray(rng.standard_normal(shape) + (1j if name == "complex" else 0)) for shape in shapes.values()
    )

    @jax.jit
    def run(inputs, cts):
        y, vjp = jax.vjp(lambda *args: _tuple(primal(*args)), *inputs)
        return y, vjp(tuple(cts))

    def pull(inputs, cts):
        with jax.enable_x64(True):
            return [np.asarray(d) for d in run(tuple(inputs), tuple(cts))[1]]

    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        shapes_out = jax.eval_shape(lambda *args: _tuple(primal(*args)), *inputs)
        outputs = tuple(map(np.asarray, run(inputs, tuple(np.zeros(y.shape, y.dtype) for y in shapes_out))[0]))
        named = standard_cotangents(shapes_out, seed)
        oracle = {cotangent: tuple(pull(inputs, cts)) for cotangent, cts in named.items()}
    return Setting(tuple(shapes), inputs, outputs, named, oracle, oracle, pull, 1e-11, (), {})


def _tuple(y):
    return y if isinstance(y, tuple) else (y,)


def planted(name, leaf, mistake, seed=0, **changes):
    """What `diagnose` makes of `mistake(right cotangent, inputs, output, cotangent)` as the cotangent of `leaf`."""
    setting = right(name, seed)
    i = setting.names.index(leaf)
    manual = {}
    for cotangent, oracle in setting.oracle.items():
        wrong = mistake(oracle[i], setting.inputs, setting.outputs[0], setting.cotangents[cotangent][0])
        manual[cotangent] = (*oracle[:i], np.broadcast_to(wrong, oracle[i].shape), *oracle[i + 1 :])
    return diagnose(setting._replace(manual=manual, **changes), i)


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


SIMPLE = {
    "sign": lambda d: -d,
    "zero": lambda d: 0 * d,
    "factor": lambda d: d / 2,
    "nan": lambda d: d + np.nan,
    "added": lambda d: d + 0.125,
}


@pytest.mark.parametrize("kind", SIMPLE)
@pytest.mark.parametrize("name", PRIMALS)
def test_simple_mistakes_are_named_whatever_the_function(name, kind):
    for leaf in right(name).names:
        found = planted(name, leaf, lambda d, a, y, ct: SIMPLE[kind](d))
        assert found is not None
        assert found.kind == kind, (leaf, str(found))


@pytest.mark.parametrize("name", PRIMALS)
def test_a_right_cotangent_has_no_diagnosis(name):
    setting = right(name)
    assert [diagnose(setting, i) for i in range(len(setting.names))] == [None] * len(setting.names)


def test_noise_is_not_explained():
    rng = np.random.default_rng(3)
    for name, leaf in [("linear", "w"), ("product", "y"), ("conv", "k"), ("softmax", "x"), ("sum pool", "x")]:
        matrix = rng.standard_normal((right(name).oracle["ones"][0].size,) * 2)
        i = right(name).names.index(leaf)
        n = right(name).inputs[i].size

        def mistake(d, a, y, ct, matrix=matrix, n=n):
            return (matrix[:n, :n] @ d.reshape(-1)).reshape(d.shape)

        assert planted(name, leaf, mistake) is None


def test_swapped_arguments():
    setting = right("product")
    swapped = {name: both[::-1] for name, both in setting.oracle.items()}
    found = diagnose(setting._replace(manual=swapped), 0)
    assert str(found) == "dx: x and y look swapped"


def test_wrong_only_at_ties():
    kinked = (np.arange(30).reshape(6, 5) % 7 == 0,)
    found = planted("leaky", "x", lambda d, a, y, ct: np.where(kinked[0], 3 * d, d), kinked=kinked)
    assert found is not None
    assert found.kind == "ties"
    assert found.sentence.startswith("wrong only at kinks or ties: in 5 of 5")


RAW = [
    ("b", lambda d, ct: ct, "missing sum", "right if summed over axis 0 again: shape (9, 4) instead of (4,)"),
    ("b", lambda d, ct: 9 * ct, "missing sum", "right if averaged over axis 0 again"),
    ("b", lambda d, ct: d.sum(), "extra sum", "summed over axis 0 once too often: shape () instead of (4,)"),
    ("w", lambda d, ct: d.T, "transposed", "right if transposed: shape (4, 5) instead of (5, 4)"),
    ("w", lambda d, ct: d[None], "structure", "the right numbers in a wrong shape"),
]


@pytest.mark.parametrize(("leaf", "mistake", "kind", "words"), RAW, ids=[row[2] for row in RAW])
def test_a_wrong_shape_that_holds_the_right_numbers(leaf, mistake, kind, words):
    setting = right("linear")
    i = setting.names.index(leaf)
    raw = {leaf: mistake(setting.oracle["random"][i], setting.cotangents["random"][0])}
    found = diagnose(setting._replace(raw=raw), i)
    assert found is not None
    assert found.kind == kind
    assert words in found.sentence


def test_an_empty_array_has_no_diagnosis():
    x = (np.zeros((0, 3)),)
    named = {"random": x}
    assert diagnose(Setting(("x",), x, x, named, named, named, lambda x, ct: ct, 1e-11, (), {}), 0) is None
