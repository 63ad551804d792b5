"""What the numbers of a run depend on beside its configuration: versions and device."""

import platform
from importlib.metadata import PackageNotFoundError, version

import jax

PACKAGES = ("jbackprop", "jax", "jaxlib", "numpy", "optax")


def versions() -> dict[str, str | None]:
    """Returns the versions of the packages that compute, None for one that is not installed, and of Python."""
    return {package: _version(package) for package in PACKAGES} | {"python": platform.python_version()}


def device() -> str:
    """Returns what computes: the accelerator or processor, the system and the machine."""
    return f"{jax.devices()[0].device_kind}, {platform.system()} {platform.machine()}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # run from its source folder
        return None
