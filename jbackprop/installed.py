"""The versions that stand beside whatever was measured or trained."""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Returns the version of each package, None for one that is not installed, and that of Python.

    >>> versions(["numpi"])["numpi"] is None
    True
    """
    return {package: _version(package) for package in packages} | {"python": platform.python_version()}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # run from its source folder, or an extra
        return None
