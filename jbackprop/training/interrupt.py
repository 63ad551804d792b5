"""Ctrl-C and SIGTERM as requests to stop at the next good moment, so that a run ends with its files written."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Stop = Callable[[], bool]
STDERR = 2
NOTES = {
    signal.SIGINT: b"\nstopping at the next good moment; Ctrl-C again stops at once\n",
    signal.SIGTERM: b"\nSIGTERM: saving a checkpoint; SIGTERM again stops at once\n",
}
NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Terminated(BaseException):
    """SIGTERM where nothing can be saved: before the first step, or for the second time."""


class Request:
    """A `Stop` that knows which signal asked: the one it is given, or the one that `asked` says at each call."""

    def __init__(self, asked: Callable[[], signal.Signals | None] | None = None) -> None:
        self.signal: signal.Signals | None = None
        self.asked = asked

    def __call__(self) -> bool:
        if self.asked:
            self.signal = self.asked()
        return self.signal is not None


def never() -> bool:
    """The `stop` of a caller who wants no interruption."""
    return False


def terminated(stop: Stop) -> bool:
    """Whether SIGTERM asked to stop: then little time is left."""
    return isinstance(stop, Request) and stop.signal == signal.SIGTERM


def name(stop: Stop) -> str:
    """Returns what asked to stop."""
    return NAMES[signal.SIGTERM if terminated(stop) else signal.SIGINT]


def at_once(stop: Stop) -> BaseException:
    """Returns what to raise where there is nothing to save."""
    return Terminated() if terminated(stop) else KeyboardInterrupt()


@contextmanager
def interruptible() -> Iterator[Stop]:
    """Yields a function that says whether Ctrl-C or SIGTERM came.

    A second signal raises KeyboardInterrupt, or `Terminated`. The handlers found are put back at the end. Outside the
    main thread Python allows no handler: nothing is changed.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, frame: object) -> None:
        again, request.signal = request(), signal.Signals(number)
        if again:
            raise at_once(request)
        os.write(STDERR, NOTES[request.signal])  # print() may be what was interrupted

    before = {number: signal.signal(number, note) for number in NOTES}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
