"""One run by several processes, on one machine or many: who they are, that they agree to stop, and what if one is lost.

Each process is started with the same configuration and its own number:

    jbackprop train CONFIG --mesh.data 2 --distributed.coordinator 10.0.0.1:1234 --distributed.processes 2 \\
        --distributed.process 0

All of them compute the same run; process 0 alone writes its folder. What a flag does not give is taken from
`JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`; the coordinator `auto` leaves all three to JAX,
which knows Slurm, Open MPI and Kubernetes.
"""

import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import numpy as np

from jbackprop.training import lock
from jbackprop.training.config import Config, ConfigError, Distributed
from jbackprop.training.interrupt import Request, Stop
from jbackprop.training.run_error import RunError

ADDRESS, PROCESSES, PROCESS = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
AUTO = "auto"
CONNECT_SECONDS, SILENT_SECONDS = 60, 20
LONGEST_WORDS = 8192  # a path has 4096 at most
DONE, REFUSED = b"+", b"-"
LOOPBACK = ("127.0.0.1", "localhost")
STATUS = re.compile(r"(UNKNOWN|UNAVAILABLE|INTERNAL|ABORTED|CANCELLED|DEADLINE_EXCEEDED|FAILED_PRECONDITION): ")


class LostError(Exception):
    """Another process of the run has ended. The message says what is left of the run, and how it goes on."""


def given(config: Distributed) -> Distributed | None:
    """Returns the settings, completed from the environment; None for a run of one process.

    Raises `ConfigError` for what is missing or makes no sense.

    >>> given(Distributed(coordinator="10.0.0.1:1234", processes=2, process=1)).process
    1
    """
    coordinator = config.coordinator or os.environ.get(ADDRESS)
    processes = _number("processes", config.processes, PROCESSES)
    process = _number("process", config.process, PROCESS)
    if coordinator is None:
        for key, value in (("processes", config.processes), ("process", config.process)):
            if value is not None:
                raise ConfigError(
                    f"distributed.{key}: where is the coordinator? Set distributed.coordinator", _key(key)
                )
        return None
    if coordinator == AUTO:
        return Distributed(coordinator=AUTO)
    if not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise ConfigError(f"distributed.coordinator: expected host:port, got {coordinator!r}", _key("coordinator"))
    if processes is None or process is None:
        key, name = ("processes", PROCESSES) if processes is None else ("process", PROCESS)
        raise ConfigError(f"distributed.{key}: not given, and {name} is not set", _key(key))
    if process >= processes:
        last = processes - 1
        raise ConfigError(f"distributed.process: {process} of {processes}; they are 0 to {last}", _key("process"))
    return Distributed(coordinator=coordinator, processes=processes, process=process)


def _key(key: str) -> str:
    return f"distributed.{key}"


def _number(key: str, value: int | None, variable: str) -> int | None:
    text = os.environ.get(variable)
    if value is not None or text is None:
        return value
    if not text.isdecimal():
        raise ConfigError(f"distributed.{key}: {variable} is {text!r}, no number", _key(key))
    return int(text)


def join(config: Config) -> Config:
    """Joins the other processes, where there are any; returns the configuration without its share in them.

    Has to be called before anything is computed. Raises `ConfigError`.
    """
    settings = given(config.distributed)
    if settings is None:
        return config
    import jax

    arguments: dict[str, Any] = {}
    if settings.coordinator != AUTO:
        arguments = {
            "coordinator_address": settings.coordinator,
            "num_processes": settings.processes,
            "process_id": settings.process,
            "cluster_detection_method": "deactivate",
        }
        if str(settings.coordinator).rpartition(":")[0] in LOOPBACK:
            arguments["coordinator_bind_address"] = settings.coordinator  # else all interfaces of the machine
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM away from us
    try:
        jax.distributed.initialize(
            **arguments,
            initialization_timeout=CONNECT_SECONDS,
            heartbeat_timeout_seconds=SILENT_SECONDS,
            shutdown_timeout_seconds=CONNECT_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"distributed.coordinator: no connection: {reason}", _key("coordinator")) from error
    return msgspec.structs.replace(config, distributed=Distributed())


def processes() -> int:
    """Returns how many processes share the run."""
    import jax

    return jax.process_count()


def writes() -> bool:
    """Whether this process is the one that writes the run folder and talks."""
    import jax

    return jax.process_index() == 0


def agreed(stop: Stop) -> Stop:
    """Returns a `stop` that is true for all processes as soon as it is for one: all of them have to ask it together."""
    if processes() == 1 or not isinstance(stop, Request):
        return stop

    def anywhere() -> signal.Signals | None:
        from jax.experimental import multihost_utils

        number = int(np.max(multihost_utils.process_allgather(np.int32(stop.signal or 0))))
        return signal.Signals(number) if number else None

    return Request(anywhere)


def of_first(value: int) -> int:
    """Returns what process 0 says, in every process: time, for one, is not the same for all."""
    if processes() == 1:
        return value
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def shared_folder(new: Callable[[], Path]) -> Path:
    """Returns the run folder that process 0 has made, in every process. Raises `RunError` where it could not."""
    if processes() == 1:
        return new()
    return Path(os.fsdecode(_by_first(lambda: os.fsencode(new().resolve()))))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of the run folder in process 0. Raises `RunError`, in every process, where another run has it."""
    with ExitStack() as held:

        def take() -> bytes:
            held.enter_context(lock.locked(folder))
            return b""

        if processes() == 1:
            take()
        else:
            _by_first(take)
        yield


def _by_first(work: Callable[[], bytes]) -> bytes:
    """Returns what process 0 has got by `work`, or raises its `RunError`, in every process."""
    from jax.experimental import multihost_utils

    said = b""
    if writes():
        try:
            said = DONE + work()
        except RunError as error:
            said = REFUSED + os.fsencode(str(error))[: LONGEST_WORDS - 1]
    letters = np.zeros(LONGEST_WORDS, np.uint8)
    letters[: len(said)] = np.frombuffer(said, np.uint8)
    said = bytes(multihost_utils.broadcast_one_to_all(letters)).rstrip(b"\0")
    if said.startswith(REFUSED):
        raise RunError(os.fsdecode(said[1:]))
    return said[1:]


@contextmanager
def own_folder(shared: Path) -> Iterator[Path]:
    """Yields the run folder in process 0; in the others one that takes what they would have written, and is removed."""
    if writes():
        yield shared
        return
    with tempfile.TemporaryDirectory(prefix="jbackprop-") as folder:
        yield Path(folder)


@contextmanager
def watched(folder: Path | None = None) -> Iterator[None]:
    """Raises `LostError` where the body fails since another process has gone. `folder` is that of the run, if any."""
    try:
        yield
    except (RuntimeError, ValueError, TimeoutError) as error:  # of XLA, of gloo, of orbax' barriers
        lost = isinstance(error, TimeoutError) or STATUS.match(str(error))
        if processes() == 1 or not lost:
            raise
        left = "there is no run folder yet"
        if folder:
            left = f"what is left is its last checkpoint; to go on, with any mesh: jbackprop train --resume {folder}"
        raise LostError(f"another process of this run has ended ({_reason(error)}); {left}") from error


def _reason(error: Exception) -> str:
    first = str(error).partition("\n")[0]
    return STATUS.sub("", re.sub(r"\[\S+\] ", "", first))


def leave(code: int) -> NoReturn:
    """Ends this process at once: JAX's own farewell would wait for the process that has gone, and then abort."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
