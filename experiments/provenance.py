"""Where and when a figure was measured: what stands beside every result."""

from datetime import date
from typing import Any

from jbackprop.bench.machine import device
from jbackprop.installed import versions


def provenance(*packages: str) -> dict[str, Any]:
    """Returns the date, the device and the versions of Python and of the packages named."""
    return {
        "date": date.today().isoformat(),
        "device": device(),
        "versions": versions(packages),
    }
