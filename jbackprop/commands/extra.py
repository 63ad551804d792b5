"""Commands that need the packages of the extra `train`."""

from collections.abc import Callable

from jbackprop.commands.options import misuse

EXTRA = (
    "PIL",
    "filelock",
    "grain",
    "importlib_resources",
    "matplotlib",
    "msgspec",
    "optax",
    "orbax",
    "rich",
    "sklearn",
    "tensorflow_datasets",
    "tyro",
)


def with_extra(command: str, work: Callable[[], int]) -> int:
    """Returns `work()`'s exit code; where a package of the extra is missing, says what to install and returns 2."""
    try:
        return work()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in EXTRA:
            raise
        return misuse(command, f"{error.name} is missing: pip install 'jbackprop[train]'")
