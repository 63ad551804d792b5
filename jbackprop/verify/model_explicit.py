"""Where an explicit backward pass goes wrong, as far as its gradients show."""

from collections.abc import Sequence

from jbackprop.verify.model_report import ParameterRow
from jbackprop.verify.model_steps import Program


def explicit_sentence(model: Program, rows: Sequence[ParameterRow], differentiated: Sequence[int]) -> str:
    """Returns which parameters the explicit gradient has wrong, the last layer's first, and what that says.

    The backward pass meets the last layer first: a mistake there spoils all below it, one in a formula of a parameter
    spoils that parameter alone.
    """
    places = [_first_use(model, node) for node in differentiated]
    order = sorted(range(len(rows)), key=lambda i: (-places[i], i))
    wrong = [i for i in order if not rows[i].explicit_ok]
    right = [i for i in order if rows[i].explicit_ok]
    if not wrong:
        return ""
    if not right:
        return "explicit: no parameter agrees: the mistake lies at the loss or in the last layer"
    first, last = places[wrong[0]], places[wrong[-1]]
    above = [i for i in right if places[i] > first]
    not_above = [i for i in right if places[i] <= first]
    of_wrong, verb = _names(rows, wrong), "does" if len(wrong) == 1 else "do"
    start = f"explicit: {_names(rows, right)} {'agrees' if len(right) == 1 else 'agree'}, {of_wrong} {verb} not"
    if any(places[i] < last for i in right) or any(places[i] == first for i in right):
        what = "the gradient" if len(wrong) == 1 else "the gradients"
        return f"{start}: the cotangents arrive right, the mistake lies in {what} of {of_wrong}"
    if above and not not_above:
        return f"{start}: the mistake lies between them"
    return f"{start}: the backward pass first goes wrong at {rows[wrong[0]].path}"


def _first_use(model: Program, node: int) -> int:
    return next((i for i, step in enumerate(model.steps) if node in step.inputs), len(model.steps))


def _names(rows: Sequence[ParameterRow], chosen: Sequence[int]) -> str:
    *most, last = (rows[i].path for i in chosen)
    return f"{', '.join(most)} and {last}" if most else last
