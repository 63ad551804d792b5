"""`jbackprop check package.module:function --arg SPEC ...`."""

import argparse
import contextlib
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from jbackprop import compare_vjp
from jbackprop.commands.check_call import CallError, arranged, named_once, read_arguments, read_static
from jbackprop.commands.find_function import Function, NotFound, find_function
from jbackprop.commands.options import TERMINAL, Misuse, fraction, joined, misuse, require_writable, whole, write
from jbackprop.commands.user_errors import described
from jbackprop.verify.argument_specs import GRAMMAR, needs_x64
from jbackprop.verify.drawn_arguments import SpecError, draw
from jbackprop.verify.html import html
from jbackprop.verify.report import Report
from jbackprop.verify.report_json import report_json

WRONG = 1
EXAMPLES = """examples:
  jbackprop check my_layers:scale --arg "f32[8,16]" --arg "f32[16]"
  jbackprop check losses.py:cross_entropy --arg "f32[8,10]" --arg "i32[8]<10" --static reduction=none
  jbackprop check my_layers:attention --arg "f32[2,5,8]" --arg "mask=bool[5,5]" --html report.html

exit code: 0 right, 1 wrong, 2 misuse"""


def main(arguments: Sequence[str]) -> int:
    """Checks one function of the user's and prints the report; returns 0 where it is right, 1 where it is wrong."""
    options = _parser().parse_args(joined(arguments))
    if options.function is None and options.json not in (None, TERMINAL):
        options.function, options.json = options.json, TERMINAL  # `check --json module:function`
    try:
        if options.function is None:
            raise Misuse("which function? For example: jbackprop check my_layers:scale --arg 'f32[8,16]'")
        require_writable(options.html, options.json)
        # What the user's module prints must not stand in front of the JSON.
        with contextlib.redirect_stdout(sys.stderr) if options.json == TERMINAL else contextlib.nullcontext():
            report = _report(options, f"jbackprop check {shlex.join(arguments)}")
        return _show(report, options)
    except (Misuse, CallError, NotFound, SpecError) as error:
        return misuse("check", error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jbackprop check",
        usage="jbackprop check FUNCTION --arg SPEC [--arg SPEC ...] [--static NAME=VALUE ...] [options]",
        description="Check the gradient of a function of yours, with custom rules in it, against JAX's own.",
        epilog=f"{GRAMMAR}\n\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "function",
        nargs="?",
        metavar="FUNCTION",
        help="package.module:function or folder/file.py:function, from the current directory on",
    )
    add("--arg", action="append", default=[], metavar="SPEC", help="the next argument, drawn at random (below)")
    add("--static", action="append", default=[], metavar="NAME=VALUE", help="an option, such as n=3 or padding=SAME")
    add("--reference", metavar="FUNCTION", help="compare with this function, not with the rule's own primal")
    add("--seed", type=whole(0, 2**32 - 1), default=0, metavar="S", help="of the arguments and cotangents (default: 0)")
    add("--seeds", type=whole(1, 1000), default=1, metavar="N", help="try N seeds from --seed on (default: 1)")
    add("--kinks", choices=("subgradient", "match"), help="at a kink accept any subgradient (default), or JAX's alone")
    words = "accept this error, a fraction of max|g|, in place of the bounds that follow from the dtype"
    add("--rtol", type=fraction, metavar="R", help=words)
    add("--nondiff", action="append", default=[], metavar="NAME", help="an argument that is not differentiated")
    words = "a check to leave out: vmap, scan, second order, ... (a wrong name lists them)"
    add("--skip", action="append", default=[], metavar="CHECK", help=words)
    add(
        "--devices",
        type=whole(1, 64),
        default=4,
        metavar="N",
        help="simulated CPU devices, to shard over (default: 4)",
    )
    add("--json", nargs="?", const=TERMINAL, metavar="FILE", help="write JSON into FILE, or alone on the terminal")
    add("--html", metavar="FILE", help="write a page with pictures of the gradients into FILE")
    return parser


def _report(options: argparse.Namespace, command: str) -> Report:
    positional, named = read_arguments(options.arg)
    static = read_static(options.static)
    given = named_once(named, static)
    _simulate_devices(options.devices)
    with jax.enable_x64(True) if needs_x64((positional, named)) else contextlib.nullcontext():
        f = find_function(options.function)
        choices = _choices(options, static)
        args, kwargs = arranged(f, options.function.rpartition(":")[2], positional, given)
        return replace(
            _worst(f, args, kwargs, choices, range(options.seed, options.seed + options.seeds)), call=command
        )


def _choices(options: argparse.Namespace, static: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `compare_vjp` that differ from its defaults."""
    # A Python float of a custom_vjp would be differentiated; here it was called static.
    nondiff = {*options.nondiff, *(name for name, value in static.items() if isinstance(value, float | complex))}
    chosen = {"rtol": options.rtol, "kinks": options.kinks, "nondiff": sorted(nondiff), "skip": options.skip}
    if options.reference:
        chosen["reference"] = find_function(options.reference)
    return {name: value for name, value in chosen.items() if value not in (None, [])}


def _worst(f: Function, args: Any, kwargs: dict[str, Any], choices: Mapping[str, Any], seeds: Sequence[int]) -> Report:
    """The report of the first seed that shows an error, else of the first one; a note says which seeds were right."""
    first: Report | None = None
    for i, seed in enumerate(seeds):
        drawn, named = draw((args, kwargs), (seed,))
        with _words_for_errors():
            report = compare_vjp(f, *drawn, kwargs=named, seed=seed, **choices)
        first = first or report
        if not report.ok:
            right = f", right with {_listed(seeds[:i])}" if i else ""
            return _noted(report, f"note: wrong with seed {seed}{right}") if len(seeds) > 1 else report
    assert first is not None
    return _noted(first, f"note: right with {_listed(seeds)}") if len(seeds) > 1 else first


def _show(report: Report, options: argparse.Namespace) -> int:
    text = json.dumps(report_json(report), indent=2, allow_nan=False) if options.json else ""
    said = sys.stderr if options.json == TERMINAL else sys.stdout
    print(text if options.json == TERMINAL else report)
    if options.json not in (None, TERMINAL):
        write(Path(options.json), text + "\n")
        print(f"json: {options.json}", file=said)
    if options.html:
        write(Path(options.html), html(report))
        print(f"page: {options.html}", file=said)
    return 0 if report.ok else WRONG


def _simulate_devices(count: int) -> None:
    # Too late where JAX has started already, in a session of Python that calls this function.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", count)


@contextlib.contextmanager
def _words_for_errors() -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:  # of the user's function or of the way it is called
        if str(error).startswith("compare_vjp: "):
            raise Misuse(str(error).removeprefix("compare_vjp: ")) from error
        raise Misuse(f"the function cannot be checked with these arguments: {described(error)}") from error


def _noted(report: Report, note: str) -> Report:
    return replace(report, notes=(*report.notes, note))


def _listed(seeds: Sequence[int]) -> str:
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
