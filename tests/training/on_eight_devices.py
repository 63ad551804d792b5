"""What a process with eight simulated devices finds, as JSON; run by test_mesh.py, since JAX fixes their number."""

import inspect
import json
import sys
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from experiments import communication
from experiments.collectives import collectives
from jbackprop.training import compiler, optimizer
from jbackprop.training import mesh as meshes
from jbackprop.training import model as models
from jbackprop.training import state as states
from jbackprop.training import trainer as trainers
from jbackprop.training.config import Config, ConfigError, Mesh, Network, Optimizer
from jbackprop.training.data import Dataset, Split
from jbackprop.training.gradient import loss_and_grads
from jbackprop.training.interrupt import never
from jbackprop.verify.automatic import automatic
from jbackprop.verify.cases import RULES

NETWORKS = {
    "two_layer": Network(name="two_layer", hidden=(16,)),
    "mlp": Network(name="mlp", hidden=(16, 8), activation="tanh"),
    "cnn": Network(name="cnn", hidden=(8,), channels=(4,)),
}
MESHES = {
    "2 data": Mesh(data=2),
    "4 data, fsdp": Mesh(data=4, fsdp=True),
    "8 data": Mesh(data=8),
    "2 model": Mesh(model=2),
    "2 data x 4 model, fsdp": Mesh(data=2, model=4, fsdp=True),
}
REFUSED = {
    "too many": Config(mesh=Mesh(data=4, model=4)),
    "batch": Config(mesh=Mesh(data=8), batch_size=36),
    "units": Config(mesh=Mesh(model=8), network=Network(hidden=(12,))),
    "one layer": Config(mesh=Mesh(model=2), network=Network(name="cnn", hidden=())),
    "fsdp alone": Config(mesh=Mesh(fsdp=True)),
}
PARAMETERS = ("w", "b")  # the arguments of a rule that are no examples


def random_digits(examples: int) -> Dataset:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 17, (examples, 8, 8, 1), np.uint8), rng.integers(0, 10, examples)
    split = Split(jnp.asarray(images), jnp.asarray(labels, jnp.int32))
    return Dataset(split, split, classes=10, white=16.0)


DATASET = random_digits(96)


def apart(found, wanted) -> float:
    """The largest max|d| / max|g| of any leaf."""
    return max(
        float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max())
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    )


@cache
def initial(network: Network):
    model, tx = models.build(network, DATASET), optimizer.build(Optimizer())
    return jax.jit(lambda: states.init(model, tx, jax.random.key(0)))()


def gradients(config: Config):
    """Loss and gradient of one batch on the mesh, explicit and by the rules, and whether the gradients lie as meant."""
    model, tx = models.build(config.network, DATASET), optimizer.build(config.optimizer)
    state = initial(config.network)
    layout = meshes.build(config, tx, jax.eval_shape(lambda: state))
    names = ("explicit", "rules")
    both = jax.jit(lambda *batch: [meshes.annotated(loss_and_grads(name, model), layout)(*batch) for name in names])
    params = state.params if layout is None else jax.device_put(state.params, layout.state.params)
    split = meshes.placed(DATASET, layout).train
    found = both(params, model.prepare(split.images), split.labels)
    kept = layout is None or all(
        a.sharding.is_equivalent_to(b, a.ndim)
        for _, grads in found
        for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(layout.state.params), strict=True)
    )
    return found, kept


def agreement(some: bool) -> dict:
    """Some: the two-layer network on every mesh, the convolutional one on the last; else the others on every mesh."""
    found = {}
    for name, network in NETWORKS.items():
        if name == ("mlp" if some else "two_layer"):
            continue
        alone, _ = gradients(Config(network=network))
        for label, mesh in MESHES.items() if not some or name == "two_layer" else [list(MESHES.items())[-1]]:
            shared, kept = gradients(Config(network=network, mesh=mesh))
            found[f"{name}, {label}"] = {"apart": apart(shared, alone), "kept": kept}
    return found


def trained(check_every: int) -> dict:
    """An epoch of training alone and on a mesh: losses, parameters, evaluation; and the shares of the state."""
    ended = []
    rows = np.zeros(0)
    shares = []
    for mesh in (Mesh(), Mesh(data=2, model=2, fsdp=True)):
        adam = Optimizer(name="adam", learning_rate=0.01)
        # what a convolutional network is compiled with, for a network that compiles sooner
        options = compiler.choose(Config(network=NETWORKS["cnn"]))
        config = Config(
            network=NETWORKS["two_layer"], mesh=mesh, optimizer=adam, check_every=check_every, compiler=options
        )
        trainer = trainers.build(config, DATASET)
        state, losses, rows = trainer.epoch(*trainer.init(0), 1, never)
        ended.append((losses, state.params, list(trainer.evaluate(state.params, DATASET.test))))
        shares = [leaf.addressable_shards[0].data.size / leaf.size for leaf in jax.tree.leaves(state.opt_state)]
    return {"apart": apart(ended[1], ended[0]), "checked": float(rows.max(initial=0)), "smallest share": min(shares)}


def refused() -> dict:
    found = {}
    for name, config in REFUSED.items():
        try:
            trainers.build(config, DATASET)
        except ConfigError as error:
            found[name] = [error.key, str(error)]
    return found


def pairs() -> dict:
    """How each dense layer of a network of ten hidden ones lies: along its rows, its columns, or whole."""
    network = Network(name="graph", hidden=(16,) * 10)
    model, tx = models.build(network, DATASET), optimizer.build(Optimizer())
    shapes = jax.eval_shape(lambda: states.init(model, tx, jax.random.key(0)))
    layout = meshes.build(Config(network=network, mesh=MESHES["2 model"]), tx, shapes)
    assert layout
    lying = {name: list(sharding.spec) for name, sharding in layout.state.params.items() if name.startswith("w")}
    return {name: "rows" if spec[:1] == ["model"] else "columns" if spec else "whole" for name, spec in lying.items()}


def exchanged(function, arguments, options, parameters=()) -> dict:
    """What two devices send each other in both passes of a rule, and whether cotangents lie as their primals."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])

    def shapes(values, whole=()):
        specs = [P() if not v.ndim or i in whole else P("data") for i, v in enumerate(values)]
        return [
            jax.ShapeDtypeStruct(v.shape, v.dtype, sharding=NamedSharding(mesh, s))
            for v, s in zip(values, specs, strict=True)
        ]

    given = shapes(arguments, parameters)
    floats = [i for i, v in enumerate(given) if jnp.issubdtype(v.dtype, jnp.floating)]

    def both_passes(dy, *values):
        def primal(*chosen):
            every = list(values)
            for i, value in zip(floats, chosen, strict=True):
                every[i] = value
            return function(*every, **options)

        return jax.vjp(primal, *(values[i] for i in floats))[1](dy)

    dy = shapes([jax.eval_shape(lambda *values: function(*values, **options), *given)])
    compiled = jax.jit(both_passes).lower(*dy, *given).compile()
    lie_as_primals = all(
        found.is_equivalent_to(given[i].sharding, given[i].ndim)
        for found, i in zip(compiled.output_shardings, floats, strict=True)
    )
    return {"kinds": sorted({c.kind for c in collectives(str(compiled.as_text()))}), "as primals": lie_as_primals}


def rules(some: bool) -> dict:
    """Some: the first example of each rule, and a convolution with groups; else every one."""
    found = {}
    for case in RULES:
        names = list(inspect.signature(case.function).parameters)
        parameters = [i for i, name in enumerate(names) if name in PARAMETERS]
        examples = [example for example in case.examples if _has_examples(case.name, example)]
        for example in [e for e in examples if e is examples[0] or not some or e.label == "groups"]:
            arguments = example.arguments(jax.random.key(0), jnp.float32)
            even = [a if i in parameters else jnp.concatenate([a, a]) for i, a in enumerate(arguments)]
            label = f"{case.name}, {example.label}"
            found[label] = exchanged(case.function, even, example.options, parameters)
            if "groups" in example.options:
                found[label]["of autodiff"] = exchanged(automatic(case.function), even, example.options, parameters)
    return found


def _has_examples(rule: str, example) -> bool:
    """Whether the first axis is one of examples, none of which the others need."""
    first = example.arguments(jax.random.key(0), jnp.float32)[0].shape
    element_wise = rule == "squared_error"
    return len(first) >= (1 if element_wise else 2) and first[0] > 0 and example.options.get("axis") != 0


def planted() -> dict:
    """A rule whose backward pass needs the whole batch on each device."""
    f = jax.custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x, None), lambda _, dy: (jnp.sort(dy, axis=0),))
    return exchanged(f, [jnp.ones((4, 3))], {})


def exchange() -> dict:
    """What a step exchanges, by kind: from the shapes and in the compiled program."""
    found = {}
    for label in ("4 data, fsdp", "2 model"):
        config = Config(network=NETWORKS["two_layer"], mesh=MESHES[label])
        shapes = communication.shapes_of(examples=96, side=8)
        both = communication.from_shapes(config, shapes), collectives(communication.compiled_step(config, shapes))
        found[label] = [dict(communication.by_kind(one)) for one in both]
    return found


if __name__ == "__main__":
    some = sys.argv[1] == "some"
    found = {"agreement": agreement(some), "rules": rules(some), "trained": trained(check_every=0 if some else 2)}
    if some:
        found |= {"refused": refused(), "planted": planted(), "exchange": exchange(), "pairs": pairs()}
    print(json.dumps(found))
