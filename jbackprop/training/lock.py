"""One process at a time trains into a run folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from jbackprop.training.run_error import RunError

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a run folder, which the system takes back from a process that ends in whatever way.

    Raises `RunError` where another process holds it, or it cannot be written.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise RunError(f"{folder} is in use: another process is training into it") from None
    except OSError as error:
        raise RunError(f"{folder} cannot be locked ({error.strerror or error})") from error
    try:
        yield
    finally:
        lock.release()
