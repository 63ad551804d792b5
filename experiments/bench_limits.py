"""How much of a training step are its matrix products and convolutions alone? A rule wins in the rest.

    python -m experiments.bench_limits

Takes every product and convolution out of the program of an explicit step, as XLA is given it, and times each alone,
compiled as the step is. Their sum is an orientation and no bound: each pays for being called from Python and for fresh
memory, and in the step some run beside each other. For dense networks the step is measured as well with labels compared
to every class, not scattered (`layers/label_part.py`). Writes results/bench_limits.json; `bench_tables.py` writes
the table. Half a minute on two CPU cores with nothing else running.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters.partial_eval import dce_jaxpr

from experiments.products import products_in
from experiments.provenance import provenance
from jbackprop.bench.measure import rounds
from jbackprop.bench.models import Model, cnn_model, mlp_model, two_layer_model
from jbackprop.compiler_options import THREADED, refusal
from jbackprop.layers import label_part

RESULTS = Path(__file__).parent / "results" / "bench_limits.json"
RATE, SECONDS = 0.01, 6.0
DENSE = ("mlp", "two_layer")


def alone(eqn: Any, options: dict[str, str] | None) -> Callable[[], Any]:
    """Returns the product as a compiled program of its own, with random arguments."""
    rng = np.random.default_rng(0)
    arguments = [jnp.asarray(rng.standard_normal(v.aval.shape), v.aval.dtype) for v in eqn.invars]
    run = jax.jit(lambda *given: eqn.primitive.bind(*given, **eqn.params), compiler_options=options)
    return lambda: run(*arguments)


def stepped(
    gradient: Callable[..., Any], model: Model, options: dict[str, str] | None
) -> tuple[Callable[[], Any], Any]:
    """Returns a step of gradient descent as a compiled program, and what it was compiled from."""
    params = model.init(jax.random.key(0), jnp.float32)
    batch = model.batch(model.batch_size, jnp.float32)

    def step(params: Any, *batch: jax.Array) -> Any:
        value, grads = gradient(params, *batch)
        return value, jax.tree.map(lambda p, g: p - RATE * g, params, grads)

    run = jax.jit(step, compiler_options=options).lower(params, *batch).compile()
    program = jax.make_jaxpr(step)(params, *batch).jaxpr
    used, _ = dce_jaxpr(program, [True] * len(program.outvars))  # the first layer's dx is not, and XLA drops it
    return lambda: run(params, *batch), used


def measured(model: Model, options: dict[str, str] | None) -> dict[str, Any]:
    """Returns milliseconds of autodiff's step by default, of the explicit one, and of its products alone."""
    explicit, jaxpr = stepped(model.loss_and_grads, model, options)
    found = list(products_in(jaxpr))
    calls = {"autodiff": stepped(jax.value_and_grad(model.plain), model, None)[0], "explicit": explicit}
    if model.name in DENSE:
        with mock.patch.object(label_part, "adds_at_label", return_value=False):
            calls["compared"], _ = stepped(model.loss_and_grads, model, options)
    if options:
        calls["autodiff, threaded"] = stepped(jax.value_and_grad(model.plain), model, options)[0]
    pieces = [alone(eqn, options) for eqn, _ in found]
    seconds = np.median(rounds([*calls.values(), *pieces], SECONDS, warm=True), axis=0)
    times = dict(zip(calls, seconds, strict=False)) | {
        "products": seconds[len(calls) :] @ [turns for _, turns in found]
    }
    row = {"model": model.name, "label": model.label, "batch": model.batch_size, "threaded": options is not None}
    return row | {"milliseconds": {name: float(taken) * 1e3 for name, taken in times.items()}}


def main() -> None:
    rows = [measured(model, None) for model in (two_layer_model(), mlp_model(), cnn_model())]
    if refusal() is None:
        rows.append(measured(cnn_model(), THREADED))
    for row in rows:
        print(row)
    RESULTS.write_text(json.dumps({"rows": rows, **provenance("jax", "jaxlib", "numpy")}, indent=1) + "\n")


if __name__ == "__main__":
    main()
