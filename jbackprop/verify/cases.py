"""The registry: every rule once, with what it is compared with and where it is probed.

Tests, `compare`, `list`, `explain` and the tables of the documents are loops over `RULES`. A new rule is a file in
`layers/`, a row in one of the four tables named here, and a derivation page.
"""

import difflib

from jbackprop.verify.case import RuleCase
from jbackprop.verify.cases_dense import DENSE_RULES
from jbackprop.verify.cases_elementwise import ELEMENTWISE_RULES
from jbackprop.verify.cases_losses import LOSS_RULES
from jbackprop.verify.cases_spatial import SPATIAL_RULES

RULES: tuple[RuleCase, ...] = (*DENSE_RULES, *ELEMENTWISE_RULES, *LOSS_RULES, *SPATIAL_RULES)


def rule_case(name: str) -> RuleCase:
    """Returns the row of that name; raises ValueError with the closest names otherwise.

    >>> rule_case("linear").formula
    'dx = dy wᵀ    dw = xᵀ dy    db = Σ_n dy_n'
    """
    by_name = {case.name: case for case in RULES}
    if name not in by_name:
        close = difflib.get_close_matches(name, by_name, n=3) or list(by_name)
        raise ValueError(f"rule_case: no rule is called {name!r}: did you mean {', '.join(close)}?")
    return by_name[name]
