"""Training steps of the same model by several libraries, in turns, on the same batches from the same parameters.

Each is written the way its own documentation recommends. One timed sample is one pass over the batches: a loop of
steps in Python, or one `lax.scan` that is compiled.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.bench.contest import AGREEMENT
from jbackprop.bench.interval import interval, verdict
from jbackprop.bench.measure import rounds
from jbackprop.bench.models import MORE, Model, cnn_model, mlp_model, two_layer_model

RATE = 0.01
STEPS = 8
PACKAGES = ("optax", "flax", "equinox", "torch")
BASELINE = "jax.grad + optax"
SCAN = ", epoch in a scan"
MODELS = {"two_layer": two_layer_model, "mlp": mlp_model, "cnn": cnn_model}

Batches = list[tuple[jax.Array, jax.Array]]
Epoch = Callable[[], Any]  # trains on every batch once and returns the losses


class Task(NamedTuple):
    """What every peer gets: the model, its parameters to start from, and the batches."""

    model: Model
    params: Any
    batches: Batches
    dtype: Any


class Missing(Exception):
    """A peer cannot run here. The message says why."""


Peers = dict[str, Callable[[Task], Epoch]]


def task(model: Model, size: str, dtype: Any, steps: int = STEPS) -> Task:
    """Returns the model with parameters and `steps` batches of normal numbers."""
    examples = model.batch_size * MORE[size]
    batches = [model.batch(examples, dtype, seed) for seed in range(steps)]
    return Task(model, model.init(jax.random.key(0), dtype), batches, dtype)


def measure_peers(task: Task, peers: Peers, seconds: float) -> dict[str, Any]:
    """Returns the speeds against `BASELINE` with their intervals; a peer that cannot run is named with the reason."""
    epochs, losses, left_out = _started(task, peers)
    names = list(epochs)
    taken = rounds([epochs[name] for name in names], seconds, warm=True) / len(task.batches)
    base = taken[:, names.index(BASELINE)]
    examples = len(task.batches[0][0])
    entries = [
        _entry(name, taken[:, i], base, losses[name], losses[BASELINE], examples) for i, name in enumerate(names)
    ]
    agreeing = [i for i, entry in enumerate(entries) if entry["difference"] <= _allowed(task)]
    return {
        "model": task.model.name,
        "label": f"{task.model.label}, batch {examples}",
        "dtype": jnp.dtype(task.dtype).name,
        "steps": len(task.batches),
        "entries": [entry | {"agree": i in agreeing} for i, entry in enumerate(entries)],
        "best": best(taken[:, agreeing], [names[i] for i in agreeing]),
        "left_out": left_out,
    }


def _allowed(task: Task) -> float:
    return AGREEMENT[jnp.dtype(task.dtype).name]


def _started(task: Task, peers: Peers) -> tuple[dict[str, Epoch], dict[str, np.ndarray], dict[str, str]]:
    epochs, losses, left_out = {}, {}, {}
    for name, make in peers.items():
        try:
            epoch = make(task)
            losses[name] = _as_array(epoch())
            epochs[name] = epoch
        except ModuleNotFoundError as error:
            left_out[name] = f"{error.name} is not installed: pip install 'jbackprop[bench]'"
        except Missing as error:
            left_out[name] = str(error)
        except Exception as error:  # another library's: the others are still worth measuring
            if name == BASELINE:
                raise
            left_out[name] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
    return epochs, losses, left_out


def _as_array(losses: Any) -> np.ndarray:
    if isinstance(losses, list):
        return np.array([float(loss) for loss in losses])
    return np.asarray(losses).astype(np.float64)


def _entry(
    name: str, taken: np.ndarray, base: np.ndarray, losses: np.ndarray, wanted: np.ndarray, examples: int
) -> dict[str, Any]:
    median = float(np.median(taken))
    return {
        "name": name,
        "milliseconds_a_step": 1e3 * median,
        "samples_a_second": examples / median,
        "speed": interval(base / taken)._asdict(),
        "verdict": "baseline" if name == BASELINE else verdict(interval(taken / base)),
        "rounds": len(taken),
        "losses": losses.tolist(),
        "difference": float(np.max(np.abs(losses - wanted) / np.abs(wanted))),
    }


def best(taken: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the speed of our fastest (by medians) against the fastest of others: per step, of torch, in a scan."""
    medians = dict(zip(names, np.median(taken, axis=0), strict=True))
    ours = [name for name in names if name.startswith("jbackprop")]
    others = [name for name in names if name not in ours]
    in_scan = [name for name in names if name.endswith(SCAN)]
    kinds = {
        "one step a call": (_without(ours, in_scan), _without(others, in_scan)),
        "one step a call, against torch": (_without(ours, in_scan), [n for n in others if n.startswith("torch")]),
        "epoch in a scan, against anything": ([n for n in ours if n in in_scan], others),
    }
    found = []
    for kind, (mine, theirs) in kinds.items():
        if mine and theirs:
            i, k = (min(group, key=medians.__getitem__) for group in (mine, theirs))
            speed = interval(taken[:, names.index(k)] / taken[:, names.index(i)])
            found.append({"kind": kind, "ours": i, "other": k, "speed": speed._asdict()})
    return found


def _without(names: Sequence[str], left_out: Sequence[str]) -> list[str]:
    return [name for name in names if name not in left_out]


def looped(step: Callable[[Any, Any, Any], tuple[Any, Any]], state: Any, batches: Batches) -> Epoch:
    """Returns an epoch that calls `step(state, x, y) -> (state, loss)` for each batch and goes on where it ended."""
    held = [state]

    def epoch() -> list[Any]:
        losses = []
        for x, y in batches:
            held[0], loss = step(held[0], x, y)
            losses.append(loss)
        return losses

    return epoch


@contextmanager
def as_users_run() -> Iterator[None]:
    """Without strict dtype promotion, which the other libraries are not written for."""
    with jax.numpy_dtype_promotion("standard"):
        yield
