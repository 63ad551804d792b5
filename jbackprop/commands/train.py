"""`jbackprop train CONFIG [--field value ...]`."""

import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jbackprop.commands.extra import with_extra
from jbackprop.commands.options import MISUSE, misuse
from jbackprop.training.interrupt import Stop, Terminated, interruptible, terminated

USAGE = """usage: jbackprop train CONFIG [--FIELD VALUE ...]
       jbackprop train --resume RUN [--epochs N]

Trains a network as the TOML file CONFIG says, in a new folder below runs/. Any field can be given on the command line:

  jbackprop train configs/digits_two_layer.toml --epochs 3 --optimizer.learning-rate 0.1

--resume goes on with the run in the folder RUN, stopped by Ctrl-C, SIGTERM or a crash, from its last checkpoint: bit
for bit as if it had not been stopped. --epochs makes it longer.

With --check-every k, every k-th step holds its gradient against the automatic one; certificate.json says what it found.

`jbackprop train CONFIG --help` lists the fields with the values that CONFIG gives them.
"""
FAILED, INTERRUPTED, TERMINATED = 1, 130, 143


def main(arguments: Sequence[str]) -> int:
    """Trains. Returns the exit code: 0, 1 (the loss diverged or gradients disagree), 2 (misuse), 130 (Ctrl-C), 143
    (SIGTERM).
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="", file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else MISUSE
    resumed, rest = _resumed(arguments)
    if resumed == "" or (resumed is None and rest[0].startswith("-")):
        wanted = "--resume needs the folder of a run" if resumed == "" else "the configuration file comes first"
        return misuse("train", f"{wanted}, got {' '.join(arguments)!r}\n\n{USAGE}")
    command = shlex.join(["jbackprop", "train", *arguments])
    return with_extra("train", lambda: _train(rest, None if resumed is None else Path(resumed), command))


def _resumed(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Returns what follows `--resume`, "" where nothing does, None without it; and the other arguments."""
    rest = list(arguments)
    for i, argument in enumerate(rest):
        if argument.startswith("--resume="):
            return argument.partition("=")[2], rest[:i] + rest[i + 1 :]
        if argument == "--resume":
            folder = rest[i + 1] if i + 1 < len(rest) and not rest[i + 1].startswith("-") else ""
            return folder, rest[:i] + rest[i + 2 :]
    return None, rest


def _train(arguments: Sequence[str], resumed: Path | None, command: str) -> int:
    import msgspec

    from jbackprop.training import resume
    from jbackprop.training.config import ConfigError, from_builtins, read
    from jbackprop.training.run import RunError
    from jbackprop.training.saved_run import read_config

    try:
        before = read_config(resumed) if resumed else None
        if arguments and not arguments[0].startswith("-"):
            path, overrides = arguments[0], arguments[1:]
            in_file = read(Path(path))
        else:
            assert before is not None
            path, overrides, in_file = f"{resumed}/config.toml", arguments, before
        named = msgspec.structs.replace(in_file, name=in_file.name or Path(path).stem)
        chosen = _overridden(named, path, overrides)
        origin = partial(_origin, path, msgspec.to_builtins(named), chosen)
        config = from_builtins(chosen, origin)
        if resumed and before:
            _check_resumed(resumed, before, config, origin)
    except (ConfigError, RunError) as error:
        return misuse("train", error)
    except resume.Finished as error:
        print(error)
        return 0
    # From here on a KeyboardInterrupt could be lost in one of JAX's garbage collection callbacks, which swallow it.
    with interruptible() as stop:
        try:
            return _run(config, origin, stop, resumed, command)
        except Terminated:
            print("jbackprop train: stopped by SIGTERM", file=sys.stderr)
            return TERMINATED


def _check_resumed(folder: Path, before: Any, config: Any, origin: Callable[[str], str]) -> None:
    from jbackprop.training import resume
    from jbackprop.training.config import ConfigError

    try:
        resume.check(folder, before, config)
    except ConfigError as error:
        raise ConfigError(f"{origin(error.key)}: {error}", error.key) from error


def _run(config: Any, origin: Callable[[str], str], stop: Stop, resumed: Path | None, command: str) -> int:
    from rich.console import Console

    from jbackprop.training import distributed
    from jbackprop.training.config import ConfigError
    from jbackprop.training.data import DataError
    from jbackprop.training.run import RunError
    from jbackprop.training.summary import summary
    from jbackprop.training.train import train

    try:
        with warnings.catch_warnings(), distributed.watched():
            warnings.showwarning = lambda message, *_: print(f"jbackprop train: {message}", file=sys.stderr)
            config = distributed.join(config)
            console, stop = Console(quiet=not distributed.writes()), distributed.agreed(stop)
            result = train(config, console, stop, resumed, command)
    except distributed.LostError as error:
        print(f"jbackprop train: {error}", file=sys.stderr)
        distributed.leave(FAILED)
    except ConfigError as error:
        return misuse("train", f"{origin(error.key)}: {error}")
    except (DataError, RunError) as error:
        return misuse("train", error)
    if distributed.writes():
        console.print(summary(result), soft_wrap=True, highlight=False, markup=False)
    if result.interrupted:
        return TERMINATED if terminated(stop) else INTERRUPTED
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
