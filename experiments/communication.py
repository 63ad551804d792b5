"""What four devices send one another in one training step: from the shapes, and in the compiled program.

    python -m experiments.communication

Each network of the project at MNIST's sizes, batch 256, momentum, float32, on each way of sharing it out among four
simulated CPU devices. Prints the table, writes results/communication.json and the table of docs/scaling.md. 30 s.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from experiments.collectives import Collective, collectives
from experiments.readme_tables import write_tables
from jbackprop.training import mesh as meshes
from jbackprop.training import objective, optimizer
from jbackprop.training import state as states
from jbackprop.training.config import Config, Mesh, Network, Optimizer
from jbackprop.training.data import Dataset, Split
from jbackprop.training.gradient import loss_and_grads
from jbackprop.training.step import make_step

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "communication.json"
PAGE = HERE.parent / "docs" / "scaling.md"
BATCH = 256
NETWORKS = {
    "two_layer 784-300-10": Network(name="two_layer", hidden=(300,)),
    "mlp 784-512-512-10": Network(name="mlp", hidden=(512, 512)),
    "cnn 32, 64; 256-10": Network(name="cnn", channels=(32, 64), hidden=(256,)),
}
MESHES = {
    "data 4": Mesh(data=4),
    "data 4, fsdp": Mesh(data=4, fsdp=True),
    "model 4": Mesh(model=4),
    "data 2 x model 2, fsdp": Mesh(data=2, model=2, fsdp=True),
}
FLOAT32 = 4


def shapes_of(examples: int, side: int) -> Dataset:
    """Returns a data set that is its shapes alone."""
    images: Any = jax.ShapeDtypeStruct((examples, side, side, 1), jnp.uint8)
    labels: Any = jax.ShapeDtypeStruct((examples,), jnp.int32)
    split = Split(images, labels)
    return Dataset(split, split, classes=10, white=255.0)


def compiled_step(config: Config, dataset: Dataset) -> str:
    """Returns the text of the compiled training step of a configuration."""
    model, tx = objective.of_run(config, dataset), optimizer.build(config.optimizer)
    shapes = jax.eval_shape(lambda: states.init(model, tx, jax.random.key(0)))
    layout = meshes.build(config, tx, shapes)
    assert layout is not None
    gradient = meshes.annotated(loss_and_grads(config.gradient, model, config.accumulate), layout)
    step = jax.jit(make_step(gradient, tx, model.prepare), donate_argnums=0, **meshes.compiled_for(layout))
    everything: Any = (
        jax.ShapeDtypeStruct(shape, dtype, sharding=layout.at())
        for shape, dtype in [((config.batch_size,), jnp.int32)] + [(part.shape, part.dtype) for part in dataset.train]
    )
    rows, images, labels = everything
    split = Split(images, labels)
    return str(step.lower(meshes.placed_shapes(shapes, layout), split, rows).compile().as_text())


def from_shapes(config: Config, dataset: Dataset) -> list[Collective]:
    """Returns what a step has to exchange, by the shapes of the parameters and of the batch.

    Along `data` every gradient and the loss are added; with `fsdp` every parameter in pieces is gathered. Along
    `model` a pair of dense layers adds its outputs, and in the backward pass its inputs' cotangents, unless these are
    the images, whose cotangent nobody needs.
    """
    model, tx = objective.of_run(config, dataset), optimizer.build(config.optimizer)
    shapes = jax.eval_shape(lambda: states.init(model, tx, jax.random.key(0)))
    layout = meshes.build(config, tx, shapes)
    assert layout is not None
    data, devices = config.mesh.data, config.mesh.model
    leaves = jax.tree.leaves(shapes.params)
    during, between = (
        [leaf.size * _copies(part, leaf.shape) // part.num_devices for leaf, part in zip(leaves, parts, strict=True)]
        for parts in (jax.tree.leaves(layout.gathered), jax.tree.leaves(layout.state.params))
    )
    found = []
    if data > 1:
        found.append(Collective("all-reduce", FLOAT32 * (sum(during) + 1), data))
        found += [Collective("all-gather", FLOAT32 * a, data) for a, b in zip(during, between, strict=True) if a != b]
    matrices = [leaf for leaf in leaves if leaf.ndim == 2]
    for k in range(0, len(matrices) - 1, 2) if devices > 1 else ():
        found.append(Collective("all-reduce", FLOAT32 * config.batch_size // data * matrices[k + 1].shape[1], devices))
        if k > 0 or config.network.name == "cnn":
            found.append(Collective("all-reduce", FLOAT32 * config.batch_size // data * matrices[k].shape[0], devices))
    return found


def _copies(sharding: Any, shape: tuple[int, ...]) -> int:
    """How many devices hold the same piece."""
    pieces = 1
    for whole, part in zip(shape, sharding.shard_shape(shape), strict=True):
        pieces *= whole // part
    return sharding.num_devices // pieces


def measured(network: str, mesh: str, dataset: Dataset) -> dict[str, Any]:
    """Returns one row of the table."""
    config = Config(
        network=NETWORKS[network], mesh=MESHES[mesh], batch_size=BATCH, optimizer=Optimizer(name="momentum")
    )
    exchanges = {"from_shapes": from_shapes(config, dataset), "compiled": collectives(compiled_step(config, dataset))}
    row: dict[str, Any] = {"network": network, "mesh": mesh}
    for name, found in exchanges.items():
        row[name] = dict(by_kind(found)) | {"sent": sum(collective.sent for collective in found)}
    return row


def by_kind(found: list[Collective]) -> Counter[str]:
    """Returns the bytes of each kind of collective."""
    total: Counter[str] = Counter()
    for collective in found:
        total[collective.kind] += collective.bytes
    return total


def table(results: dict[str, Any]) -> str:
    """Returns the table of docs/scaling.md."""
    rows = [
        "| network | mesh | from shapes: all-reduce + all-gather, kB | compiled: the same | compiled: other, kB | "
        "each device sends, kB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in results["rows"]:
        cells = [row["network"], row["mesh"], _pair(row["from_shapes"]), _pair(row["compiled"])]
        other = {
            kind: size for kind, size in row["compiled"].items() if kind not in ("all-reduce", "all-gather", "sent")
        }
        cells.append(", ".join(f"{kind} {size / 1000:,.1f}" for kind, size in other.items()) or "none")
        cells.append(f"{row['compiled']['sent'] / 1000:,.1f}")
        rows.append("| " + " | ".join(cells) + " |")
    versions = ", ".join(f"{package} {number}" for package, number in results["versions"].items())
    rows.append(
        f"\nBatch {results['batch']}, float32, momentum; {results['date']}, 4 simulated CPU devices, {versions}."
    )
    return "\n".join(rows)


def _pair(kinds: dict[str, float]) -> str:
    return f"{kinds.get('all-reduce', 0) / 1000:,.1f} + {kinds.get('all-gather', 0) / 1000:,.1f}"


def main() -> None:
    from experiments.provenance import provenance

    jax.config.update("jax_num_cpu_devices", 4)
    dataset = shapes_of(examples=60_000, side=28)
    rows = [measured(network, mesh, dataset) for network in NETWORKS for mesh in MESHES]
    results = {"batch": BATCH, **provenance("jax"), "rows": rows}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    write_tables(PAGE, {"communication": lambda: table(results)})


if __name__ == "__main__":
    main()
