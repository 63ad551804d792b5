"""Registry: the activations."""

import jax
import jax.numpy as jnp

from jbackprop.layers.gelu import gelu
from jbackprop.layers.leaky_relu import leaky_relu
from jbackprop.layers.relu import relu
from jbackprop.layers.sigmoid import sigmoid
from jbackprop.layers.silu import silu
from jbackprop.layers.softplus import softplus
from jbackprop.layers.tanh import tanh
from jbackprop.verify.benchmarks import of_matrices
from jbackprop.verify.case import Example, Refused, RuleCase, Special
from jbackprop.verify.samples import normals

NAN, INF = float("nan"), float("inf")


def _examples(reference, **options):
    return (
        Example("matrix", normals((3, 5)), reference, options),
        Example("scalar", normals(()), reference, options),
        Example("empty", normals((0, 2)), reference, options),
    )


def _integers(name):
    words = "z is uint8, not a real floating dtype: cast it first (images: cast to float and scale them, z.astype("
    return Refused("images not cast", lambda: (jnp.ones((2, 2), jnp.uint8),), TypeError, f"{name}: {words}")


def _complex(name):
    words = "z is complex64, not a real floating dtype: give z.real or abs(z)"
    return Refused("complex", lambda: (jnp.ones(2, jnp.complex64),), TypeError, f"{name}: {words}")


ELEMENTWISE_RULES = (
    RuleCase(
        name="relu",
        function=relu,
        formula="dz = da ∘ 1[z > 0]",
        shapes="z, a: any",
        residuals="the sign of z, one byte an element",
        convention="relu'(0) = at_zero: 0 by default, as jax.nn.relu; 1 in DEEP; 1/2 is jnp.maximum(z, 0)",
        source="VANILLA; JACOBIAN; DEEP",
        examples=(
            *_examples(jax.nn.relu),
            Example("DEEP's convention", normals((3, 5)), lambda z: jnp.where(z >= 0, z, 0), {"at_zero": 1.0}),
        ),
        special=(
            Special("kink, by default", ([-1.0, 0.0, -0.0, 1.0],), [0.0, 0.0, 0.0, 1.0], ([0.0, 0.0, 0.0, 1.0],)),
            Special("kink, DEEP", ([-1.0, 0.0, 1.0],), [0.0, 0.0, 1.0], ([0.0, 1.0, 1.0],), {"at_zero": 1.0}),
            Special("kink, maximum", ([0.0],), [0.0], ([0.5],), {"at_zero": 0.5}),
            Special("NaN", ([NAN, 1.0],), [NAN, 1.0], ([NAN, 1.0],)),
            Special("infinities", ([-INF, INF],), [0.0, INF], ([0.0, 1.0],)),
        ),
        refused=(
            _integers("relu"),
            _complex("relu"),
            Refused("no subgradient", lambda: (jnp.ones(2),), ValueError, "relu: at_zero is 2.0", {"at_zero": 2.0}),
            Refused("a word", lambda: (jnp.ones(2),), TypeError, "at_zero is '1': give one number", {"at_zero": "1"}),
        ),
        benchmarks=of_matrices(jax.nn.relu),
    ),
    RuleCase(
        name="leaky_relu",
        function=leaky_relu,
        formula="dz = da ∘ (1[z ≥ 0] + s 1[z < 0])",
        shapes="z, a: any",
        residuals="the sign of z, one byte an element",
        convention="leaky_relu'(0) = 1, as jax.nn.leaky_relu",
        source="JACOBIAN, identity 4",
        examples=(
            *_examples(jax.nn.leaky_relu),
            Example("slope 0.2", normals((3, 5)), lambda z: jax.nn.leaky_relu(z, 0.2), {"slope": 0.2}),
        ),
        special=(
            Special("kink", ([-1.0, 0.0, 1.0],), [-0.25, 0.0, 1.0], ([0.25, 1.0, 1.0],), {"slope": 0.25}),
            Special("NaN", ([NAN],), [NAN], ([NAN],)),
            Special("infinities", ([-INF, INF],), [-INF, INF], ([0.25, 1.0],), {"slope": 0.25}),
        ),
        refused=(
            _integers("leaky_relu"),
            _complex("leaky_relu"),
            Refused("a word", lambda: (jnp.ones(2),), TypeError, "slope is '1': give one number", {"slope": "1"}),
        ),
        benchmarks=of_matrices(jax.nn.leaky_relu),
    ),
    RuleCase(
        name="sigmoid",
        function=sigmoid,
        formula="dz = da ∘ a ∘ (1 - a)",
        shapes="z, a: any",
        residuals="a",
        convention="0 and 1 are reached without overflow, with derivative 0",
        source="TWO-LAYER; REGRESSION",
        examples=_examples(jax.nn.sigmoid),
        special=(
            Special(
                "extremes", ([-INF, -1e4, 0.0, 1e4, INF],), [0.0, 0.0, 0.5, 1.0, 1.0], ([0.0, 0.0, 0.25, 0.0, 0.0],)
            ),
            Special("NaN", ([NAN],), [NAN], ([NAN],)),
        ),
        refused=(_integers("sigmoid"), _complex("sigmoid")),
        benchmarks=of_matrices(jax.nn.sigmoid),
    ),
    RuleCase(
        name="tanh",
        function=tanh,
        formula="dz = da ∘ (1 - a) ∘ (1 + a)",
        shapes="z, a: any",
        residuals="a",
        convention="-1 and 1 are reached with derivative 0",
        source="JACOBIAN, identity 4",
        examples=_examples(jnp.tanh),
        special=(
            Special("extremes", ([-INF, 0.0, 1e4],), [-1.0, 0.0, 1.0], ([0.0, 1.0, 0.0],)),
            Special("NaN", ([NAN],), [NAN], ([NAN],)),
        ),
        refused=(_integers("tanh"), _complex("tanh")),
        benchmarks=of_matrices(jnp.tanh),
    ),
    RuleCase(
        name="gelu",
        function=gelu,
        formula="dz = da ∘ (Φ(z) + z φ(z));   tanh form: da ∘ ½ (1 + t + z (1 - t²) c (1 + 3 k z²))",
        shapes="z, a: any",
        residuals="z",
        convention="the tanh form by default, as jax.nn.gelu; NaN at -inf, as there",
        source="JACOBIAN, identity 4; Hendrycks and Gimpel 2016",
        examples=(
            *_examples(jax.nn.gelu),
            Example("exact", normals((3, 5)), lambda z: jax.nn.gelu(z, approximate=False), {"approximate": False}),
        ),
        special=(
            Special("zero and tails", ([-30.0, 0.0, 30.0],), [0.0, 0.0, 30.0], ([0.0, 0.5, 1.0],)),
            Special(
                "the same, exact", ([-30.0, 0.0, 30.0],), [0.0, 0.0, 30.0], ([0.0, 0.5, 1.0],), {"approximate": False}
            ),
            Special("NaN", ([NAN],), [NAN], ([NAN],)),
        ),
        refused=(_integers("gelu"), _complex("gelu")),
        benchmarks=of_matrices(jax.nn.gelu),
    ),
    RuleCase(
        name="silu",
        function=silu,
        formula="dz = da ∘ s ∘ (1 + z ∘ (1 - s)),  s = σ(z)",
        shapes="z, a: any",
        residuals="z",
        convention="NaN at -inf, as jax.nn.silu",
        source="JACOBIAN, identity 4",
        examples=_examples(jax.nn.silu),
        special=(
            Special("zero and tails", ([-200.0, 0.0, 200.0],), [0.0, 0.0, 200.0], ([0.0, 0.5, 1.0],)),
            Special("NaN", ([NAN],), [NAN], ([NAN],)),
        ),
        refused=(_integers("silu"), _complex("silu")),
        benchmarks=of_matrices(jax.nn.silu),
    ),
    RuleCase(
        name="softplus",
        function=softplus,
        formula="dz = da ∘ σ(z)",
        shapes="z, a: any",
        residuals="z",
        convention="0 and z are reached without overflow",
        source="JACOBIAN, identity 4",
        examples=_examples(jax.nn.softplus),
        special=(
            Special("tails", ([-INF, -200.0, 200.0, INF],), [0.0, 0.0, 200.0, INF], ([0.0, 0.0, 1.0, 1.0],)),
            Special("NaN", ([NAN],), [NAN], ([NAN],)),
        ),
        refused=(_integers("softplus"), _complex("softplus")),
        benchmarks=of_matrices(jax.nn.softplus),
    ),
)
