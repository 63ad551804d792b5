"""A model and its batch taken apart into arrays, and the explicit gradient put beside them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jbackprop.verify.arguments import argument_names, function_name
from jbackprop.verify.compiling import BARELY_OPTIMISED


class ModelCall(NamedTuple):
    """`loss(params, *batch)` as a function of a list of arrays."""

    name: str
    loss: Callable[..., Any]
    leaves: tuple[Any, ...]  # of (params, batch), whatever they are
    tree: Any
    arrays: tuple[int, ...]  # positions of those leaves that are arrays
    names: tuple[str, ...]  # one for each array
    differentiated: tuple[int, ...]  # positions among the arrays

    @property
    def inputs(self) -> list[Any]:
        return [self.leaves[i] for i in self.arrays]

    def arguments(self, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """Returns `(params, *batch)` with these arrays."""
        leaves = list(self.leaves)
        for i, value in zip(self.arrays, inputs, strict=True):
            leaves[i] = value
        params, batch = jax.tree.unflatten(self.tree, leaves)
        return params, *batch


def take_model_apart(loss: Callable[..., Any], params: Any, batch: tuple[Any, ...]) -> ModelCall:
    """Returns the arrays of a call; raises ValueError where nothing can be differentiated, TypeError for tracers."""
    first, *rest = argument_names(loss, 1 + len(batch))
    named = [
        (jax.tree_util.keystr(path, simple=True, separator=".") or first, leaf, True)
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    ]
    for name, argument in zip(rest, batch, strict=True):
        paths = jax.tree_util.tree_leaves_with_path(argument)
        named += [(name + jax.tree_util.keystr(path), leaf, False) for path, leaf in paths]
    if any(isinstance(leaf, Tracer) for _, leaf, _ in named):
        raise TypeError("check_model looks at numbers: call it outside of jax.jit and other transformations")
    arrays = tuple(i for i, (_, leaf, _) in enumerate(named) if _is_array(leaf))
    leaves, tree = jax.tree.flatten((params, batch))
    for i in arrays:
        leaves[i] = jnp.asarray(leaves[i])
    floats = [of_params and jnp.issubdtype(leaves[i].dtype, jnp.inexact) for i in arrays for of_params in [named[i][2]]]
    differentiated = tuple(i for i, is_float in enumerate(floats) if is_float)
    if not differentiated:
        found = ", ".join(name for name, _, of_params in named if of_params) or "no leaves at all"
        raise ValueError(
            f"check_model: the parameters have no float array to differentiate ({found}): "
            f"pass the parameters first, then the batch"
        )
    names = tuple(named[i][0] for i in arrays)
    return ModelCall(function_name(loss), loss, tuple(leaves), tree, arrays, names, differentiated)


def trace_model(call: ModelCall, inputs: Sequence[Any]) -> Any:
    """Returns the closed jaxpr of the loss; raises ValueError where it is no scalar."""
    jaxpr, shapes = jax.make_jaxpr(lambda *arrays: call.loss(*call.arguments(arrays)), return_shape=True)(*inputs)
    outputs = jax.tree.leaves(shapes)
    found = ", ".join(f"{out.dtype}{list(out.shape)}" for out in outputs)
    if len(outputs) != 1:
        raise ValueError(
            f"check_model: {call.name} returns {len(outputs)} arrays ({found}), not a scalar loss: "
            f"return the loss alone, `lambda *args: {call.name}(*args)[0]`"
        )
    if outputs[0].shape or not jnp.issubdtype(outputs[0].dtype, jnp.floating):
        raise ValueError(f"check_model: {call.name} returns {found}, not a scalar loss: take the mean over the batch")
    return jaxpr


def explicit_gradients(
    explicit: Callable[..., Any], call: ModelCall, inputs: Sequence[Any]
) -> tuple[Any | None, list[Any]]:
    """Returns the loss (None: not returned) and the gradient of each differentiated array, by the explicit function."""
    run = jax.jit(lambda *arrays: explicit(*call.arguments(arrays)), compiler_options=BARELY_OPTIMISED)
    try:
        returned = run(*inputs)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):  # written in NumPy
        returned = explicit(*call.arguments(inputs))
    wanted = {call.names[i]: inputs[i] for i in call.differentiated}
    loss = None
    if isinstance(returned, tuple) and len(returned) == 2 and not _fits(returned, call, wanted):
        loss, returned = returned
    found = _by_path(returned, call)
    missing, unknown = [n for n in wanted if n not in found], [n for n in found if n not in wanted]
    if missing or unknown:
        complaint = f"lack {', '.join(missing)}" if missing else f"have {', '.join(unknown)} besides"
        raise ValueError(
            f"check_model: the explicit gradients {complaint}: the parameters are {', '.join(wanted)}; "
            f"return gradients in their tree, or (loss, gradients)"
        )
    for name, leaf in wanted.items():
        types = [f"{jax.dtypes.canonicalize_dtype(x.dtype)}{list(jnp.shape(x))}" for x in (found[name], leaf)]
        if types[0] != types[1]:
            raise ValueError(f"check_model: the explicit gradient of {name} is {types[0]}, not {types[1]}")
    return loss, [found[name] for name in wanted]


def _fits(returned: Any, call: ModelCall, wanted: Mapping[str, Any]) -> bool:
    return set(_by_path(returned, call)) == set(wanted)


def _by_path(grads: Any, call: ModelCall) -> dict[str, Any]:
    """Returns the arrays of a tree by path, as the parameters are named."""
    paths = jax.tree_util.tree_leaves_with_path(grads)
    root = argument_names(call.loss, 1)[0]
    return {jax.tree_util.keystr(p, simple=True, separator=".") or root: leaf for p, leaf in paths if _is_array(leaf)}


def _is_array(leaf: Any) -> bool:
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.dtype == bool or jnp.issubdtype(leaf.dtype, jnp.number)
    return isinstance(leaf, jax.Array)
