"""How large an error rounding explains: from the dtype and from the longest sum in the computation."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params

ROUNDING = 8  # roundings that a result may have gone through, in units of eps
RESULT = 2  # the same for a result that is computed in float32 and rounded once to its own dtype
NARROW = 3  # the same where a function is narrow inside by its own choice
USELESS = 0.1  # a bound above this would let a wrong formula pass
FORMULA = 1024  # the same in float64, where generosity costs nothing: a wrong formula is off by far more


def rounding_bound(eps: float, length: int, own: int = RESULT) -> float:
    """Returns the error, as a fraction of max|g|, that is rounding in precision `eps` with sums of `length` terms.

    `own` roundings in units of `eps`, by default those of the result alone, and the rest, with sums whose errors grow
    as the root of their length, in float32 at least.
    """
    return own * eps + ROUNDING * (1 + math.sqrt(length)) * min(eps, epsilon(jnp.float32))


def formula_bound(eps: float, length: int, amplification: float, error: float = 0.0, constants: float = 0.0) -> float:
    """Returns the error, as a fraction of max|g|, of a right formula in arithmetic of precision `eps`.

    `amplification` is the rounding error seen in the caller's dtype over that dtype's epsilon: how ill-conditioned
    the function is at this point. Where a function names a narrower dtype inside, `eps` is that one's, generosity would
    cost something, and `error` is what rounding was seen to do. `constants` is the precision of constants inside, of
    which rule and oracle may have the rounding of different ones.
    """
    wide = FORMULA * epsilon(np.float64) * (1 + math.sqrt(length) + amplification)
    wide = max(wide, min(constants * max(1.0, amplification), USELESS))
    if eps <= epsilon(np.float64):
        return wide
    return max(wide, min(rounding_bound(eps, length, own=NARROW) + NARROW * error, USELESS))


def epsilon(dtype: Any) -> float:
    """Returns the distance from 1 to the next number of `dtype`."""
    return float(jnp.finfo(dtype).eps)


def underflow(dtype: Any) -> float:
    """Returns the size below which numbers of `dtype` lose digits or vanish."""
    info = jnp.finfo(dtype)  # float16 is computed through float32 on a CPU, so its subnormals are kept
    return float(4 * info.smallest_subnormal if info.bits == 16 and info.maxexp < 20 else info.tiny)


def longest_sum(jaxpr: Any) -> int:
    """Returns the number of terms in the longest sum of a jaxpr, at any depth; in a scan it grows with the length."""
    longest = 1
    for equation in jaxpr.eqns:
        inner = max((longest_sum(nested) for nested in jaxprs_in_params(equation.params)), default=1)
        longest = max(longest, inner * int(equation.params.get("length", 1) or 1), _terms(equation))
    return longest


def _terms(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    shapes: list[tuple[int, ...]] = [tuple(getattr(atom.aval, "shape", ())) for atom in equation.invars]
    if name == "dot_general":
        return math.prod(shapes[0][axis] for axis in params["dimension_numbers"][0][0])
    if name == "conv_general_dilated":
        return math.prod(shapes[1]) // max(shapes[1][params["dimension_numbers"].rhs_spec[0]], 1)
    if name == "reduce_sum":
        return math.prod(shapes[0][axis] for axis in params["axes"])
    if name in ("cumsum", "cumlogsumexp", "cumprod"):
        return shapes[0][params["axis"]]
    if name in ("reduce_window_sum", "select_and_scatter_add"):
        return math.prod(params["window_dimensions"])
    if name in ("scatter-add", "scatter_add"):
        return math.prod(shapes[2])
    return 1


def coarsest_epsilon(jaxpr: Any, floor: float = math.inf) -> float:
    """Returns the epsilon of the narrowest float that a jaxpr computes in: of float64 where nothing is cast down.

    Floats made of integers, as random numbers are, were never cast. Those coarser than `floor` do not count.
    """
    coarsest = epsilon(np.float64)
    for equation in jaxpr.eqns:
        if equation.primitive.name == "bitcast_convert_type":
            continue
        for variable in equation.outvars:
            dtype = getattr(variable.aval, "dtype", None)
            if dtype is not None and jnp.issubdtype(dtype, jnp.inexact) and epsilon(dtype) <= floor:
                coarsest = max(coarsest, epsilon(dtype))
        coarsest = max([coarsest, *(coarsest_epsilon(nested, floor) for nested in jaxprs_in_params(equation.params))])
    return coarsest
