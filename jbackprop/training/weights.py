"""Which parameters are weights, and how they are drawn where a configuration says so."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jbackprop.networks.initial import normal_weights


def are_weights(params: Any) -> Any:
    """Returns the tree of `params` with True at weights and False at biases, by their names.

    >>> are_weights([{"w": 1.0, "b": 2.0}])
    [{'b': False, 'w': True}]
    """
    return jax.tree_util.tree_map_with_path(lambda path, _: _name(path).startswith("w"), params)


def redrawn(init: Callable[[jax.Array], Any], weights: str | None, biases: str | None) -> Callable[[jax.Array], Any]:
    """Returns `init(key) -> params` with weights ("normal": N(0, 1), "fan_in": N(0, 1/fan-in), "lecun_normal": the same
    variance, truncated at two standard deviations, as flax draws them) and biases ("normal", "zero") drawn anew; None
    keeps those of `init`.
    """
    if weights is None and biases is None:
        return init
    kinds = {True: weights, False: biases}

    def drawn(key: jax.Array) -> Any:
        params = init(key)
        leaves, tree = jax.tree.flatten(params)
        keys = jax.random.split(jax.random.fold_in(key, 0), len(leaves))
        chosen = [kinds[is_weight] for is_weight in jax.tree.leaves(are_weights(params))]
        return jax.tree.unflatten(tree, [_drawn(*leaf) for leaf in zip(keys, leaves, chosen, strict=True)])

    return drawn


def _drawn(key: jax.Array, leaf: jax.Array, kind: str | None) -> jax.Array:
    match kind:
        case "zero":
            return jnp.zeros_like(leaf)
        case "normal":
            return jax.random.normal(key, leaf.shape, leaf.dtype)
        case "fan_in":
            return normal_weights(key, leaf.shape, leaf.dtype)
        case "lecun_normal":
            return jax.nn.initializers.lecun_normal()(key, leaf.shape, leaf.dtype)
        case _:
            return leaf


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/").rpartition("/")[2]
