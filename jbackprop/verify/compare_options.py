"""The options of `compare_vjp`, refused in words where they are of another kind."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from jbackprop.verify.clause_names import CLAUSES


def require_numbers(rtol: Any, seed: Any, seeds: Any) -> None:
    """Raises TypeError or ValueError where one is no number of its kind."""
    if rtol is not None and not (isinstance(rtol, Real) and 0 <= float(rtol) < np.inf):
        raise _of_kind(rtol, Real)(f"compare_vjp: rtol is a fraction of max|g| from 0 on, such as 1e-3, not {rtol!r}")
    if not isinstance(seed, int | np.integer) or seed < 0:
        kind = _of_kind(seed, int | np.integer)
        raise kind(f"compare_vjp: seed is a whole number from 0 on, not {_shown(seed)}")
    if not isinstance(seeds, int | np.integer) or seeds < 1:
        kind = _of_kind(seeds, int | np.integer)
        raise kind(f"compare_vjp: seeds is the number of seeds to try, at least 1, not {_shown(seeds)}")


def require_mappings(kwargs: Any, cotangents: Any) -> None:
    """Raises TypeError where one is no dictionary."""
    if kwargs is not None and not isinstance(kwargs, Mapping):
        found = type(kwargs).__name__
        raise TypeError(f"compare_vjp: kwargs is a dictionary of keyword arguments, not a {found}: write {{'w': w}}")
    if cotangents is not None and not isinstance(cotangents, Mapping):
        found = type(cotangents).__name__
        raise TypeError(f"compare_vjp: cotangents are a dictionary by name, not a {found}: write {{'mine': dy}}")


def require_names(nondiff: Sequence[str], kinks: str, skip: Sequence[str]) -> None:
    """Raises ValueError where one is no sequence of names, or no name that there is."""
    if isinstance(nondiff, str):
        raise ValueError(f"compare_vjp: nondiff is a sequence of names, not {nondiff!r}: write ({nondiff!r},)")
    if kinks not in ("subgradient", "match"):
        raise ValueError(f"compare_vjp: kinks is 'subgradient' or 'match', not {kinks!r}")
    if isinstance(skip, str) and skip in CLAUSES:
        raise ValueError(f"compare_vjp: skip is a sequence of names, not {skip!r}: write ({skip!r},)")
    unknown = [clause for clause in skip if clause not in CLAUSES] if not isinstance(skip, str) else [skip]
    if unknown:
        raise ValueError(f"compare_vjp: skip is a sequence of {', '.join(map(repr, CLAUSES))}, not {unknown[0]!r}")


def _of_kind(value: Any, kind: Any) -> type[Exception]:
    return ValueError if isinstance(value, kind) else TypeError


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, int | float | str) else f"a {type(value).__name__}"
