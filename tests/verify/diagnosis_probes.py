"""What the tests of `diagnose` share: functions, their right cotangents, and a mistake planted in one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.verify.cotangents import standard_cotangents
from jbackprop.verify.diagnosis import Setting, diagnose


def conv(x, k):
    return jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def layer_norm(x, scale, offset):
    centred = x - x.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale + offset


def sum_pool(x):
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 3, 3), (1, 2, 2), "VALID")


def cross_entropy(logits):
    return -jax.nn.log_softmax(logits)[jnp.arange(6), jnp.array([0, 3, 1, 1, 4, 2])]


WEIGHTS = np.sin(np.arange(36.0).reshape(6, 6))  # which no argument holds
TURN = np.array([[0.0, -3, 1], [3, 0, -2], [-1, 2, 0]]) / 9
ROTATIONS = np.stack([np.linalg.matrix_power(np.linalg.solve(np.eye(3) - TURN, np.eye(3) + TURN), k) for k in range(8)])
IDS = np.array([0, 3, 3, 1, 5, 0, 6])
SENTENCES = np.arange(160).reshape(8, 20) * 7 % 90 % 53  # more tokens than are told apart one number at a time
TEN = np.arange(60) % 10  # each row of a table six times

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
    "sentences": (lambda table: table[SENTENCES], {"table": (60, 16)}),
    "ten": (lambda table: table[TEN], {"table": (10, 30)}),
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
    "rotated": (lambda x: ROTATIONS @ x, {"x": (8, 3, 4)}),
    "scaled sequences": (lambda x, scale: x * scale, {"x": (6, 33, 64), "scale": (64,)}),
    "mixed": (lambda x: WEIGHTS @ x, {"x": (6, 4)}),
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
    return Setting(
        tuple(shapes),
        inputs,
        outputs,
        named,
        oracle,
        oracle,
        pull,
        1e-11,
        (),
        tuple(np.zeros(x.shape, bool) for x in inputs),
        {},
    )


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
