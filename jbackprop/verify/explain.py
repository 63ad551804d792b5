"""What is wrong in words: each finding of a comparison as a named mistake."""

import contextlib
import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.verify import clause_names
from jbackprop.verify.arguments import Call
from jbackprop.verify.bounds import coarsest_epsilon, epsilon
from jbackprop.verify.clauses import SIDES_WITH_THE_RULE
from jbackprop.verify.contract import name_of
from jbackprop.verify.cotangents import another
from jbackprop.verify.diagnosis import Setting, diagnose
from jbackprop.verify.distance import as_double
from jbackprop.verify.kinks import Kinks
from jbackprop.verify.measure import Comparison
from jbackprop.verify.paths import paths_of
from jbackprop.verify.report import Check, Diagnosis, Row
from jbackprop.verify.rule import Rule, arrays, pulled_back
from jbackprop.verify.run import run_at
from jbackprop.verify.verdict import spoken

SOME_ROUNDINGS = 32
LESS = 300  # by which a long sum lessens the error of its terms
ROUNDED = 1e3  # times as large in the caller's dtype as in float64 is what rounding grows to
CLOSE = 1e-6  # a formula error that float32 hardly shows
STOPPED = "autodiff of the primal stops a gradient that the rule lets through: if it should, give a `reference`"
MATCH = "autodiff makes another choice there, which kinks='match' demands"
BY_CLAUSE = {  # the kind of mistake that a broken clause of the contract is, by the beginning of its name
    clause_names.RUNS: "structure",
    clause_names.TYPES_OF_FWD: "structure",
    clause_names.TYPES_OF_BWD: "structure",
    clause_names.VALUE: "value",
    clause_names.VALUE_OF_REFERENCE: "value",
    clause_names.PURE: "impure",
    clause_names.LINEAR: "not linear",
    clause_names.ZERO: "not linear",
    clause_names.JIT: "batching",
    clause_names.VMAP: "batching",
    clause_names.SCAN: "batching",
    clause_names.CHECKPOINT: "batching",
    clause_names.DEVICES: "batching",
    clause_names.SECOND_ORDER: "second order",
    clause_names.ONE_AT_A_TIME: "zero",
    clause_names.DIFFERENCES: "unexplained",
}


def explain(
    call: Call,
    comparison: Comparison | None,
    rows: Sequence[Row],
    checks: Sequence[Check],
    kinks: Kinks,
    raw: Mapping[str, np.ndarray],
    notes: Sequence[str],
    oracle: Callable[..., Any],
) -> tuple[Diagnosis, ...]:
    """Returns a diagnosis for each wrong row, and one for each broken clause where no row tells more."""
    broken = [(_kind(check), check) for check in checks if not check.ok]
    impure = [Diagnosis("", kind, f"{check.name}: {check.detail}") for kind, check in broken if kind == "impure"]
    wrong = [row for row in rows if row.verdict.startswith("wrong")]
    setting = _setting(call, comparison, kinks, raw, oracle) if wrong and comparison and not impure else None
    narrow = _narrower_than_the_oracle(comparison)
    if impure:  # everything else is compared with something else each time
        return tuple(impure)
    stopped = SIDES_WITH_THE_RULE in notes
    of_rows = [_of_row(row, setting, narrow, stopped) for row in wrong]
    if not stopped and comparison is not None and kinks.forgiven:
        places = {name_of(call, i): words for i, words in kinks.forgiven.items()}
        declined = [Diagnosis(row.argument, "ties", f"{places.get(row.argument)}: {MATCH}") for row in wrong]
        of_rows = [d if d.argument in places else one for d, one in zip(declined, of_rows, strict=True)]
    of_checks = [
        Diagnosis("", kind, f"{check.name}: {check.detail}" if check.detail else f"not: {check.name}")
        for kind, check in broken
        if kind in ("value", "batching") or not of_rows or "it returns" in check.detail
    ]
    return (*of_checks, *of_rows)


def raw_of_wrong_shape(rule: Rule | None, call: Call, d_out: Sequence[Any]) -> dict[str, np.ndarray]:
    """Returns what `bwd` itself gives for the arguments whose cotangent has another shape than they, by leaf name."""
    if rule is None or not rule.plain:
        return {}
    try:
        out, residuals = rule.fwd(*rule.args)
        cotangent = jax.tree.unflatten(jax.tree.structure(out), list(map(jnp.asarray, d_out)))
        returned = pulled_back(rule, residuals, cotangent)
        found = {}
        for name, argument, ct in zip(rule.array_names, arrays(rule), returned, strict=True):
            for path, leaf in jax.tree_util.tree_leaves_with_path(ct):
                wanted = dict(jax.tree_util.tree_leaves_with_path(argument)).get(path)
                if wanted is not None and np.shape(wanted) != np.shape(leaf):
                    found[name + jax.tree_util.keystr(path)] = as_double(leaf)
        return found
    except Exception:  # it is the rule that is looked at: whatever is wrong with it has been reported
        return {}


def _kind(check: Check) -> str:
    if check.name == clause_names.TYPES_OF_FWD and _dtypes_alone(check.detail):
        return "dtype"
    return next(kind for start, kind in BY_CLAUSE.items() if check.name.startswith(start))


def _dtypes_alone(detail: str) -> bool:
    """Whether the two types of `... for ...` differ in nothing but their dtypes."""
    found, _, wanted = (re.sub(r"[a-z]+\d+\[", "[", part) for part in detail.partition(" for "))
    return found == wanted


def _narrower_than_the_oracle(comparison: Comparison | None) -> float:
    """Returns the epsilon of a dtype that the rule computes in and the oracle does not, else 0."""
    if comparison is None or comparison.rule64 is None or comparison.oracle64 is None:
        return 0.0
    rule, oracle = (coarsest_epsilon(run.jaxpr) for run in (comparison.rule64, comparison.oracle64))
    return rule if rule > oracle else 0.0


def _of_row(row: Row, setting: Setting | None, narrow: float, stopped: bool) -> Diagnosis:
    words = row.verdict.removeprefix("wrong: ")
    if words.startswith("None"):
        return Diagnosis(row.argument, "zero", "bwd returns None, which stands for a gradient of zero")
    if words.startswith("tree "):
        return Diagnosis(row.argument, "structure", words)
    if words.startswith("cotangent is") and words.split("[")[0].split(",")[0].split()[2] != row.dtype:
        return Diagnosis(row.argument, "dtype", f"{words.split(', ')[0]}: cast it, `.astype({row.argument}.dtype)`")
    if row.formula_error is not None and narrow / LESS < row.formula_error < SOME_ROUNDINGS * narrow:
        digits = f"{-math.log10(narrow):.0f} digits"
        return Diagnosis(row.argument, "accuracy", f"right to {digits}: the rule computes in a narrower dtype than f")
    if words.startswith("rounding error"):
        narrow_sums = row.dtype in ("bfloat16", "float16")
        remedy = "sum in float32 and cast once at the end" if narrow_sums else "autodiff's formula loses fewer digits"
        sizes = words.removeprefix("rounding error ")
        return Diagnosis(row.argument, "accuracy", f"the formula is right, the rounding is not: {sizes}; {remedy}")
    if stopped:  # the rule is right by the values themselves, so it is the oracle that differs
        return Diagnosis(row.argument, "unexplained", STOPPED)
    found = None
    if setting is not None:
        names = setting.names
        with contextlib.suppress(Exception):  # a hypothesis that does not fit these shapes must not cost the verdict
            found = diagnose(setting, names.index(row.argument))
    if found is None and words.startswith("NaN or infinity"):
        return Diagnosis(
            row.argument, "nan", "a NaN or infinity of the right gradient comes out as a number, or is made"
        )
    if found is None and words.startswith("cotangent is"):
        return Diagnosis(row.argument, "structure", words)
    close = row.formula_error is not None and row.formula_error < CLOSE
    if close and (found is None or "each place" in found.sentence):
        digits = f"{-math.log10(row.formula_error or CLOSE):.0f} digits"
        of_dtype = SOME_ROUNDINGS * epsilon(row.dtype)
        if (row.value_error or 0.0) > max(ROUNDED * (row.formula_error or 0.0), of_dtype):
            given, wide = spoken(row.value_error or 0.0), spoken(row.formula_error or 0.0)
            lost = f"the formula loses digits here: off by {given} of max|g| in {row.dtype}, by {wide} in float64"
            return Diagnosis(row.argument, "accuracy", lost)
        return Diagnosis(row.argument, "accuracy", f"right to {digits}: an approximation, which an `rtol` accepts")
    return found or Diagnosis(row.argument, "unexplained", "no mistake of the list explains it; see its picture")


def _unknown(bent: np.ndarray, mask: np.ndarray, right: Any) -> np.ndarray:
    """Returns the ties that a diagnosis looks past: where the rule is wrong elsewhere too, and that tells enough."""
    enough = bool(np.any(~bent & (as_double(right) != 0))) and not mask.any()
    return bent if enough else np.zeros_like(bent)


def _setting(
    call: Call, comparison: Comparison, kinks: Kinks, raw: Mapping[str, np.ndarray], oracle_of: Callable[..., Any]
) -> Setting:
    rule, oracle = comparison.rule64, comparison.oracle64
    wide = rule is not None and oracle is not None and comparison.run64 is not None
    if rule is None or oracle is None:
        rule, oracle = comparison.rule, comparison.oracle
    values = next(iter(oracle.pulled.values())).values
    pulled = {name: (rule.pulled[name], oracle.pulled[name]) for name in oracle.pulled}
    named = {**comparison.cotangents, "another random": another(comparison.cotangents)}
    if "another random" not in pulled:  # of large arrays, where one is enough to see a mistake and not to name it
        ours, theirs = run_at(comparison, comparison.inputs, named["another random"])
        pulled["another random"] = (ours, theirs)
    bounds = [leaf.bounds.formula if wide else leaf.bounds.repeated for leaf in comparison.leaves]
    return Setting(
        names=tuple(name_of(call, i) for i in range(len(comparison.inputs))),
        inputs=tuple(map(as_double, comparison.inputs)),
        outputs=tuple(map(as_double, values)),
        cotangents={name: tuple(map(as_double, named[name])) for name in pulled},
        manual={name: tuple(map(as_double, ours.cotangents)) for name, (ours, _) in pulled.items()},
        oracle={name: tuple(map(as_double, theirs.cotangents)) for name, (_, theirs) in pulled.items()},
        pull=lambda inputs, d_out: list(map(as_double, run_at(comparison, inputs, d_out)[1].cotangents)),
        tolerance=min(max(1e-9, 100 * max(bounds)), 1e-2),
        kinked=kinks.masks,
        unknown=tuple(map(_unknown, kinks.bent, kinks.masks, oracle.pulled["random"].cotangents)),
        raw=raw,
        fixed={
            call.names[position]: as_double(leaf)
            for position, leaf in enumerate(call.leaves)
            if position not in call.differentiated and _is_array_of_numbers(leaf)
        },
        parts=functools.cache(lambda: paths_of(oracle_of, call, comparison.traced64)),
    )


def _is_array_of_numbers(leaf: Any) -> bool:
    """Whether a leaf is an array, and not one of random keys or of words."""
    if not isinstance(leaf, np.ndarray | jax.Array) or leaf.size < 2:
        return False
    return jnp.issubdtype(leaf.dtype, jnp.number) or leaf.dtype == bool
