"""What the commands share: words, files, numbers, and the exit code of misuse."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from jbackprop import whole_file

TERMINAL = "-"
MISUSE = 2  # the exit code


class Misuse(Exception):
    """What was asked for cannot be done. The message says why."""


def misuse(command: str, message: object) -> int:
    """Says what is wrong with the command, and returns the exit code of that."""
    print(f"jbackprop {command}: {message}", file=sys.stderr)
    return MISUSE


def require_writable(*names: str | None) -> None:
    """Fails before the work, not after it."""
    for name in names:
        if name and name != TERMINAL and (Path(name).is_dir() or not Path(name).absolute().parent.is_dir()):
            raise Misuse(f"cannot write {name}: {'it is a folder' if Path(name).is_dir() else 'no such folder'}")


def write(path: Path, text: str) -> None:
    """Writes a whole file or none."""
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")  # /dev/stdout
            return
        whole_file.write(path.resolve(), lambda part: part.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise Misuse(f"cannot write {path}: {error.strerror}") from error


def joined(arguments: Sequence[str]) -> list[str]:
    """Makes `--arg X` one word, or argparse takes `-1<f32[4]<1` for an option."""
    words: list[str] = []
    for argument in arguments:
        if words and words[-1] in ("--arg", "--static"):
            words[-1] += f"={argument}"
        else:
            words.append(argument)
    return words


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    """Returns what reads a whole number between these two, for argparse."""

    def read(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"a whole number from {lowest} to {highest}, got {text!r}")
        return int(text)

    return read


def fraction(text: str) -> float:
    """Reads a number that is not negative, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"a number from 0 on, such as 1e-3, got {text!r}")
    return value
