"""Time of a rule's jitted forward and backward pass against autodiff of the natural JAX code, as a ratio in one run.

    python experiments/rule_ratios.py [--pairs 15]

Both are timed in turns; the median ratio stands beside its quartiles, so that a noisy machine shows. Prints the table
and writes experiments/results/rule_ratios.json. About a minute on two CPU cores.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from provenance import provenance

import jbackprop

RESULTS = Path(__file__).parent / "results" / "rule_ratios.json"


def windowed(init: float, combine: Callable[..., Any], window: int, stride: int, padding: str) -> Callable[..., Any]:
    return lambda x: jax.lax.reduce_window(x, init, combine, (1, window, window, 1), (1, stride, stride, 1), padding)


def convolution(x: jax.Array, w: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def optax_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def comparisons() -> dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[jax.Array, ...]]]:
    """Returns by name: the rule, what a user would write without it, and the floating arguments."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal(shape), jnp.float32)

    images, rows = draw(64, 28, 28, 32), draw(2048, 1024)
    table: dict[str, Any] = {
        "linear 1000x784x300": (
            jbackprop.linear,
            lambda x, w, b: x @ w + b,
            (draw(1000, 784), draw(784, 300), draw(300)),
        ),
        "relu 2048x1024": (jbackprop.relu, jax.nn.relu, (rows,)),
        "sigmoid 2048x1024": (jbackprop.sigmoid, jax.nn.sigmoid, (rows,)),
        "gelu 2048x1024": (jbackprop.gelu, jax.nn.gelu, (rows,)),
        "conv2d 3x3 8->16 SAME, 64x28x28": (
            lambda x, w: jbackprop.conv2d(x, w, padding="SAME"),
            convolution,
            (draw(64, 28, 28, 8), draw(3, 3, 8, 16)),
        ),
        "avg_pool 2x2/2 64x28x28x32": (
            jbackprop.avg_pool,
            lambda x: windowed(0.0, jax.lax.add, 2, 2, "VALID")(x) / 4,
            (images,),
        ),
    }
    for window, stride, padding in ((2, 2, "VALID"), (3, 2, "VALID"), (3, 1, "SAME")):
        table[f"max_pool {window}x{window}/{stride} {padding} 64x28x28x32"] = (
            lambda x, w=window, s=stride, p=padding: jbackprop.max_pool(x, w, s, p),
            windowed(-jnp.inf, jax.lax.max, window, stride, padding),
            (images,),
        )
    for classes in (10, 128, 1000):
        logits, labels = (
            draw(1024 * 1024 // classes, classes),
            jnp.asarray(rng.integers(0, classes, 1024 * 1024 // classes)),
        )
        table[f"softmax_cross_entropy {classes} classes"] = (
            lambda z, y=labels: jbackprop.softmax_cross_entropy(z, y),
            lambda z, y=labels: optax_cross_entropy(z, y),
            (logits,),
        )
    return table


def forward_and_backward(function: Callable[..., Any]) -> Callable[..., Any]:
    @jax.jit
    def run(args: tuple[jax.Array, ...], ct: jax.Array) -> Any:
        value, vjp = jax.vjp(function, *args)
        return value, vjp(ct)

    return run


def seconds(function: Callable[..., Any], *args: Any) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(*args))
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15, help="how often each is timed")
    pairs = parser.parse_args().pairs
    rows = []
    for name, (rule, reference, args) in comparisons().items():
        ours, theirs = forward_and_backward(rule), forward_and_backward(reference)
        ct = jnp.full_like(jax.eval_shape(reference, *args), 0.5)
        for function in (ours, theirs):
            seconds(function, args, ct)  # compiles
        timed = np.array([(seconds(ours, args, ct), seconds(theirs, args, ct)) for _ in range(pairs)])
        low, median, high = np.percentile(timed[:, 0] / timed[:, 1], [25, 50, 75])
        rows.append(
            {"rule": name, "median": median, "quartiles": [low, high], "milliseconds": 1e3 * np.median(timed[:, 0])}
        )
        print(f"{name:<40} {median:5.2f}   {low:5.2f} to {high:5.2f}   {rows[-1]['milliseconds']:8.2f} ms", flush=True)
    results = provenance("jax", "jaxlib", "optax") | {"pairs": pairs, "rows": rows}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
