"""A wrong layer looked at more closely: a kink or a mistake, which mistake, and which rule inside a `scan`."""

import contextlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.verify.clause_names import CLAUSES
from jbackprop.verify.compare import compare_vjp
from jbackprop.verify.compiling import BARELY_OPTIMISED
from jbackprop.verify.float64 import float64_scope
from jbackprop.verify.model_chain import Layer, Measured, Precision, by_itself
from jbackprop.verify.model_judge import Pair, judge, multiple
from jbackprop.verify.model_report import LayerRows
from jbackprop.verify.model_rows import layer_arithmetic, own_pair
from jbackprop.verify.model_steps import Step, rules_within
from jbackprop.verify.report import Report

NUDGE = 1e-3  # of max|x|: far enough from a kink or a tie


def at_a_kink(k: int, step: Step, given: Measured, seed: int) -> bool:
    """Whether layer `k` differs from autodiff at a kink or tie alone, and by a subgradient there.

    Away from these inputs the difference must vanish, and at them the checker must accept the rule.
    """
    if given.own[k] is None:
        return False
    layer = given.automatic.layers[k]
    generator = np.random.default_rng(seed)
    inputs = [_nudged(generator, x) if i in step.active else x for i, x in enumerate(layer.inputs)]

    def both(inputs: Any, d_outputs: Any) -> Any:
        return tuple(by_itself(step, inputs, d_outputs, rules) for rules in (True, False))

    rule, oracle = jax.jit(both, compiler_options=BARELY_OPTIMISED)(inputs, layer.d_outputs)
    computed = layer_arithmetic(k, step, given, None)
    pairs = [
        *zip(rule.d_inputs, oracle.d_inputs, strict=True),
        *((rule.outputs[i], oracle.outputs[i]) for i in step.floats),
    ]
    if not all(judge(Pair(*pair, None, None), pair[1].dtype, computed).ok for pair in pairs):
        return False
    report = examined(step, layer, seed)
    return report is not None and all(row.ok for row in report.rows)


def examined(step: Step, layer: Layer, seed: int) -> Report | None:
    """Returns the checker's report of the rule at the values that it has in the model, or None where it fails."""

    def rule(*active: Any) -> Any:
        values = list(layer.inputs)
        for i, value in zip(step.active, active, strict=True):
            values[i] = value
        return step.run(*values)

    rule.__name__ = step.name
    try:
        return compare_vjp(rule, *(jnp.asarray(layer.inputs[i]) for i in step.active), seed=seed, skip=CLAUSES)
    except Exception:  # what the model found stands without it
        return None


def sentence(k: int, rows: LayerRows, given: Precision, wide: Precision | None, seed: int) -> str:
    """Returns what is wrong with layer `k`, as far as numbers and the checker's hypotheses say."""
    step = given.program.layers[k]
    if k in given.measured.errors:
        return f"the rule of {rows.title} does not run: {given.measured.errors[k]}"
    outputs, inputs = rows.rows[: len(step.floats)], rows.rows[len(step.floats) :]
    values = [row.verdict.removeprefix("wrong: ") for row in outputs if not row.ok]
    if values:
        return f"{rows.title} has another value under differentiation: {', '.join(values)}"
    both = given.measured, wide.measured if wide else None
    said = {i: _multiple(own_pair(k, "d_inputs", i, *both)) for i, row in enumerate(inputs) if not row.ok}
    if not all(said.values()):
        with float64_scope() if wide else contextlib.nullcontext():  # where only the formula counts
            finest = wide or given
            report = examined(finest.program.layers[k], finest.measured.automatic.layers[k], seed)
        names = [row.value for row in inputs]
        said |= {i: _diagnosed(report, i, names) or inputs[i].verdict for i, words in said.items() if not words}
    of_each = "; ".join(f"its cotangent of {inputs[i].value}: {words}" for i, words in said.items())
    return f"the cotangent parts from the automatic one in {rows.title}: {of_each}{_suspects(step, seed)}"


def _multiple(pair: Pair | None) -> str:
    return "" if pair is None else multiple(pair)


def _diagnosed(report: Report | None, i: int, names: Sequence[str]) -> str:
    """Returns what the checker calls the mistake in the cotangent of argument `i`, nothing where it does not know."""
    if report is None or i >= len(report.rows):
        return ""
    found = [d.sentence for d in report.diagnoses if d.argument == report.rows[i].argument and d.kind != "unexplained"]
    sentence = next(iter(found), "")
    for n, name in enumerate(names):
        sentence = sentence.replace(f"active[{n}]", name)
    return sentence


def _suspects(step: Step, seed: int) -> str:
    """Names the wrong rules inside a `scan` or another equation, by their cotangents at random inputs."""
    inside = list(rules_within(step.jaxpr))
    if len(inside) == 1 and inside[0][0] == step.name:
        return ""
    generator = np.random.default_rng(seed)
    wrong: dict[str, None] = {}
    for name, jaxpr in inside:
        values = [_random(generator, aval) for aval in jaxpr.in_avals]
        active = tuple(i for i, x in enumerate(values) if jnp.issubdtype(x.dtype, jnp.inexact))
        alone = step._replace(name=name, jaxpr=jaxpr, active=active)
        report = examined(alone, Layer(tuple(values), (), (), ()), seed) if name not in wrong and active else None
        if report is not None and report.wrong:
            wrong[name] = None
    return f"; inside it {', '.join(wrong)}, at random inputs, has a wrong cotangent" if wrong else ""


def _nudged(generator: np.random.Generator, x: Any) -> Any:
    with float64_scope():
        scale = NUDGE * float(np.max(np.abs(np.asarray(x).astype(np.complex128)), initial=0.0)) or NUDGE
    return jnp.asarray(np.asarray(x) + (scale * generator.standard_normal(x.shape)).astype(x.dtype))


def _random(generator: np.random.Generator, aval: Any) -> Any:
    if jnp.issubdtype(aval.dtype, jnp.inexact):
        return jnp.asarray(generator.standard_normal(aval.shape).astype(aval.dtype))
    return jnp.zeros(aval.shape, aval.dtype)
