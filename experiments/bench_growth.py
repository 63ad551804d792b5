"""Do the FLOPs of both passes grow with the edges of every network, and does the compile time of `deep` stay?

    python -m experiments.bench_growth

The edges of a network are the products of its forward pass for one example: every weight once, in a convolution once
for each place. Writes results/bench_growth.json; `bench_tables.py` writes the table. Half a minute on two CPU cores.

XLA's `cost_analysis` counts the body of a `lax.scan` once whatever its length, so `deep` is measured over a list of
matrices; time and memory of `deep` are the subject of `depth_scaling.py`.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.products import products_of
from experiments.provenance import provenance
from jbackprop.bench.models import Model, cnn_model, deep_model, mlp_model
from jbackprop.bench.programs import program
from jbackprop.networks import deep, graph
from jbackprop.networks.activations import activation_rule
from jbackprop.networks.cnn import Block, Sizes
from jbackprop.verify.compiling import BARELY_OPTIMISED
from jbackprop.verify.network_cases import ADD, CROSS_ENTROPY, LINEAR

RESULTS = Path(__file__).parent / "results" / "bench_growth.json"
BATCH = 64
# From 4 on: the first layer's input needs no gradient, which spares a third of the products of a single layer.
DEPTHS_OF_FLOPS = (4, 8, 16, 32)
DEPTHS = (2, 8, 32, 128)


def networks() -> Iterator[tuple[str, str, Any, Any, Any, Any]]:
    """Yields name, what is varied, loss, loss_and_grads, parameters, batch, from small to large."""
    for width in (32, 64, 128, 256, 512):
        yield "mlp", "width", *_of_model(mlp_model((width, width, width, 10)))
    for depth in DEPTHS_OF_FLOPS:
        yield "mlp", "depth", *_of_model(mlp_model((256, *[256] * depth, 10)))
    for depth in DEPTHS_OF_FLOPS:
        loss, gradient, params, batch = _of_model(deep_model(depth, 256))
        yield "deep", "depth", loss, gradient, params | {"layers": list(params["layers"])}, batch
    for features in (8, 16, 32, 64):
        sizes = Sizes((16, 16, 8), (Block(features, 3, "SAME"), Block(features, 3, "SAME")), (10,))
        yield "cnn", "channels", *_of_model(cnn_model(sizes))
    for nodes in DEPTHS_OF_FLOPS:
        yield "graph", "nodes", *residual_graph(nodes, 256)


def _of_model(model: Model) -> tuple[Any, Any, Any, Any]:
    batch = model.batch(BATCH, jnp.float32)
    return model.loss, model.loss_and_grads, model.init(jax.random.key(0), jnp.float32), batch


def residual_graph(layers: int, width: int) -> tuple[Any, Any, Any, Any]:
    """Returns a graph of layers a' = relu(a w + b) + a, and a last affine one."""
    nodes, params, last = [], {}, "x"
    for i in range(layers):
        nodes.append(graph.Node(f"z{i}", LINEAR, (last, f"w{i}", f"b{i}")))
        nodes.append(graph.Node(f"r{i}", activation_rule("relu"), (f"z{i}",)))
        nodes.append(graph.Node(f"a{i}", ADD, (f"r{i}", last)))
        params |= {f"w{i}": (width, width), f"b{i}": (width,)}
        last = f"a{i}"
    nodes.append(graph.Node("logits", LINEAR, (last, "w", "b")))
    built = graph.build(nodes, params=params | {"w": (width, 10), "b": (10,)}, output="logits", loss_rule=CROSS_ENTROPY)
    rng = np.random.default_rng(0)
    batch = jnp.asarray(rng.standard_normal((BATCH, width)), jnp.float32), jnp.zeros(BATCH, jnp.int32)
    made = graph.init(jax.random.key(0), built)
    return partial(graph.loss, graph=built), partial(graph.loss_and_grads, graph=built), made, batch


def flops(function: Any, *arguments: Any) -> float:
    found = program(function, *arguments, compiler_options=BARELY_OPTIMISED).cost("flops")
    assert found is not None
    return found


def measured() -> list[dict[str, Any]]:
    """Returns edges and FLOPs of every size."""
    rows = []
    for name, varied, loss, gradient, params, batch in networks():
        row = {
            "network": name,
            "varied": varied,
            "edges": products_of(loss, params, *batch) // BATCH,
            "forward": flops(loss, params, *batch) / BATCH,
            "both": flops(gradient, params, *batch) / BATCH,
        }
        rows.append(row)
        print("{network:<6} {varied:<9} {edges:>10,} edges  {forward:>14,.0f} {both:>14,.0f} FLOPs".format(**row))
    return rows


def exponents(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the slope of log(FLOPs) against log(edges) for each network and what is varied in it."""
    fits = []
    for name, varied in dict.fromkeys((row["network"], row["varied"]) for row in rows):
        these = [row for row in rows if (row["network"], row["varied"]) == (name, varied)]
        along = np.log([row["edges"] for row in these])
        costs = {cost: np.log([row[cost] for row in these]) for cost in ("forward", "both")}
        slopes = {cost: float(np.polyfit(along, logs, 1)[0]) for cost, logs in costs.items()}
        fits.append({"network": name, "varied": varied, **slopes})
    return fits


def compiled() -> list[dict[str, Any]]:
    """Returns the seconds that a step of `deep` takes to compile, layer after layer in one scan."""
    rows = []
    for depth in (DEPTHS[0] + 1, *DEPTHS):  # the first is thrown away: it loads the compiler
        model = deep_model(depth, 64)
        params, batch = model.init(jax.random.key(0), jnp.float32), model.batch(BATCH, jnp.float32)
        made = program(deep.loss_and_grads, params, *batch)
        rows.append({"depth": depth, "seconds": made.compile_seconds})
    return rows[1:]


def main() -> None:
    rows = measured()
    found = {"rows": rows, "exponents": exponents(rows), "compile": compiled()}
    results: dict[str, Any] = provenance("jax", "jaxlib", "numpy") | {"batch": BATCH} | found
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for fit in results["exponents"]:
        print("{network:<6} {varied:<9} FLOPs ~ edges^{forward:.2f} forward, edges^{both:.2f} both".format(**fit))
    for row in results["compile"]:
        print("deep, T = {depth}: {seconds:.2f} s to compile".format(**row))


if __name__ == "__main__":
    main()
