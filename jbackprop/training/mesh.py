"""Many devices: how batch, parameters and the optimiser's state lie on a mesh. The compiler adds the communication.

Along `data` each device has its share of every batch; along `model` its share of the units of the dense layers; with
`fsdp` also its share of the parameters and the optimiser's state, gathered for each step. The images stay whole on
every device, as uint8: a shuffled batch then needs no communication.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jbackprop.training.config import Config, ConfigError
from jbackprop.training.data import Dataset, Split
from jbackprop.training.gradient import LossAndGrads
from jbackprop.training.state import State

SIMULATED = "JAX_NUM_CPU_DEVICES"


class Layout(NamedTuple):
    """The mesh, where each leaf of the state lies between steps, and each parameter during one."""

    mesh: jax.sharding.Mesh
    state: Any
    gathered: Any

    def at(self, *axes: str | None) -> NamedSharding:
        """Returns the sharding with an array's first dimensions along these axes of the mesh, the others whole."""
        return NamedSharding(self.mesh, PartitionSpec(*axes))


def build(config: Config, tx: optax.GradientTransformation, shapes: State) -> Layout | None:
    """Returns the layout of the configured mesh, None for one device.

    Raises `ConfigError` where there are too few devices, or where a batch or a layer cannot be divided among them.
    """
    asked = config.mesh.data * config.mesh.model
    if config.mesh.fsdp and config.mesh.data == 1:
        raise ConfigError("mesh.fsdp: parameters are shared out along mesh.data, which is 1", "mesh.fsdp")
    if asked == jax.process_count() == 1:
        return None
    _check(config, asked)
    mesh = jax.make_mesh(
        (config.mesh.data, config.mesh.model),
        ("data", "model"),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=jax.devices()[:asked],
    )
    gathered = _tensor_parallel(shapes.params, config.mesh.model)
    kept = _in_pieces(shapes.params, gathered, config.mesh.data) if config.mesh.fsdp else gathered
    on_mesh = partial(jax.tree.map, partial(NamedSharding, mesh), is_leaf=_is_spec)
    whole_everywhere: Any = NamedSharding(mesh, PartitionSpec())
    opt_state = optax.tree_utils.tree_map_params(
        tx,
        lambda _, sharding: sharding,
        shapes.opt_state,
        on_mesh(kept),
        transform_non_params=lambda _: whole_everywhere,
    )
    state: Any = State(on_mesh(kept), opt_state, whole_everywhere)
    return Layout(mesh, state, on_mesh(gathered))


def _check(config: Config, asked: int) -> None:
    there, data, model = jax.device_count(), config.mesh.data, config.mesh.model
    key = "mesh.data" if data > 1 or model == 1 else "mesh.model"
    words = f"{key}: data x model = {data} x {model} = {asked} devices"
    if asked > there:
        hint = f". A CPU as that many: {SIMULATED}={asked}" if jax.default_backend() == "cpu" else ""
        raise ConfigError(f"{words} are more than the {there} that JAX sees ({jax.default_backend()}){hint}", key)
    if jax.process_count() > 1 and asked != there:
        raise ConfigError(f"{words}: the {jax.process_count()} processes have {there}, and all take part", key)
    part = config.batch_size // config.accumulate
    if part % data:
        parts = f" in {config.accumulate} parts" if config.accumulate > 1 else ""
        raise ConfigError(
            f"batch_size: {config.batch_size} examples{parts} cannot be divided among mesh.data = {data} devices",
            "batch_size",
        )


def _is_spec(leaf: Any) -> bool:
    return isinstance(leaf, PartitionSpec)


def _tensor_parallel(params: Any, model: int) -> Any:
    """Dense layers in pairs, as the network calls them: the first one's columns along `model`, the second one's rows,
    one sum after both. What a skip connection adds behind a first one is gathered for that."""
    leaves = {_path(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    matrices = sorted((path for path, leaf in leaves.items() if leaf.ndim == 2), key=_by_number)
    specs = dict.fromkeys(leaves, PartitionSpec())
    if model > 1 and len(matrices) < 2:
        raise ConfigError(
            f"mesh.model: {model} devices share the units between two dense layers, and this network has "
            f"{len(matrices)}: set network.hidden, or mesh.model = 1",
            "mesh.model",
        )
    for first, second in zip(matrices[::2], matrices[1::2], strict=False) if model > 1 else ():
        units = leaves[first].shape[1]
        if units % model:
            raise ConfigError(f"mesh.model: {units} units cannot be divided among {model} devices", "mesh.model")
        head, _, name = first.rpartition(".")
        bias = f"{head}.{name.replace('w', 'b')}".lstrip(".")
        specs[first], specs[bias] = PartitionSpec(None, "model"), PartitionSpec("model")
        specs[second] = PartitionSpec("model", None)
    return jax.tree_util.tree_map_with_path(lambda path, _: specs[_path(path)], params)


def _by_number(path: str) -> list[str | int]:
    """Sorts w10 behind w2; the leaves of a tree come in the order of their letters."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path)]


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _in_pieces(params: Any, specs: Any, data: int) -> Any:
    """The longest free dimension that can be divided lies along `data`; a leaf that has none stays whole."""

    def pieces(leaf: Any, spec: PartitionSpec) -> PartitionSpec:
        axes = [*spec, *[None] * (leaf.ndim - len(spec))]
        free = [d for d in range(leaf.ndim) if axes[d] is None and leaf.shape[d] % data == 0]
        if free:
            axes[max(free, key=lambda d: leaf.shape[d])] = "data"
        return PartitionSpec(*axes)

    return jax.tree.map(pieces, params, specs)


def annotated(gradient: LossAndGrads, layout: Layout | None) -> LossAndGrads:
    """Returns the same gradient of a batch along `data`, of parameters gathered before it and in pieces after it."""
    if layout is None:
        return gradient
    constrain = jax.lax.with_sharding_constraint

    def loss_and_grads(params: Any, x: jax.Array, labels: jax.Array) -> tuple[jax.Array, Any]:
        x, labels = constrain((x, labels), layout.at("data"))
        loss, grads = gradient(constrain(params, layout.gathered), x, labels)
        return constrain(loss, layout.at()), constrain(grads, layout.state.params)

    return loss_and_grads


def compiled_for(layout: Layout | None) -> dict[str, Any]:
    """Returns the arguments of `jax.jit` that keep the state where it lies, for `(state, ...) -> (state, logged)`."""
    return {} if layout is None else {"out_shardings": (layout.state, layout.at())}


def placed_shapes(shapes: Any, layout: Layout | None) -> Any:
    """Returns the shapes of the state with the shardings of the layout."""
    if layout is None:
        return shapes
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes, layout.state
    )


def placed(dataset: Dataset, layout: Layout | None) -> Dataset:
    """Returns the data set whole on every device of the mesh; what lies there already is not copied."""
    if layout is None:
        return dataset
    return dataset._replace(train=placed_split(dataset.train, layout), test=placed_split(dataset.test, layout))


def placed_split(split: Split, layout: Layout) -> Split:
    """Returns the split whole on every device of the mesh. One that streams stays in its files."""
    if not isinstance(split.images, jax.Array | np.ndarray):
        return split
    images, labels = (whole(array, layout) for array in split)
    return Split(images, labels)


def placing(evaluate: Callable[..., Any], layout: Layout | None, given: Dataset, placed: Dataset) -> Callable[..., Any]:
    """Returns `evaluate(params, split)` that puts the split on the mesh; those of the data set lie there already."""
    if layout is None:
        return evaluate
    pairs = ((given.train, placed.train), (given.test, placed.test))

    def on_mesh(params: Any, split: Split) -> Any:
        known = next((there for here, there in pairs if here.images is split.images), None)
        return evaluate(params, known or placed_split(split, layout))

    return on_mesh


def whole(array: Any, layout: Layout) -> jax.Array:
    """Returns the array on every device of the mesh; with several processes each gives its own, equal copy."""
    everywhere = layout.at()
    if isinstance(array, jax.Array) and array.sharding == everywhere:
        return array
    values = np.asarray(array)
    return jax.make_array_from_callback(values.shape, everywhere, lambda index: values[index])


def gathered(tree: Any, layout: Layout | None) -> Any:
    """Returns the tree with every leaf whole, as NumPy arrays where there is a mesh. All processes have to ask."""
    if layout is None:
        return tree
    gather: Callable[[Any], Any] = jax.jit(lambda tree: tree, out_shardings=layout.at())
    return jax.device_get(gather(tree))


def whole_key(layout: Layout | None) -> jax.Array:
    """Returns any random key, where the keys of the run lie."""
    key = jax.random.key(0)
    return key if layout is None else jax.jit(lambda: jax.random.key(0), out_shardings=layout.at())()
