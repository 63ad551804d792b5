"""What the rows of a model say, one sentence for each finding, the most telling first."""

from collections.abc import Sequence
from typing import Any

from jbackprop.verify.model_call import ModelCall
from jbackprop.verify.model_chain import Measured, Precision
from jbackprop.verify.model_culprit import sentence
from jbackprop.verify.model_explicit import explicit_sentence
from jbackprop.verify.model_nonfinite import backward_entry, forward_entry, kind_within
from jbackprop.verify.model_report import LayerRows, ParameterRow
from jbackprop.verify.model_rows import loss_judgement


def findings(
    call: ModelCall,
    given: Precision,
    wide: Precision | None,
    rows: Sequence[LayerRows],
    parameters: Sequence[ParameterRow],
    losses: tuple[Any, Any],
    seed: int,
) -> tuple[str, ...]:
    """Returns nothing where all is right; `losses` are the explicit function's, in the given dtypes and in float64."""
    nonfinite = _nonfinite(call, given)
    if nonfinite:  # what a rule makes of a NaN that enters elsewhere says nothing about the rule
        return tuple(nonfinite)
    return (
        *_culprits(rows, given, wide, seed),
        *_chain_alone(rows, given.measured, parameters),
        *_explicit_findings(call, given, wide, parameters, losses),
    )


def _nonfinite(call: ModelCall, given: Precision) -> list[str]:
    measured = given.measured
    if kind_within([measured.automatic.loss]):
        return [forward_entry(given.program, given.inputs, call.names)]
    found = []
    if measured.rules and kind_within(measured.rules.grads):
        found.append(backward_entry(given.program, given.inputs, call.differentiated, rules=True))
    elif kind_within(measured.automatic.grads):
        found.append(backward_entry(given.program, given.inputs, call.differentiated, rules=False))
    return [sentence for sentence in found if sentence]


def _culprits(rows: Sequence[LayerRows], given: Precision, wide: Precision | None, seed: int) -> list[str]:
    """Returns a sentence for each wrong layer, the one that the cotangents meet first in full."""
    wrong = [k for k in reversed(range(len(rows))) if not rows[k].ok]
    if not wrong:
        return []
    k = wrong[0]
    first = sentence(k, rows[k], given, wide, seed)
    return [first, *(f"wrong by itself as well: {rows[k].title}" for k in wrong[1:])]


def _chain_alone(rows: Sequence[LayerRows], measured: Measured, parameters: Sequence[ParameterRow]) -> list[str]:
    """Returns what is wrong with the chain of rules where each layer is right by itself."""
    wrong = [row.path for row in parameters if not row.rules_ok]
    if not wrong or not all(row.ok for row in rows):
        return []
    if measured.failure:
        return [f"every layer is right by itself, the chain of rules does not run: {measured.failure}"]
    return [f"every layer is right by itself, the gradient by rules of {', '.join(wrong)} is not"]


def _explicit_findings(
    call: ModelCall,
    given: Precision,
    wide: Precision | None,
    parameters: Sequence[ParameterRow],
    losses: tuple[Any, Any],
) -> list[str]:
    found = [explicit_sentence(given.program, parameters, call.differentiated)]
    if losses[0] is not None:
        leaves = [given.inputs[i] for i in call.differentiated]
        value = loss_judgement(given.measured, wide and wide.measured, *losses, leaves)
        found += [f"explicit: its loss is not the model's: {value.wrong}"] if value.wrong else []
    return [sentence for sentence in found if sentence]
