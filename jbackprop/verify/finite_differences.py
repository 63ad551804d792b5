r"""A second opinion that uses no derivative at all: differences of the primal in float64, from both sides.

$$<\bar y, \frac{f(x + h v) - f(x - h v)}{2 h}> = <dx, v>$$

in random directions $v$. Autodiff of the primal may itself mislead: where it has a `custom_jvp`, or stops a gradient.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jbackprop.verify.arguments import Call
from jbackprop.verify.bounds import coarsest_epsilon
from jbackprop.verify.cotangents import DIFFERENCES
from jbackprop.verify.distance import as_double
from jbackprop.verify.float64 import float64_scope, to_float64
from jbackprop.verify.measure import Comparison
from jbackprop.verify.pullback import split_outputs
from jbackprop.verify.widen import carried_in_float64

STEPS = (1e-5, 1e-6)  # of max|x|; two, since a difference that is a derivative does not depend on the step
AGREE = 1e-4
DIRECTIONS = 2


def directional_derivatives(primal: Callable[..., Any], call: Call, comparison: Comparison, seed: int) -> "Opinion":
    """Returns finite differences beside the derivatives of rule and oracle along the same directions."""
    rng = np.random.default_rng([seed, DIFFERENCES])
    assert comparison.rule64 is not None
    assert comparison.oracle64 is not None
    assert comparison.traced64 is not None
    values = [as_double(x) for x in to_float64(comparison.inputs)]
    scales = [float(np.max(np.abs(x[np.isfinite(x)]), initial=0.0)) or 1.0 for x in values]
    rule, oracle = (run.pulled["random"].cotangents for run in (comparison.rule64, comparison.oracle64))
    d_out = [as_double(ct) for ct in comparison.cotangents["random"]]
    differences, derivatives = [], []
    with float64_scope():
        value = carried_in_float64(
            lambda leaves: split_outputs(primal, call, leaves)[0], [comparison.traced64.leaves], comparison.traced64
        )
        run = jax.jit(value)
        for _ in range(DIRECTIONS):
            v = [np.asarray(scale * rng.standard_normal(x.shape)) for scale, x in zip(scales, values, strict=True)]
            differences.append([side for step in STEPS for side in _one_sided(run, values, v, step, d_out)])
            derivatives.append([_along(v, gradient) for gradient in (rule, oracle)])
    return Opinion(np.array(differences), np.array(derivatives))


class Opinion:
    """One-sided differences `[direction, two steps, both sides]`, and the derivatives `[direction, rule or oracle]`."""

    def __init__(self, differences: np.ndarray, derivatives: np.ndarray) -> None:
        self.differences, self.derivatives = differences, derivatives
        self.scale = float(np.max(np.abs(np.concatenate([differences, derivatives], 1))))

    @property
    def smooth(self) -> bool:
        """Whether the differences depend on neither step nor side, as those of a differentiable function."""
        if not np.isfinite(self.differences).all():
            return False
        sides = np.abs(np.diff(self.differences.reshape(-1, len(STEPS), 2)))[..., 0]  # what curvature leaves, or a kink
        centers = self.differences.reshape(-1, len(STEPS), 2).mean(-1)
        shrinks = np.all(sides[:, 1] <= np.maximum(0.3 * sides[:, 0], AGREE * self.scale))
        return bool(shrinks and np.all(np.abs(np.diff(centers)) <= AGREE * self.scale))

    @property
    def of_rule(self) -> bool:
        """Whether the rule agrees with the differences."""
        return self._agrees(0)

    @property
    def of_oracle(self) -> bool:
        """Whether the oracle does."""
        return self._agrees(1)

    def _agrees(self, which: int) -> bool:
        central = self.differences[:, :2].mean(1)
        return bool(np.all(np.abs(self.derivatives[:, which] - central) <= AGREE * self.scale))


def worth_asking(comparison: Comparison) -> bool:
    """Whether there is a pure float64 run of real numbers, which differences need."""
    if comparison.rule64 is None or comparison.oracle64 is None:
        return False
    if any(np.iscomplexobj(x) for x in (*comparison.inputs, *comparison.cotangents["random"])):
        return False
    return coarsest_epsilon(comparison.oracle64.jaxpr) < 1e-12


def _one_sided(
    run: Callable[..., Any], values: list[np.ndarray], v: list[np.ndarray], step: float, d_out: list[np.ndarray]
) -> list[float]:
    ends = [run([x + sign * step * u for x, u in zip(values, v, strict=True)]) for sign in (1, 0, -1)]
    up, here, down = ([as_double(out) for out in end] for end in ends)
    pairs = ((up, here), (here, down))
    return [float(sum(np.sum(ct * (a - b)) for ct, a, b in zip(d_out, *pair, strict=True))) / step for pair in pairs]


def _along(v: list[np.ndarray], gradient: Any) -> float:
    return float(sum(np.sum(u * as_double(g)) for u, g in zip(v, gradient, strict=True)))
