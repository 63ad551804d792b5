"""`jbackprop train CONFIG [--field value ...]`."""

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jbackprop.training.interrupt import Stop, interruptible

USAGE = """usage: jbackprop train CONFIG [--FIELD VALUE ...]

Trains a network as the TOML file CONFIG says, in a new folder below runs/. Any field can be given on the command line:

  jbackprop train configs/digits_two_layer.toml --epochs 3 --optimizer.learning-rate 0.1

With --check-every k, every k-th step holds its gradient against the automatic one; certificate.json says what it found.

`jbackprop train CONFIG --help` lists the fields with the values that CONFIG gives them.
"""
FAILED, MISUSE, INTERRUPTED = 1, 2, 130
EXTRA = ("importlib_resources", "matplotlib", "msgspec", "optax", "rich", "sklearn", "tensorflow_datasets", "tyro")


def main(arguments: Sequence[str]) -> int:
    """Trains. Returns the exit code: 0, 1 (the loss diverged or gradients disagree), 2 (misuse), 130 (Ctrl-C)."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="", file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else MISUSE
    if arguments[0].startswith("-"):
        print(f"jbackprop train: the configuration file comes first, got {arguments[0]!r}\n\n{USAGE}", file=sys.stderr)
        return MISUSE
    try:
        return _train(arguments[0], arguments[1:])
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        print(f"jbackprop train: {error.name} is missing: pip install 'jbackprop[train]'", file=sys.stderr)
        return MISUSE


def _train(path: str, overrides: Sequence[str]) -> int:
    import msgspec

    from jbackprop.training.config import ConfigError, from_builtins, read

    try:
        in_file = read(Path(path))
        named = msgspec.structs.replace(in_file, name=in_file.name or Path(path).stem)
        chosen = _overridden(named, path, overrides)
        origin = partial(_origin, path, msgspec.to_builtins(named), chosen)
        config = from_builtins(chosen, origin)
    except ConfigError as error:
        return _misuse(error)
    # From here on a KeyboardInterrupt could be lost in one of JAX's garbage collection callbacks, which swallow it.
    with interruptible() as stop:
        return _run(config, origin, stop)


def _run(config: Any, origin: Callable[[str], str], stop: Stop) -> int:
    from rich.console import Console

    from jbackprop.training.config import ConfigError
    from jbackprop.training.data import DataError
    from jbackprop.training.run import RunError
    from jbackprop.training.summary import summary
    from jbackprop.training.train import train

    console = Console()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"jbackprop train: {message}", file=sys.stderr)
            result = train(config, console, stop)
    except ConfigError as error:
        return _misuse(f"{origin(error.key)}: {error}")
    except (DataError, RunError) as error:
        return _misuse(error)
    console.print(summary(result), soft_wrap=True, highlight=False, markup=False)
    if result.interrupted:
        return INTERRUPTED
    disagree = [found for found in (result.certificate, result.gradients) if found and not found.agree]
    return FAILED if result.ended or disagree else 0


def _overridden(named: Any, path: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Returns the configuration, as dictionaries, with the command line's fields.

    tyro itself exits with 2 on what it cannot read.
    """
    import msgspec
    import tyro

    from jbackprop.training.config import Config

    prog, description = f"jbackprop train {path}", "Trains a network; the defaults are those of the file."
    chosen = tyro.cli(Config, prog=prog, description=description, default=named, args=list(overrides))
    return msgspec.to_builtins(chosen)


def _origin(path: str, in_file: dict[str, Any], chosen: dict[str, Any], key: str) -> str:
    """Returns where the value of `key` is from: the file, unless the command line has changed it."""
    before: Any = in_file
    after: Any = chosen
    for part in key.split("."):
        before, after = (level.get(part) if isinstance(level, dict) else None for level in (before, after))
    return path if before == after else "command line"


def _misuse(error: Exception | str) -> int:
    print(f"jbackprop train: {error}", file=sys.stderr)
    return MISUSE
