"""Every network under `vmap`, `scan`, `checkpoint`, second derivatives, and in two bytes a number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.verify.network_cases import NETWORKS, network_case
from tests.custom_vjp3 import CHECKPOINT_IS_BROKEN

from .test_gradients_agree import assert_leaves_close, example

# One of each kind: a chain, a scan, pooling, and nodes with several readers.
SOME = [case for case in NETWORKS if case.name in ("two_layer", "deep_sigmoid", "cnn_max", "graph_diamond")]
ONE_OF_EACH_MODULE = [network_case(name) for name in ("regression", "two_layer", "mlp", "deep", "cnn", "graph")]
some_networks = pytest.mark.parametrize("case", SOME, ids=lambda case: case.name)


@some_networks
def test_a_step_inside_scan_and_vmap_is_the_step_outside(case):
    """Three steps of gradient descent of two networks at once, in one scan, against a Python loop."""
    params, batch = example(case, "float32")
    pair = jax.tree.map(lambda p: np.stack([p[::-1], p]), params)

    def step(params, _):
        loss, grads = case.loss_and_grads(params, *batch)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), loss

    found, _ = jax.jit(jax.vmap(lambda params: jax.lax.scan(step, params, length=3)))(jax.tree.map(jnp.asarray, pair))
    once = jax.jit(lambda params: step(params, None)[0])
    wanted = params
    for _ in range(3):
        wanted = once(wanted)
    assert_leaves_close(jax.tree.map(lambda p: np.asarray(p)[1], found), wanted, 1e-5)


@some_networks
def test_the_gradients_of_single_examples_average_to_that_of_the_batch(case):
    params, (x, y) = example(case, "float32")

    @jax.jit
    def both(params):
        each = jax.vmap(lambda x, y: case.loss_and_grads(params, x[None], y[None])[1])(x, y)
        return jax.tree.map(lambda g: g.mean(0), each), case.loss_and_grads(params, x, y)[1]

    mean, whole = both(params)
    assert_leaves_close(mean, whole, 1e-5)


@some_networks
def test_forward_over_reverse(case):
    """A Hessian-vector product through the rules is the derivative of the explicit gradient."""
    with jax.enable_x64(True):
        params, batch = example(case, "float64")

        @jax.jit
        def both(params):
            direction = jax.tree.map(jnp.ones_like, params)
            by_rules = jax.jvp(jax.grad(case.loss), (params, *batch), (direction, *map(zero_tangent, batch)))[1]
            explicit = jax.jvp(lambda p: case.loss_and_grads(p, *batch)[1], (params,), (direction,))[1]
            return by_rules, explicit

        by_rules, explicit = both(params)
        assert_leaves_close(by_rules, explicit, 1e-12)


def zero_tangent(array):
    return np.zeros(array.shape, array.dtype if jnp.issubdtype(array.dtype, jnp.floating) else jax.dtypes.float0)


@pytest.mark.skipif(
    CHECKPOINT_IS_BROKEN,
    reason="JAX 0.10's custom_vjp3 fails inside jax.checkpoint (safe_zip of residuals); JAX 0.11's does not",
)
@some_networks
def test_checkpoint(case):
    params, batch = example(case, "float32")

    @jax.jit
    def both(params):
        return jax.grad(jax.checkpoint(case.loss))(params, *batch), case.loss_and_grads(params, *batch)[1]

    recomputed, explicit = both(params)
    assert_leaves_close(recomputed, explicit, 1e-6)


@pytest.mark.parametrize(
    ("case", "dtype"),
    [(case, "bfloat16") for case in ONE_OF_EACH_MODULE] + [(case, "float16") for case in SOME],
    ids=lambda value: getattr(value, "name", value),
)
def test_two_byte_networks_stay_in_their_dtype(case, dtype):
    def cast(tree, dtype):
        return jax.tree.map(lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)

    @jax.jit
    def both(narrow):
        return case.loss_and_grads(*narrow), case.loss_and_grads(*cast(narrow, "float32"))

    narrow = example(case, dtype)
    narrow = (narrow[0], *narrow[1])
    (loss, grads), (_, exact) = both(narrow)
    assert loss.dtype == dtype
    for grad, param, wanted in zip(*map(jax.tree.leaves, (grads, narrow[0], exact)), strict=True):
        assert (grad.shape, grad.dtype) == (param.shape, dtype)
        # A whole leaf, since in two bytes another element can win a window or cross zero.
        assert np.linalg.norm(np.asarray(grad, "float32") - wanted) < 0.1 * np.linalg.norm(wanted)
