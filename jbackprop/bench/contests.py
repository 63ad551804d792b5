"""What is measured under each name: rows of the registry, training steps of networks, and the user's own functions."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from jbackprop.bench import models, plain
from jbackprop.bench.contest import Contest
from jbackprop.bench.models import MORE, Model
from jbackprop.layers.conv2d import conv2d
from jbackprop.networks import deep
from jbackprop.verify.automatic import automatic
from jbackprop.verify.case import NetworkCase, RuleCase

Step = Callable[..., tuple[jax.Array, Any]]
SCANNED_IMAGES = {"small": 8, "medium": 64, "large": 128}  # autodiff takes seconds a step with 64
MEASURED = {
    "two_layer": models.two_layer_model,
    "mlp": models.mlp_model,
    "deep": models.deep_model,
    "cnn_max": models.cnn_model,
}


def of_rule(case: RuleCase, size: str, dtype: DTypeLike) -> list[Contest]:
    """Returns a contest for each benchmark of that size in the rule's row of the registry."""
    found = [
        Contest(
            case.name,
            row.label,
            "autodiff of jax.nn, lax or optax",
            partial(case.function, **row.options),
            row.reference,
            partial(row.arguments, jax.random.key(0), dtype),
            products=row.products,
        )
        for row in case.benchmarks
        if row.size == size
    ]
    if case.name == "conv2d":
        found.append(convolutions_in_scan(dtype, SCANNED_IMAGES[size], steps=2))
    return found


def of_network(case: NetworkCase, size: str, dtype: DTypeLike) -> list[Contest]:
    """Returns the contests of a network: its step by the explicit backward pass, and by its rules.

    A network without a size of its own here is measured on the example of the registry, against its own primal code.
    """
    if case.name not in MEASURED:
        key_params, key_batch = jax.random.split(jax.random.key(0))

        def arguments() -> tuple[Any, ...]:
            return case.params(key_params, dtype), *case.batch(key_batch, dtype), jnp.asarray(0.1, dtype)

        wrote = jax.value_and_grad(automatic(case.loss))
        return [
            step_contest(
                case.name, "registry's example", "autodiff of its primal", case.loss_and_grads, wrote, arguments
            )
        ]
    return of_model(MEASURED[case.name](), size, dtype)


def of_model(model: Model, size: str, dtype: DTypeLike) -> list[Contest]:
    """Returns the contests of a model with a plain loss; of `deep` also those over a list of matrices."""
    examples = model.batch_size * MORE[size]

    def arguments() -> tuple[Any, ...]:
        params = model.init(jax.random.key(0), dtype)
        return params, *model.batch(examples, dtype), jnp.asarray(0.1, dtype)

    def contest(how: str, ours: Step, reference: Callable[..., Any], against: str, **more: Any) -> Contest:
        label = f"{model.label}, batch {examples}, {how}"
        wrote = jax.value_and_grad(reference)
        return step_contest(
            model.name, label, against, ours, wrote, arguments, products=model.products(examples), **more
        )

    plain_code = "jax.grad of plain code"
    found = [
        contest("explicit", model.loss_and_grads, model.plain, plain_code),
        contest("rules", jax.value_and_grad(model.loss), model.plain, plain_code),
    ]
    if model.name == "deep":
        of_list: dict[str, Any] = {"as_reference": unstacked}
        loop, against = plain.deep_in_loop, "jax.grad, Python loop over a list"
        in_scan = "jax.grad through a scan over the stack"
        found += [
            contest("explicit, stacked", deep.loss_and_grads, loop, against, **of_list),
            contest("explicit, a list", deep.loss_and_grads, loop, against, as_ours=unstacked, **of_list),
            contest("explicit, a list for a stack", deep.loss_and_grads, model.plain, in_scan, as_ours=unstacked),
        ]
    return found


def step_contest(
    name: str,
    label: str,
    against: str,
    ours: Step,
    reference: Step,
    arguments: Callable[[], tuple[Any, ...]],
    **more: Any,
) -> Contest:
    """Returns the contest of two gradients, each followed by the same step of gradient descent in its program."""
    return Contest(name, label, against, descent(ours), descent(reference), arguments, is_step=True, **more)


def descent(gradient: Step) -> Step:
    """Returns `(params, x, y, rate) -> (loss, params - rate grads)`.

    >>> step = descent(lambda w, x, y: ((w * x - y) ** 2, 2 * (w * x - y) * x))
    >>> step(1.0, 2.0, 1.0, 0.25)
    (1.0, 0.0)
    """

    def step(params: Any, x: Any, y: Any, rate: Any) -> tuple[Any, Any]:
        loss, grads = gradient(params, x, y)
        return loss, jax.tree.map(lambda p, g: p - rate * g, params, grads)

    return step


def unstacked(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parameters of `deep` with a list of matrices in place of their stack."""
    return {"layers": list(params["layers"]), "alpha": params["alpha"]}


def convolutions_in_scan(dtype: DTypeLike, images: int, steps: int, channels: tuple[int, int] = (32, 64)) -> Contest:
    """Returns two 5x5 convolutions with tanh between them, trained by gradient descent inside `lax.scan`."""
    (i, o), shape = channels, (14, 14)

    def arguments() -> tuple[Any, ...]:
        keys = jax.random.split(jax.random.key(0), 3)
        params = [
            jax.random.normal(key, (5, 5, *pair), dtype) * 0.03
            for key, pair in zip(keys, ((i, o), (o, o)), strict=False)
        ]
        x = jax.random.normal(keys[2], (steps, images, *shape, i), dtype)
        return params, x, jnp.zeros((steps, images, *shape, o), dtype), jnp.asarray(0.1, dtype)

    return Contest(
        "conv2d",
        f"two 5x5 {i}->{o}->{o} SAME {images}x14x14, {steps} steps in a scan",
        "lax.conv_general_dilated under autodiff",
        scanned(partial(_two_convolutions, lambda x, w: conv2d(x, w, padding="SAME"))),
        scanned(partial(_two_convolutions, plain.convolution)),
        arguments,
        products=steps * images * 14 * 14 * 25 * (2 * i * o + 3 * o * o),
        is_step=True,
    )


def scanned(loss: Callable[..., jax.Array]) -> Step:
    """Returns `(params, xs, ys, rate) -> (losses, params)`: one step of descent for each batch, in `lax.scan`."""
    step = descent(jax.value_and_grad(loss))

    def run(params: Any, xs: Any, ys: Any, rate: Any) -> tuple[Any, Any]:
        def one(params: Any, batch: tuple[Any, Any]) -> tuple[Any, Any]:
            loss, params = step(params, *batch, rate)
            return params, loss

        params, losses = lax.scan(one, params, (xs, ys))
        return losses, params

    return run


def _two_convolutions(convolution: Callable[..., jax.Array], params: Sequence[Any], x: Any, y: Any) -> jax.Array:
    first, second = params
    return jnp.mean((convolution(jnp.tanh(convolution(x, first)), second) - y) ** 2)
