"""Where and when a figure was measured: what stands beside every result."""

import platform
from datetime import date
from importlib.metadata import version
from typing import Any

import jax

from jbackprop.bench.machine import cores, processor


def provenance(*packages: str) -> dict[str, Any]:
    """Returns the date, the device and the versions of Python and of the packages named."""
    return {
        "date": date.today().isoformat(),
        "device": f"{jax.devices()[0].device_kind}: {processor()}, {cores()} cores",
        "versions": {package: version(package) for package in packages} | {"python": platform.python_version()},
    }
