"""Question 1 of DEEP: does the cost of the forward and the backward pass grow linearly with the size of the graph?

    python -m experiments.depth_scaling

Measures `networks.deep` over depths T and widths K, batch 64, float32: FLOPs, time, and temporary memory. Prints the
table and the fitted exponents; writes results/depth_scaling.{png,json} and its section of README.md, beside this file.
About a minute on two CPU cores.

FLOPs are those of XLA's `cost_analysis`. It counts the body of a `lax.scan` once, whatever T is: with `once` its figure
for the network and `rest` that for the network without layers, T layers cost rest + T (once - rest). The same network
with its layers in a list, every one of them in the program, gives that figure less one product: nobody reads dz_0.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments.provenance import provenance
from experiments.readme_tables import write_tables
from jbackprop.networks import deep

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "depth_scaling.json"
BATCH = 64
DEPTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WIDTHS = (32, 64, 128, 256, 512)
LARGEST = 2**23  # edges: 32 MiB of weights, and as much again of gradients
LARGE = 1e5  # edges, above which a call is more than its overhead
REFERENCE_WIDTH = 128  # of the plots against T
COLOURS = {"forward": "#1f77b4", "forward + backward": "#d62728"}
QUANTITIES = {"flops": "FLOPs", "seconds": "seconds", "temporary_bytes": "temporary bytes"}


def forward(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    return deep.forward(params, x)[0]


PASSES: dict[str, Callable[..., Any]] = {"forward": forward, "forward + backward": deep.loss_and_grads}


def measure(depth: int, width: int) -> list[dict[str, Any]]:
    """Returns one row for each pass of the network of that depth and width."""
    params = deep.init(jax.random.key(0), (width,) * (depth + 1))
    x, y = jnp.ones((BATCH, width)), jnp.zeros(BATCH)
    no_layers = {**params, "layers": []}
    rows = []
    for name, function in PASSES.items():
        compiled = jax.jit(function).lower(params, x, y).compile()
        once, rest = (flops(function, p, x, y) for p in (params, no_layers))
        memory: Any = compiled.memory_analysis()
        rows.append(
            {
                "pass": name,
                "depth": depth,
                "width": width,
                "edges": depth * width**2 + width,
                "nodes": (depth + 1) * width + 1,
                "flops": rest + depth * (once - rest),
                "seconds": fastest_seconds(lambda call=compiled: jax.block_until_ready(call(params, x, y))),
                "temporary_bytes": memory.temp_size_in_bytes,
            }
        )
    return rows


def flops(function: Callable[..., Any], *args: Any) -> float:
    analysis: Any = jax.jit(function).lower(*args).cost_analysis()
    return analysis["flops"]


def fastest_seconds(call: Callable[[], Any], rounds: int = 15, budget: float = 0.3) -> float:
    """Returns the fastest of several rounds that together take about `budget` seconds: noise only ever adds."""
    call()
    start = time.perf_counter()
    call()
    repeats = max(1, int(budget / rounds / (time.perf_counter() - start)))
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        seconds.append((time.perf_counter() - start) / repeats)
    return min(seconds)


def exponent(rows: list[dict[str, Any]], size: str, cost: str) -> float:
    """Returns the slope of log(cost) against log(size)."""
    x, y = (np.log([row[name] for row in rows]) for name in (size, cost))
    return float(np.polyfit(x, y, 1)[0])


def fitted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the exponents of each pass and cost against T, edges, many edges, and nodes."""
    fits = []
    for name in PASSES:
        these = [row for row in rows if row["pass"] == name]
        along_depth = [row for row in these if row["width"] == REFERENCE_WIDTH]
        large = [row for row in these if row["edges"] >= LARGE]
        for cost in QUANTITIES:
            fits.append(
                {
                    "pass": name,
                    "cost": cost,
                    "depth": exponent(along_depth, "depth", cost),
                    "edges": exponent(these, "edges", cost),
                    "large": exponent(large, "edges", cost),
                    "nodes": exponent(these, "nodes", cost),
                }
            )
    return fits


def linear_model(rows: list[dict[str, Any]], name: str) -> tuple[float, float, float]:
    """Returns a, b of FLOPs = a edges + b nodes with the least relative error, and the largest relative error left."""
    these = [row for row in rows if row["pass"] == name]
    sizes = np.array([[row["edges"], row["nodes"]] for row in these]) / np.array([[row["flops"]] for row in these])
    a, b = np.linalg.lstsq(sizes, np.ones(len(these)), rcond=None)[0]
    return float(a), float(b), float(np.abs(sizes @ [a, b] - 1).max())


def models(rows: list[dict[str, Any]]) -> str:
    lines = []
    for name in PASSES:
        a, b, error = linear_model(rows, name)
        lines.append(f"- {name}: {a / BATCH:.2f} an edge + {b / BATCH:.1f} a node, right to {error:.1%} everywhere")
    return "FLOPs for each example:\n" + "\n".join(lines)


def table(fits: list[dict[str, Any]]) -> str:
    lines = [
        f"| pass | cost | against T (K = {REFERENCE_WIDTH}) | against edges | edges ≥ {LARGE:.0e} | against nodes |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for fit in fits:
        numbers = " | ".join(f"{fit[size]:.2f}" for size in ("depth", "edges", "large", "nodes"))
        lines.append(f"| {fit['pass']} | {QUANTITIES[fit['cost']]} | {numbers} |")
    return "\n".join(lines)


def plot(results: dict[str, Any]) -> Figure:
    """Draws every cost against T and against the edges, with the fitted exponents."""
    rows, fits = results["rows"], results["exponents"]
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    axes = figure.subplots(2, 3)
    for column, (cost, label) in enumerate(QUANTITIES.items()):
        for row, size in enumerate(("depth", "edges")):
            axis = axes[row, column]
            for name, colour in COLOURS.items():
                these = [r for r in rows if r["pass"] == name and (size == "edges" or r["width"] == REFERENCE_WIDTH)]
                fit = next(f for f in fits if f["pass"] == name and f["cost"] == cost)
                draw(axis, these, size, cost, colour, f"{name}: exponent {fit[size]:.2f}")
            axis.set(xscale="log", yscale="log", ylabel=label)
            axis.set_xlabel(f"layers T (K = {REFERENCE_WIDTH})" if size == "depth" else "edges T K² + K")
            axis.set_ylim(top=axis.get_ylim()[1] * 8)  # room for the legend
            axis.grid(alpha=0.3)
            darker = None if size == "depth" else f"K = {WIDTHS[0]} (light) to {WIDTHS[-1]} (dark)"
            axis.legend(loc="upper left", fontsize=9, title=darker, title_fontsize=9)
    figure.suptitle(f"Cost of the T-layer network: batch {BATCH}, float32; {_where(results)}")
    return figure


def draw(axis, rows: list[dict[str, Any]], size: str, cost: str, colour: str, label: str) -> None:
    """A line through the depths of each width, the wider the darker; a dashed line of slope 1 where the cost grows."""
    for width in sorted({row["width"] for row in rows}):
        line = sorted((row[size], row[cost]) for row in rows if row["width"] == width)
        alpha = 1.0 if size == "depth" else 0.3 + 0.7 * WIDTHS.index(width) / (len(WIDTHS) - 1)
        axis.plot(*zip(*line, strict=True), "o-", color=colour, alpha=alpha, markersize=4, linewidth=1)
    axis.plot([], [], "o-", color=colour, markersize=4, label=label)
    if exponent(rows, size, cost) < 0.3:
        return
    ends = np.array([min(row[size] for row in rows), max(row[size] for row in rows)])
    top = max(rows, key=lambda row: (row[size], row[cost]))
    axis.plot(ends, top[cost] * ends / top[size], color="0.6", linewidth=1, linestyle="--", zorder=0, scaley=False)


def section(results: dict[str, Any]) -> str:
    """The table, the models of the FLOPs, and where it was measured, in Markdown."""
    return f"{table(results['exponents'])}\n\n{models(results['rows'])}\n\n{results['date']}, {_where(results)}."


def _where(results: dict[str, Any]) -> str:
    return f"{results['device']}, JAX {results['versions']['jax']}"


def main() -> None:
    sizes = [(depth, width) for width in WIDTHS for depth in DEPTHS if depth * width**2 <= LARGEST]
    rows = []
    for depth, width in sizes:
        rows += measure(depth, width)
        last = rows[-1]
        print(f"T {depth:4d}  K {width:4d}  {last['flops']:.3e} FLOPs  {last['seconds'] * 1e3:9.3f} ms", flush=True)
    about = provenance("jax", "jaxlib", "numpy") | {"batch": BATCH}
    results: dict[str, Any] = {**about, "exponents": fitted(rows), "rows": rows}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    plot(results).savefig(RESULTS.with_suffix(".png"), dpi=110)
    write_tables(HERE / "README.md", {"depth_scaling": lambda: section(results)})
    print(f"\n{section(results)}\n\nwrote {RESULTS.with_suffix('.png')}")


if __name__ == "__main__":
    main()
