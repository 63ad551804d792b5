"""What the numbers of a run depend on beside its configuration: versions and device."""

import platform

import jax

from jbackprop import installed

PACKAGES = ("jbackprop", "jax", "jaxlib", "numpy", "optax")


def versions() -> dict[str, str | None]:
    """Returns the versions of the packages that compute, None for one that is not installed, and of Python."""
    return installed.versions(PACKAGES)


def device() -> str:
    """Returns what computes: the accelerator or processor, the system and the machine."""
    return f"{jax.devices()[0].device_kind}, {platform.system()} {platform.machine()}"
