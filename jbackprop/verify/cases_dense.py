"""Registry: the rules that only move or mix features."""

import jax.numpy as jnp

from jbackprop.layers.flatten import flatten
from jbackprop.layers.identity import identity
from jbackprop.layers.linear import linear
from jbackprop.verify.benchmarks import of_images, of_matrices, of_product
from jbackprop.verify.case import Example, Refused, RuleCase, Special
from jbackprop.verify.samples import normals

NAN = float("nan")


def _affine(x, w, b=None):
    return x @ w if b is None else x @ w + b


DENSE_RULES = (
    RuleCase(
        name="identity",
        function=identity,
        formula="dx = dz",
        shapes="x, z: any",
        residuals="none",
        convention="",
        source="JACOBIAN, identity 3",
        examples=(Example("matrix", normals((3, 4)), lambda x: x * 1), Example("scalar", normals(()), lambda x: x * 1)),
        special=(Special("NaN", ([1.0, NAN],), [1.0, NAN], ([1.0, 1.0],)),),
        refused=(Refused("integers", lambda: (jnp.arange(3),), TypeError, "identity: x is int32"),),
        benchmarks=of_matrices(lambda x: x),
    ),
    RuleCase(
        name="linear",
        function=linear,
        formula="dx = dy wᵀ    dw = xᵀ dy    db = Σ_n dy_n",
        shapes="x (*n, i)   w (i, o)   b (o,) or None   y (*n, o)",
        residuals="x, w",
        convention="n runs over all leading axes",
        source="VANILLA; REGRESSION; JACOBIAN, identities 1, 2, 5, 6",
        examples=(
            Example("batch", normals((3, 4), (4, 2), (2,)), _affine),
            Example("no bias", normals((3, 4), (4, 2)), _affine),
            Example("two leading axes", normals((2, 3, 4), (4, 5), (5,)), _affine),
            Example("one example", normals((3,), (3, 2), (2,)), _affine),
            Example("square", normals((3, 3), (3, 3), (3,)), _affine),
            Example("empty batch", normals((0, 4), (4, 2), (2,)), _affine),
        ),
        special=(
            Special(
                "NaN in one row reaches that row and the weights",
                ([[NAN], [1.0]], [[2.0]], [0.0]),
                [[NAN], [2.0]],
                ([[2.0], [2.0]], [[NAN]], [2.0]),
            ),
        ),
        refused=(
            Refused(
                "features differ",
                lambda: (jnp.ones((3, 5)), jnp.ones((4, 2))),
                ValueError,
                "linear: x has 5 features but w expects 4 (x (3, 5), w (4, 2))",
            ),
            Refused(
                "bias of another width",
                lambda: (jnp.ones((3, 4)), jnp.ones((4, 2)), jnp.ones(3)),
                ValueError,
                "linear: b has shape (3,) but w (4, 2) gives outputs of shape (2,)",
            ),
            Refused(
                "bias that would broadcast",
                lambda: (jnp.ones((3, 4)), jnp.ones((4, 2)), jnp.ones((1, 2))),
                ValueError,
                "linear: b has shape (1, 2)",
            ),
            Refused("w is a vector", lambda: (jnp.ones((3, 4)), jnp.ones(4)), ValueError, "w exactly 2, (i, o)"),
            Refused(
                "images not cast",
                lambda: (jnp.ones((3, 4), jnp.uint8), jnp.ones((4, 2))),
                TypeError,
                "linear: x is uint8, not a real floating dtype: cast it first (images: cast to float and scale them",
            ),
            Refused(
                "mixed dtypes",
                lambda: (jnp.ones((3, 4), jnp.bfloat16), jnp.ones((4, 2), jnp.float32)),
                TypeError,
                "linear: x is bfloat16 but w is float32: cast one of them",
            ),
        ),
        benchmarks=(
            of_product("small", 1000, 784, 300, _affine),
            of_product("small", 128, 784, 512, _affine),
            of_product("small", 128, 512, 10, _affine),
            of_product("medium", 2048, 1024, 1024, _affine),
            of_product("large", 8192, 4096, 4096, _affine),
        ),
    ),
    RuleCase(
        name="flatten",
        function=flatten,
        formula="dx = dy in the shape of x",
        shapes="x (n, ...)   y (n, i)",
        residuals="none but the shape",
        convention="row-major",
        source="JACOBIAN, identity 3",
        examples=(
            Example("feature maps", normals((2, 3, 4, 2)), lambda x: x.reshape(len(x), -1)),
            Example("vector", normals((3,)), lambda x: x.reshape(3, 1)),
            Example("empty batch", normals((0, 3, 4)), lambda x: x.reshape(0, 12)),
        ),
        special=(Special("NaN", ([[[1.0], [NAN]]],), [[1.0, NAN]], ([[[1.0], [1.0]]],)),),
        refused=(
            Refused("scalar", lambda: (jnp.float32(1),), ValueError, "flatten: x is a scalar"),
            Refused("integers", lambda: (jnp.ones((2, 2), int),), TypeError, "flatten: x is int"),
        ),
        benchmarks=of_images(lambda x: x.reshape(len(x), -1)),
    ),
)
