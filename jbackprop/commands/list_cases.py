"""`jbackprop list`."""

import argparse
import shutil
import textwrap
from collections.abc import Sequence
from functools import partial

from jbackprop.commands.table import table

NARROW = 80


def main(arguments: Sequence[str]) -> int:
    """Prints the rules and the networks of the registry."""
    argparse.ArgumentParser(prog="jbackprop list", description="List the rules and networks.").parse_args(arguments)
    from jbackprop.verify.cases import RULES
    from jbackprop.verify.network_cases import NETWORKS

    width = shutil.get_terminal_size((150, 24)).columns
    rules = [(rule.name, rule.formula, rule.residuals, rule.source) for rule in RULES]
    free = _beside_the_names(rules, width)
    widths = (None, free * 55 // 100, free * 22 // 100, free * 22 // 100)
    headers = ("rule", "cotangents", "residuals", "source")
    say = partial(_say, width=width)
    say(f"{len(RULES)} rules: the cotangents of the arguments, what is kept between the passes, the source\n")
    print(table(headers, rules, widths) if width >= NARROW else stacked(rules, width))
    networks = [(network.name, network.formula, network.source) for network in NETWORKS]
    free = _beside_the_names(networks, width)
    widths, headers = (None, free * 70 // 100, free * 28 // 100), ("network", "formula", "source")
    say(f"\n{len(NETWORKS)} networks, each with an explicit backward pass\n")
    print(table(headers, networks, widths) if width >= NARROW else stacked(networks, width))
    say(
        "\n`jbackprop explain NAME` shows the code, `jbackprop compare NAME` compares it with automatic differentiation"
    )
    return 0


def _beside_the_names(rows: Sequence[Sequence[str]], width: int) -> int:
    gaps = 2 * (len(rows[0]) - 1)
    return width - gaps - max(len(name) for name, *_ in rows)


def stacked(rows: Sequence[Sequence[str]], width: int) -> str:
    """Returns each row as its name and the other cells below it, for a terminal too narrow for a table.

    >>> print(stacked([("relu", "dz = da 1[z > 0]")], width=12))
    relu
      dz = da
      1[z > 0]
    """
    lines = []
    for name, *cells in rows:
        lines.append(name)
        for cell in cells:
            lines += textwrap.wrap(cell, max(width, 12), initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)


def _say(text: str, width: int) -> None:
    print("\n".join(textwrap.fill(line, max(width, 12)) for line in text.split("\n")))
