"""A file that appears whole or not at all, whatever happens while it is written."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write(target: Path, to: Callable[[Path], Any]) -> None:
    """Calls `to(path)` with another path in the same folder and renames it."""
    # the number keeps two processes apart, the end of the name is that by which writers choose the format
    partial = target.with_name(f".partial-{os.getpid()}-{target.name}")
    try:
        to(partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
