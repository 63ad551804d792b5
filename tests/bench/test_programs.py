"""The programs are what they are called: passes that compute a gradient, from arguments, with counts done by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop import linear, relu, softmax_cross_entropy
from jbackprop.bench import machine
from jbackprop.bench.machine import Limits, limits, provenance
from jbackprop.bench.programs import NotMeasurable, Passes, passes

ROWS, IN, OUT = 64, 96, 32
F32 = 4


@pytest.fixture(scope="module")
def affine() -> tuple[Passes, tuple[jax.Array, ...]]:
    rng = np.random.default_rng(0)
    args = tuple(jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in ((ROWS, IN), (IN, OUT), (OUT,)))
    return passes(linear, args), args


def test_the_passes_compute_value_and_gradients(affine):
    of, args = affine
    value, pullback = jax.vjp(lambda x, w, b: x @ w + b, *args)
    (ct,) = of.both.arguments[2]
    wanted = pullback(ct)
    (forward,) = of.forward.call()
    both_value, both_grads = of.both.call()
    np.testing.assert_allclose(forward, value, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(both_value[0], value, rtol=1e-5, atol=1e-5)
    for grads in (of.backward.call(), both_grads):
        for got, want in zip(grads, wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_no_argument_is_a_constant_of_a_program(affine):
    of, _ = affine
    for program, least in ((of.forward, 3), (of.both, 4), (of.backward, 3)):
        text = program.compiled.as_text()
        assert text.count("parameter(") >= least
        assert "constant({" not in text


def test_bytes_and_flops_are_those_of_the_formula(affine):
    of, _ = affine
    x, w, b, y = (size * F32 for size in (ROWS * IN, IN * OUT, OUT, ROWS * OUT))
    assert of.residual_bytes == x + w
    assert of.least_bytes == 2 * (x + w + b) + 2 * y
    products = 2 * ROWS * IN * OUT
    for program, count in ((of.forward, 1), (of.backward, 2), (of.both, 3)):
        assert program.cost("flops") == pytest.approx(count * products, rel=0.03)


def test_a_rectifier_keeps_one_byte_an_element():
    of = passes(relu, (jnp.ones((16, 8)),))
    assert of.residual_bytes == 16 * 8


def test_integers_are_arguments_and_have_no_gradient():
    of = passes(softmax_cross_entropy, (jnp.ones((4, 3)), jnp.array([0, 1, 2, 0])), {"reduction": "sum"})
    assert [grad.shape for grad in of.backward.call()] == [(4, 3)]
    assert of.least_bytes == 2 * (4 * 3 * F32 + F32) + 4 * 4


@pytest.mark.parametrize(
    ("f", "argument", "words"),
    [(jnp.sin, jnp.arange(3), "no argument"), (lambda x: x > 0, jnp.ones(3), "no output"), (jnp.sin, 0.5, "no arg")],
)
def test_what_has_no_gradient_is_refused(f, argument, words):
    with pytest.raises(NotMeasurable, match=words):
        passes(f, (argument,))


def test_the_limit_is_the_slower_of_arithmetic_and_traffic():
    machine = Limits(flops=1e9, bandwidth=1e6)
    assert machine.seconds(flops=2e9, traffic=1e6) == 2.0
    assert machine.seconds(flops=1e9, traffic=3e6) == 3.0
    assert [machine.binding(2e9, 1e6), machine.binding(1e9, 3e6)] == ["arithmetic", "bandwidth"]


def test_the_limits_are_measured_in_every_dtype(monkeypatch):
    monkeypatch.setattr(machine, "MATRIX", {"cpu": 32})
    monkeypatch.setattr(machine, "COPIED", {"cpu": 4096})
    for dtype in ("float32", "bfloat16"):
        found = limits(jnp.dtype(dtype), seconds=0.0)
        assert min(found) > 0


def test_what_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=true")
    found = provenance(["no-such-package"])
    assert "no-such-package" not in found["versions"]
    assert found["versions"]["jax"] == jax.__version__
    assert found["flags"]["XLA_FLAGS"] == "--xla_cpu_use_fusion_emitters=true"
