"""Where and when a figure was measured: what stands beside every result."""

import os
import platform
import re
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax


def provenance(*packages: str) -> dict[str, Any]:
    """Returns the date, the device and the versions of Python and of the packages named."""
    return {
        "date": date.today().isoformat(),
        "device": f"{jax.devices()[0].device_kind}: {_processor()}, {_cores()} cores",
        "versions": {package: version(package) for package in packages} | {"python": platform.python_version()},
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found.group(1) if found else platform.processor() or platform.machine()
