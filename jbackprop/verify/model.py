"""`check_model` and `compare_model`: a whole network, layer by layer, its rules beside automatic differentiation."""

from collections.abc import Callable
from typing import Any

from jbackprop.verify.float64 import float64_scope, to_float64
from jbackprop.verify.model_call import ModelCall, explicit_gradients, take_model_apart, trace_model
from jbackprop.verify.model_chain import Precision, measure
from jbackprop.verify.model_culprit import at_a_kink
from jbackprop.verify.model_findings import findings
from jbackprop.verify.model_report import ModelError, ModelReport
from jbackprop.verify.model_rows import layer_rows, parameter_rows
from jbackprop.verify.model_steps import Step, program
from jbackprop.verify.structure import in_one_line


def compare_model(
    loss: Callable[..., Any],
    params: Any,
    *batch: Any,
    explicit: Callable[..., Any] | None = None,
    seed: int = 0,
) -> ModelReport:
    r"""Compares every cotangent inside `loss(params, *batch)`, by its rules, with the automatic one.

    $$\text{error of } dv = \frac{\max |dv_\text{rules} - dv_\text{automatic}|}{\max |dv_\text{automatic}|}$$

    Each call of a custom rule is a layer, also inside `jit` and `checkpoint`; a `scan`, `cond` or other equation with
    rules in it is one layer. A layer has two errors: that of the *chain*, as the cotangent arrives through all rules
    above, and its *own*, its rule fed with the true values and the true cotangent. The own error names the culprit.
    Where the loss or a gradient is not finite, the report says where the NaN or the infinity enters, equation by
    equation, forwards or backwards, and counts as wrong.

    `loss` is traceable and returns a scalar; `params` is any pytree with float arrays, which are differentiated.
    `explicit(params, *batch)` returns gradients in the tree of `params`, or `(loss, gradients)`, and is compared with
    the automatic gradient as well. Everything runs in the given dtypes and again in float64, which is on only inside.
    A rule with another subgradient at a kink is accepted where `compare_vjp` accepts it. `seed` chooses the random
    numbers of that second look.

    Raises ValueError where the loss is no scalar, the parameters hold no float array or the explicit gradients have
    another tree, shape or dtype; TypeError for values that are being traced. What the loss itself raises passes.

    >>> import jax, jax.numpy as jnp
    >>> from jbackprop import linear, relu
    >>> report = compare_model(lambda params, x: relu(linear(x, params["w"])).sum(), {"w": jnp.ones((3, 2))},
    ...                        jnp.arange(12.0).reshape(4, 3))
    >>> report.ok, [layer.name for layer in report.layers], report.parameters[0].verdict
    (True, ['linear', 'relu'], 'ok')
    """
    call = take_model_apart(loss, params, batch)
    paths = [call.names[i] for i in call.differentiated]
    trusted: frozenset[int] = frozenset()
    given, wide, notes = _measured(call, trusted)
    rows = layer_rows(given.program, call.names, given.measured, wide and wide.measured)
    kinks = [
        k for k, row in enumerate(rows) if not row.ok and at_a_kink(k, given.program.layers[k], given.measured, seed)
    ]
    if kinks:  # the rule's own choice there is the right one for all that follows
        given, wide, notes = _measured(call, frozenset(kinks))
        rows = layer_rows(given.program, call.names, given.measured, wide and wide.measured)
        notes += tuple(
            f"note: {rows[k].title} differs from autodiff at a kink or tie only, by a subgradient" for k in kinks
        )
    (J, grads), (J64, grads64) = _explicit(explicit, call, given, wide)
    leaves = [given.inputs[i] for i in call.differentiated]
    parameters = parameter_rows(paths, given.measured, wide and wide.measured, grads, grads64, leaves)
    notes += tuple(
        f"note: {row.title} is given a cotangent of zeros, which shows nothing of its rule"
        for row, layer in zip(rows, given.measured.automatic.layers, strict=True)
        if layer.d_outputs and not any(ct.any() for ct in layer.d_outputs)
    )
    culprit = next((row for row in reversed(rows) if not row.ok), None)
    if culprit:
        notes += (f"note: check_vjp({culprit.name.split(': ')[-1]}, ...) examines the rule by itself",)
    found = findings(call, given, wide, rows, parameters, (J, J64), seed)
    return ModelReport(call.name, rows, parameters, found, notes)


def check_model(
    loss: Callable[..., Any],
    params: Any,
    *batch: Any,
    explicit: Callable[..., Any] | None = None,
    seed: int = 0,
) -> ModelReport:
    """Is `compare_model`, and raises `ModelError` (an AssertionError) with the tables where something is wrong.

    >>> import jax, jax.numpy as jnp
    >>> @jax.custom_vjp
    ... def half(x):
    ...     return x / 2
    >>> _ = half.defvjp(lambda x: (x / 2, None), lambda residuals, dy: (-dy / 2,))  # wrong: the sign
    >>> def loss(params, x):
    ...     return jnp.sum(half(x @ params["w1"]) @ params["w2"])
    >>> params = {"w1": jnp.ones((3, 2)), "w2": jnp.ones((2, 1))}
    >>> check_model(loss, params, jnp.ones((4, 3)))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    jbackprop.verify.model_report.ModelError:
    loss: WRONG, 1 layer, compared with autodiff
    the cotangent parts from the automatic one in layer 1, half...: its cotangent of input 1: -1 x the right answer
    ...
    """
    report = compare_model(loss, params, *batch, explicit=explicit, seed=seed)
    if not report.ok:
        raise ModelError(report)
    return report


def _measured(call: ModelCall, trusted: frozenset[int]) -> tuple[Precision, Precision | None, tuple[str, ...]]:
    """Measures the model in the caller's dtypes and in float64; where that is impossible, with a note."""
    given = _in_precision(call, call.inputs, trusted)
    if all(str(call.inputs[i].dtype) in ("float64", "complex128") for i in call.differentiated):
        return given, given, ()
    try:
        with float64_scope():
            wide = _in_precision(call, to_float64(call.inputs), trusted)
    except Exception as error:  # a model may refuse float64, or mix it with float32 in an operation that cannot
        return given, None, (_no_float64(in_one_line(error)),)
    if [_type(step) for step in wide.program.layers] != [_type(step) for step in given.program.layers]:
        return given, None, (_no_float64("the model has other layers there"),)
    return given, wide, ()


def _in_precision(call: ModelCall, inputs: list[Any], trusted: frozenset[int]) -> Precision:
    model = program(trace_model(call, inputs), call.differentiated)
    return Precision(model, inputs, measure(model, inputs, call.differentiated, trusted))


def _no_float64(why: str) -> str:
    return f"note: no float64 run, formula and rounding are not told apart: {why}"


def _type(step: Step) -> tuple[Any, ...]:
    return step.name, step.active, step.floats, [aval.shape for aval in step.jaxpr.in_avals]


def _explicit(
    explicit: Callable[..., Any] | None, call: ModelCall, given: Precision, wide: Precision | None
) -> list[tuple[Any, Any]]:
    """Returns loss and gradients of the explicit function in both precisions, None where there is none."""
    if explicit is None:
        return [(None, None), (None, None)]
    found: list[tuple[Any, Any]] = [explicit_gradients(explicit, call, given.inputs)]
    if wide is given:
        return found * 2
    try:
        with float64_scope():
            found.append((None, None) if wide is None else explicit_gradients(explicit, call, wide.inputs))
    except Exception:  # it may be written for float32 alone
        found.append((None, None))
    return found
