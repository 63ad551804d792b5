"""`jbackprop train CONFIG [--field value ...]`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jbackprop.training.interrupt import Stop, interruptible

USAGE = """usage: jbackprop train CONFIG [--FIELD VALUE ...]

Trains a network as the TOML file CONFIG says, in a new folder below runs/. Any field can be given on the command line:

  jbackprop train configs/digits_two_layer.toml --epochs 3 --optimizer.learning-rate 0.1

`jbackprop train CONFIG --help` lists the fields with the values that CONFIG gives them.
"""
FAILED, MISUSE, INTERRUPTED = 1, 2, 130
EXTRA = ("importlib_resources", "matplotlib", "msgspec", "optax", "rich", "sklearn", "tensorflow_datasets", "tyro")


def main(arguments: Sequence[str]) -> int:
    """Trains and returns the exit code: 0, 1 (the loss diverged), 2 (misuse) or 130 (Ctrl-C)."""
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
    from jbackprop.training.config import ConfigError, read

    try:
        config = _overridden(read(Path(path)), path, overrides)
    except ConfigError as error:
        return _misuse(error)
    # From here on a KeyboardInterrupt could be lost in one of JAX's garbage collection callbacks, which swallow it.
    with interruptible() as stop:
        return _run(config, stop)


def _run(config: Any, stop: Stop) -> int:
    from rich.console import Console

    from jbackprop.training.config import ConfigError
    from jbackprop.training.data import DataError
    from jbackprop.training.run import RunError
    from jbackprop.training.summary import summary
    from jbackprop.training.train import train

    console = Console()
    try:
        result = train(config, console, stop)
    except (ConfigError, DataError, RunError) as error:
        return _misuse(error)
    console.print(summary(result), soft_wrap=True, highlight=False, markup=False)
    if result.interrupted:
        return INTERRUPTED
    return FAILED if result.ended else 0


def _overridden(config: Any, path: str, overrides: Sequence[str]) -> Any:
    """Returns the configuration with the command line's fields; tyro itself exits with 2 on what it cannot read."""
    import msgspec
    import tyro

    from jbackprop.training.config import Config, from_builtins

    named = msgspec.structs.replace(config, name=config.name or Path(path).stem)
    prog, description = f"jbackprop train {path}", "Trains a network; the defaults are those of the file."
    chosen = tyro.cli(Config, prog=prog, description=description, default=named, args=list(overrides))
    return from_builtins(msgspec.to_builtins(chosen), "command line")


def _misuse(error: Exception) -> int:
    print(f"jbackprop train: {error}", file=sys.stderr)
    return MISUSE
