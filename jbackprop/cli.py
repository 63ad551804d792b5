"""`jbackprop COMMAND ...`: one module of `jbackprop.commands` for each of `COMMANDS`."""

import argparse
import difflib
import importlib
import io
import os
import sys
from collections.abc import Sequence

from jbackprop.commands.options import MISUSE

COMMANDS = {
    "train": "train a network on real data as a TOML file says",
    "report": "write a page on one training run, or on several side by side",
    "predict": "classify an image of yours with a trained network",
    "check": "check the gradient of a function of yours",
    "compare": "compare a rule's or a network's hand-written gradient with automatic differentiation",
    "bench": "measure hand-written backward passes against automatic differentiation on this machine",
    "explain": "show a rule's or a network's formula, conventions and code",
    "list": "list the rules and networks",
}
MODULES = {command: command for command in COMMANDS} | {"list": "list_cases"}
INTERRUPTED = 130

EPILOG = """examples:
  jbackprop train configs/digits_two_layer.toml --epochs 3 --optimizer.learning-rate 0.1
  jbackprop report runs/digits_two_layer-20261122-103632
  jbackprop predict runs/digits_two_layer-20261122-103632 seven.png --out answer.png
  jbackprop check my_layers:scale --arg "f32[8,16]" --arg "f32[16]"
  jbackprop compare two_layer
  jbackprop bench max_pool cnn
  jbackprop explain linear
  jbackprop list

`jbackprop COMMAND --help` describes a command.
exit code: 0 right, 1 wrong (gradients disagree, training failed), 2 misuse, 130 stopped by Ctrl-C
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a formula's letters on a terminal that has ASCII alone
    try:
        return _run(arguments)
    except SystemExit as ended:  # of argparse and tyro: 0 after --help, 2 after what they cannot read
        return ended.code if isinstance(ended.code, int) else MISUSE
    except KeyboardInterrupt:
        print("jbackprop: stopped by Ctrl-C", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `jbackprop list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit of Python complains once more
        return 0


def _run(arguments: list[str]) -> int:
    if not arguments:
        _parser().print_help()
        return MISUSE
    command, *rest = arguments
    if command.startswith("-"):
        _parser().parse_args(arguments)
    if command not in COMMANDS:
        close = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(COMMANDS)}"
        print(f"jbackprop: no command {command!r}: {hint}", file=sys.stderr)
        return MISUSE
    module = importlib.import_module(f"jbackprop.commands.{MODULES[command]}")
    code = module.main(rest)
    sys.stdout.flush()  # a closed pipe is met here, not at the exit of Python
    return code


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    table = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="jbackprop",
        usage="jbackprop COMMAND ...",
        description=f"Backpropagation written out by hand in JAX, and proven.\n\ncommands:\n{table}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"jbackprop {_version()}")
    return parser


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("jbackprop")
    except PackageNotFoundError:  # run from its source folder
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
