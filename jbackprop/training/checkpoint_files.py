"""The folders of checkpoints: their names, their checksums, which is the best, and which are removed."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from jbackprop.training import run

FOLDER, CHECKSUMS, BEST = "checkpoints", "checksums.json", "best.json"


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
    """Raises `Damaged` unless every file of a checkpoint is there and as it was written."""
    try:
        sums = json.loads((path / CHECKSUMS).read_text(encoding="utf-8"))
        missing = next((file for file in sums if not (path / file).is_file()), None)
        wrong = next((file for file, wanted in sums.items() if not missing and _sha256(path / file) != wanted), None)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise Damaged(f"{path} is damaged ({CHECKSUMS}: {type(error).__name__})") from error
    if missing or not sums:
        raise Damaged(f"{path} is damaged ({missing or 'everything'} is missing)")
    if wrong:
        raise Damaged(f"{path} is damaged ({wrong} is not what was written)")


def mark_best(folder: Path, name: str, accuracy: float) -> None:
    """Writes the name of a new checkpoint to `best.json` if none before it has a better test accuracy."""
    before = best(folder)
    if before is None or accuracy > before["test_accuracy"]:
        text = json.dumps({"checkpoint": name, "test_accuracy": accuracy}) + "\n"
        run.write(folder / BEST, lambda path: path.write_text(text, encoding="utf-8"))


def best(folder: Path) -> dict[str, Any] | None:
    """Returns `checkpoint`, the name of the best one, and its `test_accuracy`; None where there is none."""
    try:
        found = json.loads((folder / BEST).read_text(encoding="utf-8"))
        known = {"checkpoint": str(found["checkpoint"]), "test_accuracy": float(found["test_accuracy"])}
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return known if place(known["checkpoint"]) and (folder / known["checkpoint"]).is_dir() else None


def remove_old(folder: Path, keep: int) -> None:
    """Removes all but the last `keep` checkpoints and the best one, and what killed processes have left."""
    kept = {*names(folder)[:keep], (best(folder) or {}).get("checkpoint")}
    for path in folder.iterdir():
        if path.is_dir() and path.name not in kept:
            remove(path)


def remove_after(folder: Path, last: str | None) -> None:
    """Removes the checkpoints after `last`, all of them for None: what the run does now comes in their place."""
    for name in names(folder):
        if last is None or place(name) > place(last):
            remove(folder / name)


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
