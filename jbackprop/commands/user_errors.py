"""Errors of the user's own code in one line, with the place in their file."""

import sysconfig
import traceback
from pathlib import Path

import jbackprop

OURS = tuple(str(Path(jbackprop.__path__[0], part)) for part in ("bench", "commands", "verify", "cli.py", "testing.py"))
PACKAGES = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})
MACHINERY = {"jax", "jaxlib", "jaxtyping", "beartype"}  # packages that are never the place of a user's mistake
STANDARD = sysconfig.get_path("stdlib")


def described(error: BaseException) -> str:
    """Returns the type and first line of an error's message, and the file and line of the user's code it comes from.

    >>> described(KeyError("w"))
    "KeyError: 'w'"
    """
    found = f"{type(error).__name__}: {first_line(error)}".removesuffix(": ")
    place = _place(error)
    return f"{found} ({place})" if place else found


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message that says anything."""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    return next((line.strip() for line in message.splitlines() if line.strip()), "")


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    others = [f for f in frames if not f.filename.startswith(OURS) and not MACHINERY & set(Path(f.filename).parts)]
    users = [f for f in others if not f.filename.startswith((*PACKAGES, STANDARD))]
    packages = [f for f in others if f.filename.startswith(PACKAGES)]
    places = users or packages or frames  # the last: a mistake of ours, whose place helps who mends it
    return f"{_shown(places[-1].filename)}:{places[-1].lineno}" if places else ""


def _shown(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
