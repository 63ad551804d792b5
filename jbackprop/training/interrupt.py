"""Ctrl-C as a request to stop at the next good moment, so that a run ends with its files written."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Stop = Callable[[], bool]
STDERR = 2
NOTE = b"\nstopping at the next good moment; Ctrl-C again stops at once\n"


def never() -> bool:
    """The `stop` of a caller who wants no interruption."""
    return False


@contextmanager
def interruptible() -> Iterator[Stop]:
    """Yields a function that says whether Ctrl-C was pressed; pressed again, it is the usual KeyboardInterrupt.

    The handler found is put back at the end. Outside the main thread Python allows no handler: nothing is changed.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return

    def request(signum, frame) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        os.write(STDERR, NOTE)  # print() may be what was interrupted

    before = signal.signal(signal.SIGINT, request)
    try:
        yield requested.is_set
    finally:
        signal.signal(signal.SIGINT, before)
