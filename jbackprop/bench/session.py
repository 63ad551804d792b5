"""A whole benchmark: the machine first, then every row, then the peers; the results as JSON can hold them."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from jbackprop.bench.contest import Contest, measure
from jbackprop.bench.machine import limits, provenance
from jbackprop.bench.peers import PACKAGES, Task, as_users_run, measure_peers
from jbackprop.bench.peers_equinox import equinox_peers
from jbackprop.bench.peers_flax import flax_peers
from jbackprop.bench.peers_jax import jax_peers
from jbackprop.bench.peers_torch import threads_of_torch, torch_peers
from jbackprop.json_numbers import with_null

Results = dict[str, Any]
Say = Callable[[str], None]  # what is measured now


def run(
    contests: Sequence[Contest],
    tasks: Sequence[Task],
    dtype: str,
    seconds: float,
    say: Say,
) -> Results:
    """Returns the results; `say` is told before each of the `1 + len(contests) + len(tasks)` measurements.

    `seconds` are spent on timing each row, twice as many on each model of the peers.
    """
    say("the machine's limits")
    found = limits(jnp.dtype(dtype), seconds / 2)
    rows = []
    for contest in contests:
        say(f"{contest.name} {contest.label}")
        rows.append(measure(contest, dtype, seconds, found))
    peers = []
    for task in tasks:
        say(f"peers: {task.model.name} {task.model.label}")
        everyone = jax_peers() | flax_peers() | equinox_peers() | torch_peers()
        with as_users_run(), threads_of_torch():
            peers.append(measure_peers(task, everyone, 2 * seconds))
    kept = {"dtype": dtype, "seconds_a_row": seconds, "limits": found._asdict(), "rows": rows, "peers": peers}
    return provenance(PACKAGES if tasks else ()) | with_null(kept)


def agree(results: Results) -> bool:
    """Returns whether all programs computed the same as those they are measured against."""
    return all(row["agree"] for row in [*results["rows"], *(e for p in results["peers"] for e in p["entries"])])
