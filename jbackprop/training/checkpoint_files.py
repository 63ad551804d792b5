"""The folders of checkpoints: their names, their checksums, which is the best, and which are removed."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from jbackprop import whole_file
from jbackprop.training.run_error import RunError

FOLDER, CHECKSUMS, BEST, DAMAGED = "checkpoints", "checksums.json", "best.json", ".damaged-"
MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class Damaged(Exception):
    """A checkpoint is not what was written. The message says which file, and what is wrong with it."""


def place(name: str) -> tuple[int, ...]:
    """Returns the complete epochs, and the steps after them, of a checkpoint by its name; nothing for another name.

    >>> place("12"), place("12+7"), place(".partial-12"), place("best.json")
    ((12, 0), (12, 7), (), ())
    """
    parts = name.split("+")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() for part in parts):
        return ()
    return int(parts[0]), int(parts[1]) if len(parts) == 2 else 0


def names(folder: Path) -> list[str]:
    """Returns the names of the complete checkpoints in a folder, the last one first."""
    found = [path.name for path in folder.iterdir() if place(path.name)] if folder.is_dir() else []
    return sorted(found, key=place, reverse=True)


def seal(partial: Path, target: Path) -> None:
    """Writes the checksum of every file in `partial` beside it, and renames the folder: it is complete."""
    files = [path for path in sorted(partial.rglob("*")) if path.is_file()]
    sums = {str(path.relative_to(partial)): _sha256(path) for path in files}
    (partial / CHECKSUMS).write_text(json.dumps(sums, indent=1) + "\n", encoding="utf-8")
    remove(target)
    os.rename(partial, target)


def verify(path: Path) -> None:
    """Raises `Damaged` unless every file of a checkpoint is there and as it was written.

    Raises `RunError` where that cannot be found out, for want of permission for example.
    """
    try:
        sums = json.loads((path / CHECKSUMS).read_text(encoding="utf-8"))
        problems = [f"{file} is {wrong}" for file, wanted in sums.items() if (wrong := _wrong(path / file, wanted))]
    except (*MISSING, ValueError, TypeError, AttributeError) as error:
        raise Damaged(f"{path} is damaged ({CHECKSUMS}: {type(error).__name__})") from error
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error}); nothing has been changed") from error
    if problems or not sums:
        raise Damaged(f"{path} is damaged ({problems[0] if problems else 'everything is missing'})")


def _wrong(path: Path, wanted: str) -> str:
    try:
        return "" if _sha256(path) == wanted else "not what was written"
    except MISSING:
        return "missing"


def mark_best(folder: Path, name: str, accuracy: float) -> None:
    """Writes the name of a new checkpoint to `best.json` if none before it has a better test accuracy."""
    before = best(folder)
    if before is None or accuracy > before["test_accuracy"]:
        text = json.dumps({"checkpoint": name, "test_accuracy": accuracy}) + "\n"
        whole_file.write(folder / BEST, lambda path: path.write_text(text, encoding="utf-8"))


def best(folder: Path) -> dict[str, Any] | None:
    """Returns `checkpoint`, the name of the best one, and its `test_accuracy`; None where there is none."""
    try:
        found = json.loads((folder / BEST).read_text(encoding="utf-8"))
        known = {"checkpoint": str(found["checkpoint"]), "test_accuracy": float(found["test_accuracy"])}
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return known if place(known["checkpoint"]) and (folder / known["checkpoint"]).is_dir() else None


def remove_old(folder: Path, keep: int) -> None:
    """Removes all but the last `keep` checkpoints, the best, and the damaged; also what killed processes have left."""
    kept = {*names(folder)[:keep], (best(folder) or {}).get("checkpoint")}
    for path in folder.iterdir():
        if path.is_dir() and path.name not in kept and not path.name.startswith(DAMAGED):
            remove(path)


def set_aside_after(folder: Path, last: str | None) -> None:
    """Renames the checkpoints after `last`, all of them for None, to `.damaged-N`: others come in their place."""
    for name in names(folder):
        if last is None or place(name) > place(last):
            taken = {path.name for path in folder.iterdir()}
            numbers = ("", *(f"-{count}" for count in range(2, len(taken) + 2)))
            free = next(f"{DAMAGED}{name}{number}" for number in numbers if f"{DAMAGED}{name}{number}" not in taken)
            os.rename(folder / name, folder / free)


def remove(path: Path) -> None:
    """Removes a folder, if it is there, so that it is never seen half removed."""
    if path.exists():
        gone = path.with_name(f".removed-{path.name.lstrip('.')}")
        if gone != path:
            shutil.rmtree(gone, ignore_errors=True)
            os.rename(path, gone)
        shutil.rmtree(gone)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
