"""What the steps of a model are called: the function of a rule, the line of its call."""

import linecache
import re
from pathlib import Path
from typing import Any

from jax.extend.core import Jaxpr, JaxprEqn
from jax.extend.core.primitives import custom_vjp_call_p
from jax.extend.source_info_util import summarize

FRAME = re.compile(r"(?P<file>.+?):(?P<line>\d+)(?::\d+)? \(.*\)")
NOT_THE_CALLERS = ("/jaxtyping/", "/beartype/", "<@beartype", "/jbackprop/layers/static_arguments")
OUR_OWN = Path(__file__).parent  # where the trace begins


def step_name(equation: JaxprEqn, rules: list[str]) -> str:
    """Returns the name of a rule, a primitive, or `scan of 12: linear, relu` where `rules` are inside."""
    rule = rule_name(equation)
    if rule is not None:
        return rule
    name = equation.primitive.name
    if name in ("custom_jvp_call", "call_hi_primitive"):
        name = _function_name(equation.params.get("call_jaxpr")) or name
    if not rules:
        return name
    length = f" of {equation.params['length']}" if name == "scan" else ""
    return f"{name}{length}: {', '.join(rules)}"


def rule_name(equation: JaxprEqn) -> str | None:
    """Returns the name of the function whose rule an equation calls, None where it calls none itself."""
    if equation.primitive is custom_vjp_call_p:
        return _function_name(equation.params["call_jaxpr"]) or "custom_vjp"
    if equation.primitive.name != "call_hi_primitive":
        return None
    primitive = equation.params["_prim"]  # JAX_CUSTOM_VJP3=1, see inline.py
    while hasattr(primitive, "prim"):
        primitive = primitive.prim
    kind = type(primitive).__name__
    if kind not in ("CustomVJPTraced", "OptRemat"):
        return None
    traced = primitive.traced if kind == "CustomVJPTraced" else primitive.traced_fwd
    return _function_name(traced.jaxpr) or "custom_vjp"


def _function_name(jaxpr: Any) -> str:
    """Returns the name of the Python function that a jaxpr was traced from, nothing where that is not known."""
    info = getattr(opened(jaxpr), "debug_info", None) if jaxpr is not None else None
    return (getattr(info, "func_src_info", None) or "").split(" at ")[0]


def place(equation: JaxprEqn) -> str:
    """Returns file and line of the call: the innermost frame of the caller's own code, else of any package's."""
    file, line = _frame(equation)
    return f"{Path(file).name}:{line}" if file else ""


def line_of_code(equation: JaxprEqn) -> str:
    """Returns the text of that line, nothing where the file cannot be read."""
    file, line = _frame(equation)
    return linecache.getline(file, int(line)).strip() if file else ""


def _frame(equation: JaxprEqn) -> tuple[str, str]:
    places = []
    for line in reversed(summarize(equation.source_info, 100).splitlines()):  # innermost first
        frame = FRAME.fullmatch(line)
        if frame is None:
            continue
        if Path(frame["file"]).parent == OUR_OWN:
            break
        if not any(part in frame["file"] for part in NOT_THE_CALLERS):
            places.append((frame["file"], frame["line"]))
    own = [place for place in places if "site-packages" not in place[0]]
    return next(iter(own or places), ("", ""))


def opened(jaxpr: Any) -> Any:
    """Returns a closed jaxpr without its constants; before JAX 0.11 it is a box around a jaxpr."""
    return jaxpr if isinstance(jaxpr, Jaxpr) else jaxpr.jaxpr
