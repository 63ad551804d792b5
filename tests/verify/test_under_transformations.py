"""A rule under transformations: batched, looped, checkpointed, with symbolic zeros, and on several devices."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from clause_probes import SINE, W, X, failed, only, sine_with
from gradient_probes import rule
from jax.custom_derivatives import SymbolicZero
from jax.experimental import io_callback

from jbackprop.verify.compare import compare_vjp


def cosine_under_vmap(batched):
    """The cosine times d, with a batching rule that `batched(size, in_batched, x, d)` gives."""

    @jax.custom_batching.custom_vmap
    def product(x, d):
        return jnp.cos(x) * d

    @product.def_vmap
    def _(size, in_batched, x, d):
        return batched(in_batched, x, d), True

    return sine_with(lambda x, d: (product(x, d),))


def test_a_batching_rule_that_mixes_the_examples():
    f = cosine_under_vmap(lambda in_batched, x, d: (jnp.cos(x) * d)[::-1])
    assert list(failed(f, X, clauses=["vmap", "scan", "checkpoint"])) == ["vmap is the loop"]


@pytest.mark.parametrize(("which", "words"), [(0, "over the cotangent"), (1, "over one argument")])
def test_a_batching_rule_that_takes_an_argument_for_batched(which, words):
    def batched(in_batched, x, d):
        return jnp.cos(x) * d if in_batched[which] else jnp.zeros((2, 5), d.dtype)

    found = failed(cosine_under_vmap(batched), X, clauses=["vmap"])
    assert found["vmap is the loop"].startswith(f"{words}, dx is off by")


def test_a_rule_that_has_no_batching():
    def bwd(x, d):
        scale = io_callback(lambda x: np.cos(x), jax.ShapeDtypeStruct(x.shape, x.dtype), x, ordered=True)
        return (d * scale,)

    assert "vmap is the loop" in failed(sine_with(bwd), X, clauses=["vmap"])


def test_a_rule_that_cannot_go_under_checkpoint():
    def fwd(x):
        io_callback(lambda x: None, None, x)  # logging
        return jnp.sin(x), x

    f = rule(jnp.sin, fwd, lambda x, d: (d * jnp.cos(x),))
    found = failed(f, X, clauses=["scan", "checkpoint"])
    assert list(found) == ["the same under checkpoint"]
    assert "Effects not supported" in found["the same under checkpoint"]


def split_with(bwd):
    def primal(x, w):
        return x * w, x + w

    def fwd(x, w):
        return primal(x.value, w.value), (x.value, w.value)

    f = jax.custom_vjp(primal)
    f.defvjp(fwd, bwd, symbolic_zeros=True)
    return f


def instantiated(ct):
    return jnp.zeros(ct.shape, jnp.float32) if isinstance(ct, SymbolicZero) else ct


def right_of_split(residuals, d):
    (x, w), (product, total) = residuals, map(instantiated, d)
    return product * w + total, product * x + total


def forgets_one(residuals, d):
    dx, dw = right_of_split(residuals, d)
    return dx, jnp.zeros_like(dw) if isinstance(d[1], SymbolicZero) else dw


def test_symbolic_zeros_of_an_output_that_is_not_used():
    assert failed(split_with(right_of_split), X, W, clauses=["symbolic zeros"]) == {}
    found = failed(split_with(forgets_one), X, W, clauses=["symbolic zeros"])
    assert list(found) == ["one output or argument at a time"]
    assert found["one output or argument at a time"].startswith("dw is off by")


def test_symbolic_zeros_of_an_argument_that_is_not_differentiated():
    def fwd(x, w):
        kept = w.value if w.perturbed else jnp.ones_like(w.value)  # meant to save the residual of dx
        return x.value * w.value, (x.value, kept)

    f = jax.custom_vjp(lambda x, w: x * w)
    f.defvjp(fwd, lambda r, d: (d * r[1], d * r[0]), symbolic_zeros=True)
    found = failed(f, X, W, clauses=["symbolic zeros"])
    assert found["one output or argument at a time"].startswith("dx is off by")


def test_the_contract_speaks_where_no_row_is_wrong():
    report = compare_vjp(cosine_under_vmap(lambda in_batched, x, d: (jnp.cos(x) * d)[::-1]), X, skip=only("vmap"))
    (diagnosis,) = report.diagnoses
    assert (diagnosis.argument, diagnosis.kind) == ("", "batching")


SHARDED = """
import functools
import jax, jax.numpy as jnp, numpy as np
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec
from jbackprop.verify.clause_names import CLAUSES
from jbackprop.verify.compare import compare_vjp

jax.config.update("jax_num_cpu_devices", 4)

def of_shards(mesh, arguments, result, across):
    def local(dy):
        return jax.lax.psum(dy.sum(0), "devices") if across else dy.sum(0)
    spec = arguments[0].sharding.spec
    across = across and bool(spec) and spec[0] is not None
    return mesh, local, NamedSharding(mesh, PartitionSpec()), (arguments[0].sharding,)

def with_bias(across):
    @custom_partitioning
    def total(dy):
        return dy.sum(0)
    total.def_partition(
        partition=lambda *given: of_shards(*given, across),
        infer_sharding_from_operands=lambda mesh, *_: NamedSharding(mesh, PartitionSpec()),
        sharding_rule="n o -> o",
    )
    f = jax.custom_vjp(lambda x, b: x + b)
    f.defvjp(lambda x, b: (x + b, None), lambda _, dy: (dy, total(dy)))
    return f

x, b = jnp.asarray(np.random.default_rng(0).standard_normal((8, 3)), jnp.float32), jnp.ones(3)
skip = [clause for clause in CLAUSES if clause != "sharding"]
for across in (True, False):
    report = compare_vjp(with_bias(across), x, b, skip=skip)
    print(report.wrong, [(check.name, check.ok, check.detail.split(" is")[0]) for check in report.checks[2:]])
"""


def test_a_rule_that_forgets_the_other_devices():
    """In its own process, since the number of devices is fixed when JAX starts."""
    done = subprocess.run(
        [sys.executable, "-c", SHARDED],
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "() [('the same on 4 devices', True, '')]",
        "() [('the same on 4 devices', False, 'db')]",
    ]


def test_one_device_has_no_clause_of_sharding():
    assert not any("devices" in check.name for check in compare_vjp(SINE, X, skip=only("sharding")).checks)
