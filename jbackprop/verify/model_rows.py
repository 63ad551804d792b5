"""From the two chains of a model to rows: each layer's values with their errors, and each parameter."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from jbackprop.verify.distance import as_double, largest
from jbackprop.verify.model_chain import Measured
from jbackprop.verify.model_judge import Arithmetic, Judgement, Pair, arithmetic, judge
from jbackprop.verify.model_nonfinite import kind_within
from jbackprop.verify.model_report import LayerRows, ParameterRow, ValueRow
from jbackprop.verify.model_steps import Program, Step


def layer_rows(model: Program, names: Sequence[str], given: Measured, wide: Measured | None) -> tuple[LayerRows, ...]:
    """Returns the rows of every layer; `given` is measured in the caller's dtypes, `wide` in float64."""
    origins = _origins(model, names)
    return tuple(
        LayerRows(k + 1, step.name, step.where, _rows(k, step, origins, given, wide))
        for k, step in enumerate(model.layers)
    )


def parameter_rows(
    paths: Sequence[str],
    given: Measured,
    wide: Measured | None,
    explicit: Sequence[Any] | None,
    explicit64: Sequence[Any] | None,
    inputs: Sequence[Any],
) -> tuple[ParameterRow, ...]:
    """Returns the rows of the differentiated parameters `inputs`, in their order."""
    computed = _chain_arithmetic(given, wide, inputs)
    rows = []
    for i, path in enumerate(paths):
        oracle, oracle64 = given.automatic.grads[i], wide.automatic.grads[i] if wide else None
        rules64 = wide.rules.grads[i] if wide and wide.rules else None
        rules = Pair(given.rules.grads[i], oracle, rules64, oracle64) if given.rules else None
        written = (
            None if explicit is None else Pair(explicit[i], oracle, explicit64[i] if explicit64 else None, oracle64)
        )
        found = [None if pair is None else judge(pair, oracle.dtype, computed) for pair in (written, rules)]
        ok = explicit is None or (found[0] is not None and found[0].ok), found[1] is not None and found[1].ok
        rows.append(ParameterRow(path, oracle.shape, str(oracle.dtype), *_errors(*found), ok[0], ok[1]))
    return tuple(rows)


def loss_judgement(given: Measured, wide: Measured | None, loss: Any, loss64: Any, inputs: Sequence[Any]) -> Judgement:
    """Judges the value that the explicit function returns."""
    wanted, wanted64 = given.automatic.loss, wide.automatic.loss if wide else None
    return judge(Pair(loss, wanted, loss64, wanted64), wanted.dtype, _chain_arithmetic(given, wide, inputs))


def layer_arithmetic(k: int, step: Step, given: Measured, wide: Measured | None) -> Arithmetic:
    """Returns what the error bounds of layer `k` follow from."""
    layer = given.automatic.layers[k]
    size = max((largest(as_double(ct)) for ct in layer.d_outputs), default=0.0)
    outputs = [layer.outputs[i] for i in step.floats]
    inputs = [layer.inputs[i] for i in step.active]
    return arithmetic(given.layer_jaxprs[k], wide.layer_jaxprs[k] if wide else (), inputs, outputs, size)


def own_pair(k: int, which: str, at: int, given: Measured, wide: Measured | None) -> Pair | None:
    """Returns one array of layer `k` by its rule alone beside the automatic chain's: of its `outputs` or `d_inputs`."""
    found = []
    for measured in (given, wide):
        own = measured.own[k] if measured else None
        found += [own and getattr(own, which)[at], measured and getattr(measured.automatic.layers[k], which)[at]]
    return None if found[0] is None else Pair(*found)


def _chain_arithmetic(given: Measured, wide: Measured | None, inputs: Sequence[Any]) -> Arithmetic:
    return arithmetic(given.jaxprs, wide.jaxprs if wide else (), inputs, [given.automatic.loss], 1.0)


def _rows(k: int, step: Step, origins: dict[int, str], given: Measured, wide: Measured | None) -> tuple[ValueRow, ...]:
    computed = layer_arithmetic(k, step, given, wide)
    value = computed._replace(noise=0.0)  # a value is not zero by cancelling cotangents
    rows = []
    for position, i in enumerate(step.floats):
        chain = _judged(_chain_pair(k, position, "d_outputs", given, wide), computed)
        own = _judged(own_pair(k, "outputs", i, given, wide), value)
        name = "output" if len(step.floats) == 1 else f"output {position + 1}"
        rows.append(_row(name, given.automatic.layers[k].outputs[i], chain, own, "fwd's value is not the primal's"))
    for position, i in enumerate(step.active):
        chain = _judged(_chain_pair(k, position, "d_inputs", given, wide), computed)
        own = _judged(own_pair(k, "d_inputs", position, given, wide), computed)
        name = origins.get(step.inputs[i], f"input {i + 1}")
        rows.append(
            _row(name, given.automatic.layers[k].inputs[i], chain, own, _dtype_complaint(k, i, position, given))
        )
    return tuple(rows)


def _row(name: str, value: Any, chain: Judgement | None, own: Judgement | None, complaint: str) -> ValueRow:
    other_dtype = complaint.startswith("cotangent is")
    ok = own is not None and own.ok and not other_dtype
    reasons = [complaint, own.wrong if own else "the rule does not run"]
    verdict = "ok" if ok else f"wrong: {': '.join(filter(None, reasons))}"
    if ok and chain and not chain.ok:
        verdict = "ok by itself"
    kind = kind_within([value])
    if kind is not None:
        verdict += f"; its value holds {kind.name}"
    of_chain, of_own, of_chain64, of_own64 = _errors(chain, own)
    return ValueRow(name, value.shape, str(value.dtype), of_chain, of_chain64, of_own, of_own64, verdict, ok)


def _dtype_complaint(k: int, i: int, position: int, given: Measured) -> str:
    """A cotangent of another dtype than its argument's, which JAX lets pass."""
    own = given.own[k]
    if own is None:
        return ""
    found, wanted = own.d_inputs[position].dtype, given.automatic.layers[k].inputs[i].dtype
    return "" if found == wanted else f"cotangent is {found}, the argument {wanted}"


def _judged(pair: Pair | None, computed: Arithmetic) -> Judgement | None:
    return None if pair is None else judge(pair, jnp.asarray(pair.automatic).dtype, computed)


def _chain_pair(k: int, position: int, which: str, given: Measured, wide: Measured | None) -> Pair | None:
    if given.rules is None:
        return None
    chains = [given.rules, given.automatic, wide.rules if wide else None, wide.automatic if wide else None]
    return Pair(*(chain and getattr(chain.layers[k], which)[position] for chain in chains))


def _origins(model: Program, names: Sequence[str]) -> dict[int, str]:
    """Names nodes: an argument by its path, the value of a layer by the layer's number."""
    origins = dict(enumerate(names))
    for k, step in enumerate(model.layers):
        origins |= dict.fromkeys(step.outputs, f"layer {k + 1}")
    return origins


def _errors(*found: Judgement | None) -> tuple[float | None, float | None, float | None, float | None]:
    (first, first64), (second, second64) = [(one.error, one.formula) if one else (None, None) for one in found]
    return first, second, first64, second64
