"""What the rules of the registry are measured on: sizes, and the natural code of `jax.nn`, `lax` and `optax`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jbackprop.verify.case import Benchmark
from jbackprop.verify.samples import normals

MATRICES = {"small": (2048, 1024), "medium": (8192, 1024), "large": (16384, 4096)}
IMAGES = {"small": (64, 28, 28, 32), "medium": (128, 32, 32, 64), "large": (256, 56, 56, 64)}
CLASSIFIED = {"small": 2**20, "medium": 2**23, "large": 2**26}  # logits in all

Benchmarks = tuple[Benchmark, ...]


def of_matrices(reference: Callable[..., Any], arrays: int = 1) -> Benchmarks:
    """Returns one row a size for a rule of `arrays` equal shapes."""
    return tuple(
        Benchmark(size, f"{n}x{k}", normals(*[(n, k)] * arrays), reference) for size, (n, k) in MATRICES.items()
    )


def of_classes(sampler: Callable[..., Any], reference: Callable[..., Any], classes: Sequence[int]) -> Benchmarks:
    """Returns one row for each size and number of classes, with as many rows as make the same number of logits.

    >>> [row.label for row in of_classes(normals, jax.nn.softmax, (10, 1000))][:2]
    ['104857x10', '1048x1000']
    """
    return tuple(
        Benchmark(size, f"{logits // k}x{k}", sampler((logits // k, k)), reference)
        for size, logits in CLASSIFIED.items()
        for k in classes
    )


def of_pools(reference: Callable[..., Any], settings: Sequence[Mapping[str, Any]]) -> Benchmarks:
    """Returns one row for each size and setting of the window."""
    return tuple(
        Benchmark(size, f"{_window(**options)} {_by(shape)}", normals(shape), reference(**options), dict(options))
        for size, shape in IMAGES.items()
        for options in settings
    )


def of_images(reference: Callable[..., Any]) -> Benchmarks:
    """Returns one row a size for a rule of feature maps."""
    return tuple(Benchmark(size, _by(shape), normals(shape), reference) for size, shape in IMAGES.items())


def of_product(size: str, n: int, i: int, o: int, reference: Callable[..., Any]) -> Benchmark:
    """Returns the row of x (n, i), w (i, o), b (o,)."""
    return Benchmark(size, f"{n}x{i}x{o}", normals((n, i), (i, o), (o,)), reference, products=n * i * o)


def of_convolution(
    size: str,
    x: tuple[int, int, int, int],
    w: tuple[int, int, int],
    reference: Callable[..., Any],
    padding: str = "SAME",
    stride: int = 1,
) -> Benchmark:
    """Returns the row of images `x` (n, h, w, i) and `w` = (k, k, o) with a bias; products with padding are counted.

    >>> row = of_convolution("small", (2, 8, 8, 3), (5, 5, 4), lambda **options: jnp.add, "VALID")
    >>> row.label, row.products
    ('5x5 3->4 VALID 2x8x8', 9600)
    """
    options: dict[str, Any] = {"padding": padding} | ({"stride": stride} if stride > 1 else {})
    (n, *image, i), (p, q, o) = x, w
    lost = (0, 0) if padding == "SAME" else (p - 1, q - 1)
    u, v = ((length - less - 1) // stride + 1 for length, less in zip(image, lost, strict=True))
    label = f"{p}x{q}{f'/{stride}' if stride > 1 else ''} {i}->{o} {padding} {_by((n, *image))}"
    sampler = normals(x, (p, q, i, o), (o,))
    return Benchmark(size, label, sampler, reference(**options), options, n * u * v * p * q * i * o)


def cross_entropy_of_optax(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns `optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()`, written as there."""
    of_labels = jnp.take_along_axis(logits, labels[..., None], axis=-1).take(0, axis=-1)
    return (jax.nn.logsumexp(logits, axis=-1) - of_labels).mean()


def average_of_flax(window: int = 2, stride: int | None = None) -> Callable[[jax.Array], jax.Array]:
    """Returns `flax.linen.avg_pool` without padding, written as there: the sum of a window over a constant."""
    dimensions, strides = (1, window, window, 1), (1, stride or window, stride or window, 1)
    return lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, dimensions, strides, "VALID") / window**2


def _window(window: int = 2, stride: int | None = None, padding: str = "") -> str:
    return f"{window}x{window}/{stride or window} {padding}".strip()


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
