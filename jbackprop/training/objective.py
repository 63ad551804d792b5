"""What a run minimises: the loss of its network, in the configured precision, and the penalty on its weights."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jbackprop.training import model as models
from jbackprop.training.config import Config
from jbackprop.training.data import Dataset
from jbackprop.training.model import Model
from jbackprop.training.sections import L2
from jbackprop.training.weights import are_weights


def of_run(config: Config, dataset: Dataset) -> Model:
    """Returns the network of a run, whose `loss` and `loss_and_grads` are those of the run."""
    model = models.build(config.network, dataset)
    if config.dtype == "bfloat16":
        model = in_bfloat16(model)
    return penalised(model, config.l2, dataset.train.labels.size)


def in_bfloat16(model: Model) -> Model:
    """Returns the network computed in bfloat16. Parameters, logits, loss and gradients are float32."""
    low, high = partial(_cast, jnp.bfloat16), partial(_cast, jnp.float32)

    def loss(params: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
        return model.loss(low(params), low(x), labels)

    def loss_and_grads(params: Any, x: jax.Array, labels: jax.Array) -> tuple[jax.Array, Any]:
        J, grads = model.loss_and_grads(low(params), low(x), labels)
        return J, high(grads)

    def logits(params: Any, x: jax.Array) -> jax.Array:
        return high(model.logits(low(params), low(x)))

    return model._replace(loss=loss, loss_and_grads=loss_and_grads, logits=logits)


def _cast(dtype: Any, tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


def factor(l2: L2, examples: int) -> float:
    """Returns what the sum of squares is multiplied by: λ as CS229 defines it, λ / (2 examples) as Nielsen does.

    >>> factor(L2(form="cs229", strength=1e-4), 50000), factor(L2(form="nielsen", strength=5.0), 50000)
    (0.0001, 5e-05)
    """
    return l2.strength / (2 * examples) if l2.form == "nielsen" else l2.strength


def penalised(model: Model, l2: L2, examples: int) -> Model:
    r"""Returns the network with the penalty on its weights $w$ in its loss, and its derivative in its gradient:

    $$J + c \textstyle\sum_w \lVert w \rVert^2 \qquad dw = dJ/dw + 2 c\, w$$
    """
    if l2.form == "none":
        return model
    c = factor(l2, examples)

    def penalty(params: Any) -> jax.Array:
        weights = jax.tree.map(lambda is_weight, w: w if is_weight else None, are_weights(params), params)
        return c * jnp.sum(jnp.stack([jnp.sum(w * w) for w in jax.tree.leaves(weights)]))

    def loss(params: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
        return model.loss(params, x, labels) + penalty(params)

    def loss_and_grads(params: Any, x: jax.Array, labels: jax.Array) -> tuple[jax.Array, Any]:
        J, grads = model.loss_and_grads(params, x, labels)
        grads = jax.tree.map(
            lambda is_weight, g, w: g + 2 * c * w if is_weight else g, are_weights(params), grads, params
        )
        return J + penalty(params), grads

    objective = f"{model.objective} + {c:g} (sum of squares of the weights)"
    return model._replace(loss=loss, loss_and_grads=loss_and_grads, objective=objective)
