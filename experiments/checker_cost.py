"""What checking a rule on arrays of a million elements costs, in units of one compiled forward and backward pass.

    python -m experiments.checker_cost

Compile time (tracing, lowering and XLA, as `jax.monitoring` reports it) is told apart, and so is Python: what the same
check of a hundred elements takes beside compiling. `least` is about what no check of this kind can spare: one random
cotangent, rule and oracle once in float32 and in float64, compiled before, and one comparison of each gradient. Prints
the table and writes experiments/results/checker_cost.json. Half a minute on two CPU cores.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.provenance import provenance
from jbackprop import compare_vjp, conv2d, linear, relu, softmax
from jbackprop.verify import arguments
from jbackprop.verify.cotangents import standard_cotangents
from jbackprop.verify.distance import gap
from jbackprop.verify.float64 import float64_scope, to_float64
from jbackprop.verify.front_end import primal_of

RESULTS = Path(__file__).parent / "results" / "checker_cost.json"
COMPILING = "/jax/core/compile/"
PASSES, RUNS = 15, 5
Arguments = tuple[jax.Array, ...]


def rules() -> dict[str, tuple[Callable[..., Any], Arguments, Arguments]]:
    """Returns rules of few and of many operations an element, with arguments of a million elements or so and small."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal(shape), jnp.float32)

    images = (draw(64, 32, 32, 16), draw(3, 3, 16, 32)), (draw(2, 6, 6, 4), draw(3, 3, 4, 2))
    return {
        "linear, 1000x1000 by 1000x1000": (
            linear,
            (draw(1000, 1000), draw(1000, 1000), draw(1000)),
            (draw(10, 10), draw(10, 10), draw(10)),
        ),
        "conv2d, 3x3, 64x32x32x16 to 32 channels": (conv2d, *images),
        "softmax, 1000x1000": (softmax, (draw(1000, 1000),), (draw(10, 10),)),
        "relu, 1000x1000": (relu, (draw(1000, 1000),), (draw(10, 10),)),
    }


def both_passes(f: Callable[..., Any]) -> Callable[..., Any]:
    """Returns `(d_out, *args) -> (value, gradients)`, compiled."""

    @jax.jit
    def run(d_out: jax.Array, *args: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        out, vjp = jax.vjp(f, *args)  # without the value XLA would leave the product of `linear` out
        return out, vjp(d_out)

    return run


def median_seconds(call: Callable[[], Any]) -> float:
    """Returns the median of several calls after a first one."""
    seconds = []
    for _ in range(PASSES + 1):
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


def one_pass(f: Callable[..., Any], args: Arguments) -> float:
    """Returns the seconds of a compiled forward and backward pass."""
    run, d_out = both_passes(f), jnp.ones_like(f(*args))
    return median_seconds(lambda: run(d_out, *args))


def least(f: Callable[..., Any], args: Arguments) -> float:
    """Returns the seconds of what no check spares."""
    sides = [both_passes(f), both_passes(primal_of(f))]
    together = jax.jit(lambda *given: [run(*given) for run in sides])  # what both compute is computed once
    out = jax.eval_shape(f, *args)

    def check() -> None:
        (d_out,) = standard_cotangents([out], seed=0, few=True)["random"]
        narrow = [gradients for _, gradients in together(d_out, *args)]
        with float64_scope():
            wide = [gradients for _, gradients in together(*to_float64((d_out, *args)))]
        for one, other, one64, other64 in zip(*narrow, *wide, strict=True):
            gap(np.asarray(one), np.asarray(other))
            gap(np.asarray(one64), np.asarray(other64))

    return median_seconds(check)


def seconds(f: Callable[..., Any], args: Arguments, compiling: list[tuple[float, float]]) -> tuple[float, float]:
    """Returns the seconds of a check and those of them that are compiling, the median of several."""
    runs = []
    for _ in range(RUNS):
        compiling.clear()
        start = time.perf_counter()
        assert compare_vjp(f, *args).ok
        runs.append((time.perf_counter() - start, covered(compiling)))
    total, compile_time = np.median(runs, 0)
    return float(total), float(compile_time)


def covered(spans: list[tuple[float, float]]) -> float:
    """Returns the length of the union of spans of time: a function that is traced inside another counts once."""
    total, reached = 0.0, 0.0
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def measure(compiling: list[tuple[float, float]]) -> list[dict[str, Any]]:
    rows, usual = [], arguments.LARGE
    for name, (f, args, small) in rules().items():
        of_pass = one_pass(f, args)
        total, compile_time = seconds(f, args, compiling)
        arguments.LARGE = 0  # small ones are checked as large ones are
        small_total, small_compile = seconds(f, small, compiling)
        arguments.LARGE = usual
        python = small_total - small_compile
        found = {"rule": name, "pass": of_pass, "total": total, "compile": compile_time, "python": python}
        found["passes"] = (total - compile_time) / of_pass
        found["passes_without_python"] = (total - compile_time - python) / of_pass
        found["least_passes"] = least(f, args) / of_pass
        rows.append(found)
        passes = [f"{found[key]:.0f}" for key in ("passes", "passes_without_python", "least_passes")]
        print(f"{name}: {total:.2f} s, of which compiling {compile_time:.2f} s; the rest is {passes[0]} passes, ")
        print(f"  without Python {passes[1]}, at least {passes[2]}")
    return rows


if __name__ == "__main__":
    spans: list[tuple[float, float]] = []

    def listener(event: str, duration: float, **_: Any) -> None:
        if event.startswith(COMPILING):
            end = time.perf_counter()
            spans.append((end - duration, end))

    listen: Any = jax.monitoring.register_event_duration_secs_listener
    listen(listener)
    results = {"rows": measure(spans), **provenance("jax", "jaxlib", "numpy")}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
