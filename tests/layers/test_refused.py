"""The smallest mistakes in shapes, dtypes and options, each refused with words."""

import jax.numpy as jnp
import pytest

import jbackprop

IMAGE, KERNEL = jnp.ones((1, 4, 4, 2)), jnp.ones((2, 2, 2, 2))

REFUSED = {
    "linear, x is a scalar": (
        lambda: jbackprop.linear(jnp.float32(1), jnp.ones((1, 1))),
        ValueError,
        "at least 1 axis",
    ),
    "linear, w is a stack": (lambda: jbackprop.linear(jnp.ones(3), jnp.ones((3, 2, 1))), ValueError, "w exactly 2"),
    "linear, bias of another dtype": (
        lambda: jbackprop.linear(jnp.ones(3), jnp.ones((3, 2)), jnp.ones(2, jnp.bfloat16)),
        TypeError,
        "linear: x is float32 but b is bfloat16",
    ),
    "conv2d, kernel of another dtype": (
        lambda: jbackprop.conv2d(IMAGE, KERNEL.astype(jnp.bfloat16)),
        TypeError,
        "conv2d: x is float32 but w is bfloat16",
    ),
    "conv2d, bias of another dtype": (
        lambda: jbackprop.conv2d(IMAGE, KERNEL, jnp.ones(2, jnp.bfloat16)),
        TypeError,
        "conv2d: x is float32 but b is bfloat16",
    ),
    "conv2d, image without channels": (
        lambda: jbackprop.conv2d(jnp.ones((4, 4)), KERNEL),
        ValueError,
        "conv2d: x must be (*n, height, width, channels)",
    ),
    "conv2d, no groups": (lambda: jbackprop.conv2d(IMAGE, KERNEL, groups=0), ValueError, "groups is 0 but must divide"),
    "conv2d, groups that are no integer": (
        lambda: jbackprop.conv2d(IMAGE, KERNEL, groups=1.0),  # type: ignore[arg-type]
        ValueError,
        "groups is 1.0 but must divide",
    ),
    "conv2d, groups that divide the outputs alone": (
        lambda: jbackprop.conv2d(jnp.ones((1, 4, 4, 3)), KERNEL, groups=2),
        ValueError,
        "groups is 2 but must divide the 3 input and the 2 output channels",
    ),
    "conv2d, an image of no height but its padding": (
        lambda: jbackprop.conv2d(jnp.ones((1, 0, 4, 2)), KERNEL, None, 1, ((1, 1), (0, 0))),
        ValueError,
        "conv2d: a window that reaches over 2 does not fit into height 0 padded by (1, 1)",
    ),
    "conv2d, kernel of no height": (
        lambda: jbackprop.conv2d(IMAGE, jnp.ones((0, 2, 2, 2))),
        ValueError,
        "conv2d: the kernel is empty",
    ),
    "conv2d, kernel of no width": (
        lambda: jbackprop.conv2d(IMAGE, jnp.ones((2, 0, 2, 2))),
        ValueError,
        "conv2d: the kernel is empty",
    ),
    "pool, three sizes of a window": (
        lambda: jbackprop.max_pool(IMAGE, (2, 2, 2)),  # type: ignore[arg-type]
        ValueError,
        "max_pool: window is (2, 2, 2): give one integer, or two",
    ),
    "pool, a stride of 0 along the width": (
        lambda: jbackprop.avg_pool(IMAGE, 2, (1, 0)),
        ValueError,
        "avg_pool: stride is (1, 0): give one integer, or two",
    ),
    "pool, negative padding behind": (
        lambda: jbackprop.max_pool(IMAGE, 2, 2, ((0, -1), (0, 0))),
        ValueError,
        "it must not be negative",
    ),
    "pool, one pair of pads": (
        lambda: jbackprop.max_pool(IMAGE, 2, 2, (1, 1)),  # type: ignore[arg-type]
        ValueError,
        "padding is (1, 1): give 'VALID', 'SAME' or tuples",
    ),
    "pool, an image of no width": (
        lambda: jbackprop.avg_pool(jnp.ones((1, 4, 0, 2)), 2, 2, "SAME"),
        ValueError,
        "does not fit into width 0",
    ),
    "pool, windows of padding alone at the end": (
        lambda: jbackprop.max_pool(IMAGE, 2, 2, ((0, 0), (0, 2))),
        ValueError,
        "padding (0, 2) of the width leaves windows of 2 without a single element",
    ),
    "relu, an integer of Python": (lambda: jbackprop.relu(1), TypeError, "relu: z is int"),
    "relu, a complex number of Python": (lambda: jbackprop.relu(1j), TypeError, "relu: z is complex"),
    "softmax, an axis behind the last": (lambda: jbackprop.softmax(jnp.ones((2, 3)), 2), ValueError, "no axis 2"),
    "log_softmax, an axis before the first": (
        lambda: jbackprop.log_softmax(jnp.ones((2, 3)), -3),
        ValueError,
        "no axis -3",
    ),
    "cross-entropy, a scalar": (
        lambda: jbackprop.softmax_cross_entropy(jnp.float32(1), jnp.int32(0)),
        ValueError,
        "at least one class",
    ),
    "cross-entropy, probabilities of another dtype": (
        lambda: jbackprop.softmax_cross_entropy(jnp.ones((2, 3)), jnp.ones((2, 3), jnp.bfloat16)),
        TypeError,
        "logits is float32 but labels is bfloat16",
    ),
    "squared_error, dtypes that differ": (
        lambda: jbackprop.squared_error(jnp.ones(2), jnp.ones(2, jnp.bfloat16)),
        TypeError,
        "squared_error: prediction is float32 but target is bfloat16",
    ),
    "mean_squared_error, dtypes that differ": (
        lambda: jbackprop.mean_squared_error(jnp.ones(2), jnp.ones(2, jnp.bfloat16)),
        TypeError,
        "mean_squared_error: prediction is float32 but target is bfloat16",
    ),
    "mean_squared_error, an unknown reduction": (
        lambda: jbackprop.mean_squared_error(jnp.ones(2), jnp.ones(2), "average"),
        ValueError,
        "mean_squared_error: reduction is 'average'",
    ),
    "relu, a negative subgradient": (lambda: jbackprop.relu(jnp.ones(2), -0.5), ValueError, "at_zero is -0.5"),
}


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize("name", REFUSED)
def test_the_smallest_mistake_is_refused_with_words(name):
    call, error, words = REFUSED[name]
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)
