"""`jbackprop bench [RULE|NETWORK|FUNCTION ...]`."""

import argparse
import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jbackprop.commands.cases import UnknownName, find
from jbackprop.commands.check_call import CallError, arranged, named_once, read_arguments, read_static
from jbackprop.commands.find_function import NotFound, find_function
from jbackprop.commands.options import TERMINAL, Misuse, fraction, joined, misuse, require_writable, write
from jbackprop.commands.table import table
from jbackprop.commands.user_errors import described
from jbackprop.verify.argument_specs import GRAMMAR, needs_x64
from jbackprop.verify.case import RuleCase
from jbackprop.verify.drawn_arguments import SpecError, draw

WRONG = 1
SIZES = ("small", "medium", "large")
DTYPES = ("float32", "bfloat16", "float16", "float64")
SECONDS = 4.0
DEFAULT_NETWORKS = ("two_layer", "mlp", "deep", "cnn")
EXAMPLES = """examples:
  jbackprop bench                                    all rules, and the training steps of four networks
  jbackprop bench max_pool conv2d cnn --size medium
  jbackprop bench --peers --html peers.html          against flax, equinox, torch: pip install 'jbackprop[bench]'
  jbackprop bench my_layers:scale --arg "f32[512,1024]" --arg "f32[1024]"

Time is compared in pairs, in one process and in turns. A row is faster, same (within 2%) or slower only when its 95%
interval says so. Let nothing else run meanwhile.

exit code: 0 measured, 1 two programs that should compute the same do not, 2 misuse"""


def main(arguments: Sequence[str]) -> int:
    """Measures and prints the rows; returns 0, or 1 where a program does not compute what it is measured against."""
    options = _parser().parse_args(joined(arguments))
    if not options.names and options.json and _is_name(options.json):
        options.names, options.json = [options.json], TERMINAL  # `bench --json relu`
    try:
        require_writable(options.html, options.json)
        with contextlib.redirect_stdout(sys.stderr) if options.json == TERMINAL else contextlib.nullcontext():
            results = _results(options) | {"command": f"jbackprop bench {shlex.join(arguments)}".strip()}
            _show(results)
            _save(results, options)
        if options.json == TERMINAL:
            print(json.dumps(results, indent=2, allow_nan=False))
    except (Misuse, CallError, NotFound, SpecError, UnknownName) as error:
        return misuse("bench", error)
    from jbackprop.bench.session import agree

    return 0 if agree(results) else WRONG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jbackprop bench",
        usage="jbackprop bench [RULE|NETWORK|FUNCTION ...] [options]",
        description="Measure hand-written backward passes against automatic differentiation on this machine.",
        epilog=f"{GRAMMAR}\n\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    words = "a rule or network of `jbackprop list`, or a function of yours as package.module:function (default: all)"
    add("names", nargs="*", metavar="NAME", help=words)
    add("--size", choices=SIZES, help="of the arguments that the registry gives (default: small)")
    add("--dtype", choices=DTYPES, help="of these arguments (default: float32)")
    add("--peers", action="store_true", help="training steps by several libraries in place of the rows")
    words = f"of timing for a row, compilation not counted (default: {SECONDS:g})"
    add("--seconds", type=fraction, default=SECONDS, metavar="S", help=words)
    add("--arg", action="append", default=[], metavar="SPEC", help="FUNCTION: the next argument, drawn at random")
    add("--static", action="append", default=[], metavar="NAME=VALUE", help="FUNCTION: an option, such as n=3")
    words = "FUNCTION: measure against this one under autodiff (default: FUNCTION without its custom rules)"
    add("--reference", metavar="FUNCTION", help=words)
    add("--json", nargs="?", const=TERMINAL, metavar="FILE", help="keep the results in FILE, or print them alone")
    add("--html", metavar="FILE", help="write a page with plots into FILE")
    return parser


def _is_name(text: str) -> bool:
    with contextlib.suppress(UnknownName):
        return bool(find(text))
    return ":" in text


def _results(options: argparse.Namespace) -> dict[str, Any]:
    functions = [name for name in options.names if ":" in name]
    if not functions and (options.arg or options.static or options.reference):
        raise Misuse("--arg, --static and --reference go with a function of yours, package.module:function")
    if functions and (len(options.names) > 1 or options.peers):
        raise Misuse(f"{functions[0]} is a function of yours: measure it alone")
    if functions and (options.size or options.dtype):
        raise Misuse(f"--size and --dtype are of the registry's arguments: --arg says those of {functions[0]}")
    options.size, options.dtype = options.size or SIZES[0], options.dtype or DTYPES[0]
    import jax

    described = read_arguments(options.arg)
    wide = needs_x64(described) or options.dtype == "float64"
    with jax.enable_x64(True) if wide else contextlib.nullcontext():
        from jbackprop.bench.session import run

        contests = [_users_contest(functions[0], options, *described)] if functions else _contests(options)
        tasks = _tasks(options) if options.peers else []
        dtype = _dtype_of(contests[0]) if functions else options.dtype
        with _progress(1 + len(contests) + len(tasks)) as say, _words_for_errors(functions):
            return run(contests, tasks, dtype, options.seconds, say)


def _contests(options: argparse.Namespace) -> list[Any]:
    from jbackprop.bench.contests import of_network, of_rule
    from jbackprop.verify.cases import RULES

    if options.peers:
        return []
    names = options.names or [*(case.name for case in RULES), *DEFAULT_NETWORKS]
    found = []
    for case in [find(name) for name in dict.fromkeys(names)]:
        of_case: Callable[..., Any] = of_rule if isinstance(case, RuleCase) else of_network
        of_size = of_case(case, options.size, options.dtype)
        if not of_size and options.names:
            raise Misuse(f"{case.name} has no {options.size} size in the registry")
        found += of_size
    return found


def _tasks(options: argparse.Namespace) -> list[Any]:
    import jax.numpy as jnp

    from jbackprop.bench.peers import MODELS, task

    for name in options.names:
        if name not in MODELS:
            raise Misuse(f"--peers trains {', '.join(MODELS)}, not {name}")
    try:
        import optax  # noqa: F401
    except ModuleNotFoundError:
        raise Misuse("--peers needs optax at least: pip install 'jbackprop[bench]'") from None
    return [task(MODELS[name](), options.size, jnp.dtype(options.dtype)) for name in options.names or MODELS]


def _users_contest(name: str, options: argparse.Namespace, positional: Sequence[Any], named: dict[str, Any]) -> Any:
    from jbackprop.bench.contest import Contest
    from jbackprop.verify.automatic import automatic

    f: Any = find_function(name)
    if isinstance(f, tuple):
        raise Misuse(f"{name} is a pair of passes: give the function that they belong to")
    given = named_once(named, read_static(options.static))
    args, kwargs = arranged(f, name.rpartition(":")[2], positional, given)
    if options.reference:
        reference: Any = find_function(options.reference)
        against = f"autodiff of {options.reference}"
    else:
        reference, against = automatic(f), "autodiff of its own primal"
    args, kwargs = draw((args, kwargs), (0,))
    label = " ".join([*options.arg, *options.static])
    return Contest(name.rpartition(":")[2], label, against, f, reference, lambda: args, kwargs)


def _dtype_of(contest: Any) -> str:
    import jax
    import jax.numpy as jnp

    leaves = jax.tree.leaves((contest.arguments(), contest.kwargs))
    floats = [leaf.dtype for leaf in leaves if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)]
    if not floats:
        raise Misuse("give an array of floats to differentiate by, for example --arg 'f32[512,1024]'")
    return min(floats, key=lambda dtype: dtype.itemsize).name


@contextlib.contextmanager
def _words_for_errors(functions: Sequence[str]) -> Iterator[None]:
    """The user's function may raise anything; what the registry's rules raise is a mistake of ours, and shown whole."""
    if not functions:
        yield
        return
    from jbackprop.bench.programs import NotMeasurable

    try:
        yield
    except NotMeasurable as error:
        raise Misuse(str(error)) from None
    except (Exception, SystemExit) as error:
        raise Misuse(f"the function cannot be measured with these arguments: {described(error)}") from error


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    """A bar where rich is installed and somebody watches, else a line for each measurement."""
    begun: list[str] = []
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    except ModuleNotFoundError:
        watched = None
    else:
        console = Console(stderr=True)
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
        watched = Progress(*columns, console=console, transient=True) if console.is_terminal else None
    if watched is None:

        def line(text: str) -> None:
            begun.append(text)
            print(f"{len(begun)} of {total}: {text}", file=sys.stderr, flush=True)

        yield line
        return
    with watched as bar:
        row = bar.add_task("", total=total)

        def say(text: str) -> None:
            bar.update(row, description=text, completed=len(begun), refresh=True)
            begun.append(text)

        yield say


def _show(results: dict[str, Any]) -> None:
    from jbackprop.bench import text

    print(text.where(results))
    if results["rows"]:
        cells = [text.rule_cells(row) for row in results["rows"]]
        widths = [text.RULE_WIDTH, *[None] * (len(text.RULE_COLUMNS) - 1)]
        print(f"\n{table(text.RULE_COLUMNS, cells, widths)}\n\n{text.WORDS}")
        print(f"\n{text.summary(results['rows'])}")
    for found in results["peers"]:
        print(f"\n{found['model']} {found['label']}, {found['dtype']}\n")
        print(table(text.PEER_COLUMNS, [text.peer_cells(entry) for entry in found["entries"]]) + "\n")
        print("\n".join(text.best_lines(found)))
        for name, why in found["left_out"].items():
            print(f"left out: {name}: {why}")


def _save(results: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json not in (None, TERMINAL):
        write(Path(options.json), json.dumps(results, indent=2, allow_nan=False) + "\n")
        print(f"\nresults: {options.json}")
    if options.html:
        from jbackprop.bench.page import html

        write(Path(options.html), html(results))
        print(f"page: {options.html}")
