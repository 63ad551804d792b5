"""Registry: convolution and pooling."""

import jax
import jax.numpy as jnp

from jbackprop.layers.avg_pool import avg_pool
from jbackprop.layers.conv2d import conv2d
from jbackprop.layers.max_pool import max_pool
from jbackprop.verify.benchmarks import average_of_flax, of_convolution, of_pools
from jbackprop.verify.case import Example, Refused, RuleCase, Special
from jbackprop.verify.samples import distinct, normals

NAN, INF = float("nan"), float("inf")


def _pair(value):
    return (value, value) if isinstance(value, int) else value


def _conv(stride=1, padding="VALID", dilation=1, groups=1):
    def convolution(x, w, b=None):
        y = jax.lax.conv_general_dilated(
            x,
            w,
            _pair(stride),
            padding,
            rhs_dilation=_pair(dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )
        return y if b is None else y + b

    return convolution


def _window_sum_or_max(x, init, combine, window, stride, padding):
    pads = padding if isinstance(padding, str) else ((0, 0), *padding, (0, 0))
    strides = (1, *_pair(window if stride is None else stride), 1)
    return jax.lax.reduce_window(x, init, combine, (1, *_pair(window), 1), strides, pads)


def _max(window=2, stride=None, padding="VALID"):
    return lambda x: _window_sum_or_max(x, -jnp.inf, jax.lax.max, window, stride, padding)


def _avg(window=2, stride=None, padding="VALID"):
    def average(x):
        total = _window_sum_or_max(x, 0.0, jax.lax.add, window, stride, padding)
        return total / _window_sum_or_max(jnp.ones_like(x), 0.0, jax.lax.add, window, stride, padding)

    return average


def _conv_example(label, x, w, b=None, **options):
    return Example(label, normals(x, w) if b is None else normals(x, w, b), _conv(**options), options)


def _pool_examples(reference):
    # 2 * 7 * 6 * 3 = 252 distinct values: bfloat16 tells 256 apart
    settings = (
        ("2x2", {}),
        ("3x3 stride 2, overlapping", {"window": 3, "stride": 2}),
        ("3x3 stride 1 SAME", {"window": 3, "stride": 1, "padding": "SAME"}),
        ("2x3 window, stride (3, 1), padded", {"window": (2, 3), "stride": (3, 1), "padding": ((1, 0), (2, 1))}),
        ("gaps between windows", {"window": 1, "stride": 3}),
    )
    return tuple(Example(label, distinct(2, 7, 6, 3), reference(**options), options) for label, options in settings)


def _pool_refusals(name):
    return (
        Refused(
            "window larger than the input",
            lambda: (jnp.ones((1, 3, 3, 1)),),
            ValueError,
            f"{name}: a window that reaches over 4 does not fit into height 3 padded by (0, 0)",
            {"window": 4},
        ),
        Refused(
            "an image of no height",
            lambda: (jnp.ones((1, 0, 3, 1)),),
            ValueError,
            "does not fit into height 0 padded by (0, 0): give images of one element at least",
            {"padding": "SAME"},
        ),
        Refused(
            "windows of padding alone",
            lambda: (jnp.ones((1, 4, 4, 1)),),
            ValueError,
            f"{name}: padding (2, 0) of the height leaves windows of 2 without a single element",
            {"padding": ((2, 0), (0, 0))},
        ),
        Refused("no channels", lambda: (jnp.ones((4, 4)),), ValueError, f"{name}: x has shape (4, 4) but needs height"),
        Refused("images not cast", lambda: (jnp.ones((1, 4, 4, 1), jnp.uint8),), TypeError, f"{name}: x is uint8"),
        Refused("stride 0", lambda: (jnp.ones((1, 4, 4, 1)),), ValueError, f"{name}: stride is 0", {"stride": 0}),
        Refused(
            "padding in lower case",
            lambda: (jnp.ones((1, 4, 4, 1)),),
            ValueError,
            f"{name}: padding is 'same': give 'VALID', 'SAME' or tuples ((top, bottom), (left, right))",
            {"padding": "same"},
        ),
    )


def _image(rows):
    return [[[value] for value in row] for row in rows]


SPATIAL_RULES = (
    RuleCase(
        name="conv2d",
        function=conv2d,
        formula="dx = pad(dy) ⋆ rot180(w)    dw = x ⋆ dy    db = Σ_nuv dy_nuv",
        shapes="x (*n, h, w, i)   w (p, q, i / groups, o)   b (o,) or None   y (*n, u, v, o)",
        residuals="x, w",
        convention="⋆ is the valid cross-correlation; NHWC and HWIO",
        source="JACOBIAN",
        examples=(
            _conv_example("one channel", (1, 5, 4, 1), (3, 2, 1, 1)),
            _conv_example("channels", (2, 5, 6, 3), (3, 2, 3, 4), (4,)),
            _conv_example("stride 2 with a remainder", (2, 6, 7, 2), (3, 2, 2, 3), (3,), stride=2),
            _conv_example("SAME, stride (1, 2)", (2, 5, 6, 2), (3, 3, 2, 3), stride=(1, 2), padding="SAME"),
            _conv_example(
                "padded, dilated", (1, 6, 6, 2), (2, 3, 2, 2), (2,), padding=((1, 2), (0, 1)), dilation=(2, 1)
            ),
            _conv_example("groups", (2, 5, 5, 4), (2, 3, 2, 6), (6,), groups=2),
            _conv_example("depthwise, stride 2", (2, 5, 5, 3), (3, 3, 1, 6), stride=2, groups=3),
            _conv_example("empty batch", (0, 4, 4, 2), (2, 2, 2, 3), (3,)),
        ),
        special=(
            Special(
                "NaN in one corner",
                (_image([[NAN, 0.0, 0.0], [0.0, 0.0, 1.0]]), [[[[1.0]], [[1.0]]], [[[1.0]], [[1.0]]]]),
                _image([[NAN, 1.0]]),
                (_image([[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]), [[[[NAN]], [[0.0]]], [[[0.0]], [[1.0]]]]),
            ),
        ),
        refused=(
            Refused(
                "images not cast",
                lambda: (jnp.ones((1, 4, 4, 1), jnp.uint8), jnp.ones((2, 2, 1, 1))),
                TypeError,
                "conv2d: x is uint8, not a real floating dtype: cast it first (images: cast to float and scale them",
            ),
            Refused(
                "channels differ",
                lambda: (jnp.ones((1, 4, 4, 3)), jnp.ones((2, 2, 1, 1))),
                ValueError,
                "conv2d: x has 3 channels but w expects 1 x 1 group (x (1, 4, 4, 3), w (2, 2, 1, 1))",
            ),
            Refused(
                "kernel larger than the input",
                lambda: (jnp.ones((1, 4, 4, 1)), jnp.ones((5, 2, 1, 1))),
                ValueError,
                "conv2d: a window that reaches over 5 does not fit into height 4 padded by (0, 0)",
            ),
            Refused(
                "groups that do not divide",
                lambda: (jnp.ones((1, 4, 4, 4)), jnp.ones((2, 2, 2, 3))),
                ValueError,
                "conv2d: groups is 2 but must divide the 4 input and the 3 output channels",
                {"groups": 2},
            ),
            Refused(
                "bias of another width",
                lambda: (jnp.ones((1, 4, 4, 1)), jnp.ones((2, 2, 1, 3)), jnp.ones(2)),
                ValueError,
                "conv2d: b has shape (2,) but w (2, 2, 1, 3) gives 3 channels",
            ),
            Refused(
                "a kernel without channel axes",
                lambda: (jnp.ones((1, 4, 4, 1)), jnp.ones((2, 2))),
                ValueError,
                "conv2d: x must be (*n, height, width, channels) and w (p, q, i / groups, o)",
            ),
            Refused(
                "negative padding",
                lambda: (jnp.ones((1, 4, 4, 1)), jnp.ones((2, 2, 1, 1))),
                ValueError,
                "it must not be negative (slice the input instead)",
                {"padding": ((-1, 0), (0, 0))},
            ),
            Refused(
                "stride that is no integer",
                lambda: (jnp.ones((1, 4, 4, 1)), jnp.ones((2, 2, 1, 1))),
                TypeError,
                "conv2d: stride is 1.5: give an integer or a tuple (height, width)",
                {"stride": 1.5},
            ),
            Refused(
                "an empty kernel",
                lambda: (jnp.ones((1, 4, 4, 1)), jnp.ones((0, 2, 1, 1))),
                ValueError,
                "conv2d: the kernel is empty (x (1, 4, 4, 1), w (0, 2, 1, 1)): its height and width must be 1 at least",
            ),
        ),
        benchmarks=(
            of_convolution("small", (64, 28, 28, 32), (3, 3, 64), _conv),
            of_convolution("small", (64, 28, 28, 32), (3, 3, 64), _conv, "VALID"),
            of_convolution("small", (64, 28, 28, 1), (5, 5, 32), _conv),
            of_convolution("small", (64, 14, 14, 32), (5, 5, 64), _conv),
            of_convolution("medium", (128, 32, 32, 64), (3, 3, 128), _conv),
            of_convolution("medium", (128, 32, 32, 64), (3, 3, 128), _conv, stride=2),
            of_convolution("large", (256, 56, 56, 64), (3, 3, 128), _conv),
        ),
    ),
    RuleCase(
        name="max_pool",
        function=max_pool,
        formula="dx_ij = Σ_uv dz_uv 1[ij is the winner of window uv]",
        shapes="x (*n, h, w, c)   z (*n, u, v, c)",
        residuals="the winner's place in its window, one byte an output",
        convention="ties: the first in row-major order; overlapping windows add; a NaN wins; a remainder is dropped",
        source="JACOBIAN",
        examples=_pool_examples(_max),
        special=(
            Special("tie", (_image([[5.0, 5.0], [5.0, 1.0]]),), [[[5.0]]], (_image([[1.0, 0.0], [0.0, 0.0]]),)),
            Special(
                "NaN wins, and its cotangent is NaN",
                (_image([[1.0, 2.0], [NAN, 9.0]]),),
                [[[NAN]]],
                (_image([[0.0, 0.0], [NAN, 0.0]]),),
            ),
            Special(
                "-inf alone, padded: an element wins, not the padding",
                (_image([[-INF, -INF], [-INF, -INF]]),),
                [[[-INF]]],
                (_image([[1.0, 0.0], [0.0, 0.0]]),),
                {"window": 3, "stride": 3, "padding": ((1, 0), (1, 0))},
            ),
            Special("+inf", (_image([[INF, 2.0], [1.0, 9.0]]),), [[[INF]]], (_image([[1.0, 0.0], [0.0, 0.0]]),)),
            Special(
                "a remainder is dropped",
                (_image([[1.0, 2.0, 9.0], [3.0, 4.0, 9.0]]),),
                [[[4.0]]],
                (_image([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),),
            ),
            Special(
                "overlapping windows add",
                (_image([[0.0, 7.0, 1.0]]),),
                [[[7.0], [7.0]]],
                (_image([[0.0, 2.0, 0.0]]),),
                {"window": (1, 2), "stride": 1},
            ),
        ),
        refused=_pool_refusals("max_pool"),
        benchmarks=of_pools(_max, ({}, {"window": 3, "stride": 2}, {"window": 3, "stride": 1, "padding": "SAME"})),
    ),
    RuleCase(
        name="avg_pool",
        function=avg_pool,
        formula="dx_ij = Σ_uv∋ij dz_uv / k_uv",
        shapes="x (*n, h, w, c)   z (*n, u, v, c)",
        residuals="nothing but the shape",
        convention="k counts elements, not padding; overlapping windows add; a remainder is dropped",
        source="JACOBIAN",
        examples=_pool_examples(_avg),
        special=(
            Special(
                "padding left out of the mean",
                (_image([[4.0, 2.0]]),),
                [[[4.0]]],
                (_image([[1.0, 0.0]]),),
                {"window": (1, 2), "stride": 2, "padding": ((0, 0), (1, 0))},
            ),
            Special(
                "overlapping windows add",
                (_image([[0.0, 7.0, 1.0]]),),
                [[[3.5], [4.0]]],
                (_image([[0.5, 1.0, 0.5]]),),
                {"window": (1, 2), "stride": 1},
            ),
            Special(
                "NaN spoils its window alone",
                (_image([[NAN, 0.0, 2.0, 4.0]]),),
                [[[NAN], [3.0]]],
                (_image([[0.5, 0.5, 0.5, 0.5]]),),
                {"window": (1, 2)},
            ),
        ),
        refused=_pool_refusals("avg_pool"),
        benchmarks=of_pools(average_of_flax, ({}, {"window": 3, "stride": 2})),
    ),
)
