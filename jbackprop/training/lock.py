"""One process at a time trains into a run folder: a file there says which one, and counts only while that one lives."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from jbackprop.training.run import RunError

LOCK = ".lock"
WRITTEN_WITHIN = 1.0  # seconds from the making of a lock to its last letter; one that is empty for longer was torn

SAME_BIRTH = 2.0  # seconds; it is reckoned from the time of the start of the machine, which is rounded


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a run folder. Raises `RunError` where another process holds it, or it cannot be written.

    The lock of a process that has ended without removing it, by SIGKILL for example, is taken over; one of another
    machine is not, since nothing is known of its processes here.
    """
    path, mine = folder / LOCK, _this_process()
    try:
        _take(path, mine)
    except OSError as error:
        raise RunError(f"{folder} cannot be locked ({error.strerror or error})") from error
    try:
        yield
    finally:
        if _holder(path) == mine:
            path.unlink(missing_ok=True)


def _take(path: Path, mine: dict[str, Any]) -> None:
    text = json.dumps(mine)
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
        return
    except FileExistsError:
        holder = _holder(path)
    if holder and _may_live(holder):
        raise RunError(_refusal(path, holder))
    beside = path.with_name(f"{LOCK}-{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
    time.sleep(0.1)  # of two processes that take over at once, the last one has it
    holder = _holder(path)
    if holder != mine:
        raise RunError(_refusal(path, holder or mine))


def _refusal(path: Path, holder: dict[str, Any]) -> str:
    here = holder["host"] == socket.gethostname()
    where = "" if here else f" on {holder['host']}"
    hint = "" if here else f"; if that one has ended, remove {path}"
    return f"{path.parent} is in use: process {holder['pid']}{where} is training into it{hint}"


def _this_process() -> dict[str, Any]:
    # with its time of birth: numbers of processes are given again, in a container often to the same program
    return {"pid": os.getpid(), "born": psutil.Process().create_time(), "host": socket.gethostname()}


def _holder(path: Path) -> dict[str, Any] | None:
    """Returns the process that a lock names, None where there is none or it was torn while it was written."""
    end = time.monotonic() + WRITTEN_WITHIN
    while True:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {"pid": int(found["pid"]), "born": float(found["born"]), "host": str(found["host"])}
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError):
            if time.monotonic() > end:
                return None
            time.sleep(0.05)


def _may_live(holder: dict[str, Any]) -> bool:
    if holder["host"] != socket.gethostname():
        return True
    try:
        process = psutil.Process(holder["pid"])
        return abs(process.create_time() - holder["born"]) < SAME_BIRTH and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
