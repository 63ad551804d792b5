"""Rules and networks of the registry by the names that the command line takes."""

import difflib

from jbackprop.verify.case import NetworkCase, RuleCase
from jbackprop.verify.cases import RULES
from jbackprop.verify.network_cases import NETWORKS, network_case


class UnknownName(Exception):
    """No rule and no network has that name. The message names the closest."""


def find(name: str) -> RuleCase | NetworkCase:
    """Returns the rule of that name, or the network (`cnn` is its plain form `cnn_max`). Raises `UnknownName`."""
    for case in RULES:
        if case.name == name:
            return case
    try:
        return network_case(name)
    except ValueError as error:
        raise UnknownName(_hint(name)) from error


def _hint(name: str) -> str:
    known = [case.name for case in RULES] + [case.name for case in NETWORKS]
    close = difflib.get_close_matches(name, known, n=3)
    if close:
        return f"no rule or network is called {name!r}: did you mean {' or '.join(close)}?"
    return f"no rule or network is called {name!r}: `jbackprop list` shows all"
