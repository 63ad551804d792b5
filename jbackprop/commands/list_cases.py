"""`jbackprop list`."""

import argparse
import shutil
from collections.abc import Sequence

from jbackprop.commands.table import table


def main(arguments: Sequence[str]) -> int:
    """Prints the rules and the networks of the registry."""
    argparse.ArgumentParser(prog="jbackprop list", description="List the rules and networks.").parse_args(arguments)
    from jbackprop.verify.cases import RULES
    from jbackprop.verify.network_cases import NETWORKS

    free = max(shutil.get_terminal_size((150, 24)).columns, 80) - 24  # what the names and the gaps leave
    rules = [(rule.name, rule.formula, rule.residuals, rule.source) for rule in RULES]
    widths = (None, free * 55 // 100, free * 22 // 100, free * 22 // 100)
    print(f"{len(RULES)} rules: the cotangents of the arguments, what is kept between the passes, the source\n")
    print(table(("rule", "cotangents", "residuals", "source"), rules, widths))
    networks = [(network.name, network.formula, network.source) for network in NETWORKS]
    print(f"\n{len(NETWORKS)} networks, each with an explicit backward pass\n")
    print(table(("network", "formula", "source"), networks, (None, free * 70 // 100, free * 28 // 100)))
    print(
        "\n`jbackprop explain NAME` shows the code, `jbackprop compare NAME` compares it with automatic differentiation"
    )
    return 0
