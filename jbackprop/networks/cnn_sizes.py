"""The sizes of convolutional classifiers, and those of well-known ones by name."""

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Any

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Block:
    """One block: `features` kernels of `kernel` x `kernel`, stride 1, then pooling over `window` x `window`."""

    features: int
    kernel: int
    padding: str = "VALID"
    window: int = 2

    def __post_init__(self):
        for name in ("features", "kernel", "window"):
            _check_positive(f"{self} has {name}", getattr(self, name))


@dataclass(frozen=True)
class Sizes:
    """Everything static about a convolutional classifier; hashable, so a static argument of `jax.jit`.

    `image` is (height, width, channels); `dense` the widths after flattening, the last of them the classes; `pool` is
    `"max"` or `"avg"`, over windows that do not overlap; a remainder at the border is dropped.
    """

    image: Shape
    blocks: tuple[Block, ...]
    dense: tuple[int, ...]
    pool: str = "max"

    def __post_init__(self):
        if not isinstance(self.image, tuple) or len(self.image) != 3:
            raise ValueError(f"cnn: image is {self.image!r}: give (height, width, channels), for example (28, 28, 1)")
        if not isinstance(self.blocks, tuple) or not isinstance(self.dense, tuple):
            raise ValueError(f"cnn: {self} needs tuples of blocks and of dense widths: give (10,) for 10 classes alone")
        for width in (*self.image, *self.dense):
            _check_positive(f"{self} has a width", width)
        if self.pool not in ("max", "avg"):
            raise ValueError(f"cnn: pool is {self.pool!r}: choose 'max' or 'avg'")
        paddings = {block.padding for block in self.blocks}
        if not paddings <= {"VALID", "SAME"}:
            raise ValueError(f"cnn: padding is {(paddings - {'VALID', 'SAME'}).pop()!r}: choose 'VALID' or 'SAME'")
        if not self.blocks or not self.dense:
            raise ValueError(f"cnn: {self} needs at least one convolution and one dense layer, the classes")
        feature_maps(self)


def _check_positive(what: str, number: Any) -> None:
    if not isinstance(number, Integral) or int(number) < 1:
        raise ValueError(f"cnn: {what} of {number!r}: give a positive integer")


def feature_maps(sizes: Sizes) -> list[Shape]:
    """Returns the (height, width, channels) of the image and after each block.

    Raises: ValueError where a kernel or window is larger than what it slides over.

    >>> feature_maps(LENET)
    [(32, 32, 1), (14, 14, 6), (5, 5, 16)]
    """
    shapes = [sizes.image]
    for block in sizes.blocks:
        height, width, _ = shapes[-1]
        lost = 0 if block.padding == "SAME" else block.kernel - 1
        height, width = (height - lost) // block.window, (width - lost) // block.window
        if min(height, width) < 1:
            raise ValueError(f"cnn: nothing is left of {shapes[-1]} after {block}: use a smaller kernel or window")
        shapes.append((height, width, block.features))
    return shapes


def flattened_width(sizes: Sizes) -> int:
    """Returns how many numbers of each image reach the first dense layer.

    >>> flattened_width(CS229_2018), flattened_width(FLAX_MNIST)
    (50, 3136)
    """
    return math.prod(feature_maps(sizes)[-1])


# CS229, autumn 2018, problem set 4, question 1. (It pools before its ReLU, which gives the same values and gradients.)
CS229_2018 = Sizes((28, 28, 1), (Block(2, kernel=4, window=5),), dense=(10,))
# LeCun, Bottou, Bengio and Haffner 1998: the sizes of LeNet-5, with ReLU for its squashing function, plain averages for
# its trained subsampling, every map of S2 read by every map of C3, and softmax for its radial basis functions.
LENET = Sizes((32, 32, 1), (Block(6, kernel=5), Block(16, kernel=5)), dense=(120, 84, 10), pool="avg")
# google/flax, examples/mnist/train.py.
FLAX_MNIST = Sizes(
    (28, 28, 1),
    (Block(32, kernel=3, padding="SAME"), Block(64, kernel=3, padding="SAME")),
    dense=(256, 10),
    pool="avg",
)
DIGITS = Sizes(
    (8, 8, 1),
    (Block(32, kernel=3, padding="SAME"), Block(64, kernel=3, padding="SAME")),
    dense=(128, 10),
)

NAMED = {"cs229_2018": CS229_2018, "lenet": LENET, "flax_mnist": FLAX_MNIST, "digits": DIGITS}


def chosen_sizes(sizes: Sizes | str) -> Sizes:
    """Returns the sizes of that name, or `sizes` itself; raises ValueError with the known names otherwise.

    >>> chosen_sizes("lenet").dense
    (120, 84, 10)
    """
    if isinstance(sizes, Sizes):
        return sizes
    if not isinstance(sizes, str) or sizes not in NAMED:
        raise ValueError(f"cnn: sizes {sizes!r} are unknown: choose one of {', '.join(NAMED)}, or build cnn.Sizes")
    return NAMED[sizes]
