"""`jax.grad` with optax, and this library's gradients in its place."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jbackprop import compiler_options
from jbackprop.bench.peers import BASELINE, RATE, SCAN, Epoch, Missing, Peers, Task, looped

LossAndGrads = Callable[..., tuple[jax.Array, Any]]


def jax_peers() -> Peers:
    """Returns them by name: one step a call, a whole epoch in one scan, and both with the compiler's option."""
    steps: Peers = {
        BASELINE: lambda task: _steps(task, _automatic(task)),
        "jbackprop, explicit": lambda task: _steps(task, task.model.loss_and_grads),
        f"{BASELINE}, threaded": lambda task: _steps(task, _automatic(task), _threaded()),
        "jbackprop, rules": lambda task: _steps(task, jax.value_and_grad(task.model.loss)),
        "jbackprop, explicit, threaded": lambda task: _steps(task, task.model.loss_and_grads, _threaded()),
    }
    scans: Peers = {
        BASELINE: lambda task: _scan(task, _automatic(task)),
        "jbackprop, explicit": lambda task: _scan(task, task.model.loss_and_grads),
        "jbackprop, explicit, threaded": lambda task: _scan(task, task.model.loss_and_grads, _threaded()),
    }
    return steps | {name + SCAN: make for name, make in scans.items()}


def _automatic(task: Task) -> LossAndGrads:
    return jax.value_and_grad(task.model.plain)


def _threaded() -> dict[str, str]:
    if refusal := compiler_options.refusal():
        raise Missing(refusal)
    return compiler_options.THREADED


def _update(gradient: LossAndGrads) -> tuple[Any, Callable[[Any, Any, Any], tuple[Any, jax.Array]]]:
    import optax

    tx = optax.sgd(RATE)

    def step(state: tuple[Any, Any], x: Any, y: Any) -> tuple[tuple[Any, Any], jax.Array]:
        params, opt_state = state
        loss, grads = gradient(params, x, y)
        updates, opt_state = tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    return tx, step


def _steps(task: Task, gradient: LossAndGrads, options: dict[str, str] | None = None) -> Epoch:
    tx, step = _update(gradient)
    state = task.params, tx.init(task.params)
    return looped(jax.jit(step, compiler_options=options), state, task.batches)


def _scan(task: Task, gradient: LossAndGrads, options: dict[str, str] | None = None) -> Epoch:
    tx, step = _update(gradient)
    xs, ys = (jnp.stack(part) for part in zip(*task.batches, strict=True))

    def scan(state: Any, xs: Any, ys: Any) -> Any:
        return jax.lax.scan(lambda state, batch: step(state, *batch), state, (xs, ys))

    run = jax.jit(scan, compiler_options=options)
    held: list[Any] = [(task.params, tx.init(task.params))]

    def epoch() -> jax.Array:
        held[0], losses = run(held[0], xs, ys)
        return losses

    return epoch
