"""The machine: what it can do at most, and what stands beside every figure measured on it."""

import os
import platform
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jbackprop import installed
from jbackprop.bench.measure import rounds
from jbackprop.bench.programs import Program, program

FLAGS = ("XLA_FLAGS", "JAX_PLATFORMS", "GLIBC_TUNABLES", "OMP_NUM_THREADS", "LD_PRELOAD", "NVIDIA_TF32_OVERRIDE")
MATRIX = {"cpu": 2048, "gpu": 8192}  # rows and columns
COPIED = {"cpu": 2**28, "gpu": 2**30}  # bytes: beyond any cache


class Limits(NamedTuple):
    """Arithmetic operations and bytes a second, of a large matrix product and of a copy."""

    flops: float
    bandwidth: float

    def seconds(self, flops: float | int, traffic: float | int) -> float:
        """Returns the shortest time for that many operations and that many bytes."""
        return max(flops / self.flops, traffic / self.bandwidth)

    def binding(self, flops: float | int, traffic: float | int) -> str:
        """Returns which of the two limits such a program meets first.

        >>> Limits(flops=100.0, bandwidth=10.0).binding(flops=5.0, traffic=1.0)
        'bandwidth'
        """
        return "arithmetic" if flops / self.flops > traffic / self.bandwidth else "bandwidth"


def limits(dtype: DTypeLike, seconds: float) -> Limits:
    """Returns the best of several runs of a matrix product of `dtype` and of a pass over an array in place.

    The array is read and written where it is: memory that is mapped anew for each output would be measured otherwise.
    """
    kind = "cpu" if jax.default_backend() == "cpu" else "gpu"
    size, items = MATRIX[kind], COPIED[kind] // jnp.dtype(dtype).itemsize
    a = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = program(jnp.matmul, a, a)
    held = [jnp.ones(items, dtype)]
    copy = program(lambda x: -x, held[0], donate_argnums=0)
    taken = rounds([product.call, lambda: _in_place(copy, held)], seconds).min(axis=0)
    return Limits(2 * size**3 / float(taken[0]), 2 * items * jnp.dtype(dtype).itemsize / float(taken[1]))


def _in_place(copy: Program, held: list[jax.Array]) -> jax.Array:
    held[0] = copy.compiled(held[0])
    return held[0]


def provenance(packages: Iterable[str] = ()) -> dict[str, Any]:
    """Returns the date, the device, the versions of what is installed of `packages`, and the flags that are set."""
    versions = installed.versions(("jbackprop", "jax", "jaxlib", "numpy", *packages))
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "device": device(),
        "versions": {name: found for name, found in versions.items() if found},
        "flags": {name: os.environ[name] for name in FLAGS if os.environ.get(name)},
    }


def device() -> str:
    """Returns what computes: the accelerator, if any, and the processor with its cores."""
    return f"{jax.devices()[0].device_kind}: {processor()}, {cores()} cores"


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Returns the name of the processor, or the machine's."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found.group(1) if found else platform.processor() or platform.machine()
