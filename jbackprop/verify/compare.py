"""`compare_vjp` and `check_vjp`: a function's gradients against those of an oracle, argument by argument."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jbackprop.verify.compare_options import require_mappings, require_names, require_numbers
from jbackprop.verify.front_end import as_function
from jbackprop.verify.one_seed import compare_with_one_seed
from jbackprop.verify.report import Report, VJPError
from jbackprop.verify.sample import sampled

Function = Callable[..., Any]


def compare_vjp(
    f: Function | tuple[Function, Function],
    *args: Any,
    reference: Function | None = None,
    kwargs: Mapping[str, Any] | None = None,
    rtol: float | None = None,
    seed: int = 0,
    seeds: int = 1,
    cotangents: Mapping[str, Any] | None = None,
    nondiff: Sequence[str] = (),
    kinks: Literal["subgradient", "match"] = "subgradient",
    skip: Sequence[str] = (),
    sample: bool = False,
) -> Report:
    r"""Compares every element of every cotangent of `f(*args, **kwargs)` with an oracle's, and reports what differs.

    $$\text{error of } dx = \max_{\bar y} \frac{\max |dx_f - dx_\text{oracle}|}{\max |dx_\text{oracle}|}$$

    The oracle is JAX's own derivative of `automatic(f)`, the same code without its rules, or of `reference`, which
    takes the same arguments. Both are run with several cotangents in the caller's dtypes and again in float64.

    `f` is any function: a `custom_vjp`, `custom_jvp` or `custom_gradient`, one that contains such rules, equinox's
    `filter_custom_vjp`, or a pair `(fwd, bwd)`. Float arrays in any pytree are differentiated, everything else is
    passed on. Nothing global is changed, float64 is on only inside. There is nothing to tune; for those who must:

    - `rtol`, a fraction of max|g|, replaces the bounds, which follow from dtype and length of the sums.
    - `seed` chooses the random cotangents, `seeds` how many seeds in turn are tried (until one fails), `cotangents`
      adds some by name, each like the output.
    - `nondiff` names arguments that are not differentiated.
    - `kinks="match"`: at a kink or tie, such as relu at exactly 0, the oracle's choice is demanded; by default any
      subgradient is right there.
    - `skip` names clauses of the contract to leave out: value, linear, zero, pure, jit, vmap, scan, checkpoint, second
      order, symbolic zeros, sharding, finite differences.
    - `sample=True`: the arguments are examples, and others of the same shapes, dtypes and ranges are drawn.

    What these inputs cannot show, such as a missing transpose where a matrix is symmetric, is in `report.vacuous`, and
    what explains a wrong gradient in `report.diagnoses`. A NaN in the data may make the gradient NaN where the oracle's
    is not. Where several devices exist the rule is also run on all of them.

    Raises ValueError where there is nothing to differentiate, the reference returns something else or an option is
    unknown, TypeError for values that are being traced and for what is no function; an error of the primal or of the
    oracle passes through.

    >>> import jax
    >>> @jax.custom_vjp
    ... def scale(x, w):
    ...     return x * w
    >>> scale.defvjp(lambda x, w: (x * w, (x, w)), lambda residuals, dy: (dy * residuals[1], -dy * residuals[0]))
    >>> report = compare_vjp(scale, jax.numpy.arange(3.0), jax.numpy.arange(1.0, 4.0))
    >>> report.ok, report.wrong
    (False, ('w',))
    >>> print(report.diagnoses[0])
    dw: -1 x the right answer: the sign is wrong
    """
    require_numbers(rtol, seed, seeds)
    require_mappings(kwargs, cotangents)
    require_names(nondiff, kinks, skip)
    if reference is not None and not callable(reference):
        raise TypeError(f"compare_vjp: reference is a function of the same arguments, not {type(reference).__name__}")
    function = as_function(f)
    options = dict(kwargs or {})
    report = None
    for one in range(seed, seed + seeds):
        values, named = sampled((args, options), one) if sample else (args, options)
        with np.errstate(all="ignore"):  # infinities are compared, not warned of
            report = compare_with_one_seed(
                function, values, named, reference, rtol, one, cotangents or {}, nondiff, kinks, frozenset(skip)
            )
        if not report.ok:
            break
    assert report is not None
    return report


def check_vjp(f: Function | tuple[Function, Function], *args: Any, **options: Any) -> Report:
    """Is `compare_vjp`, with its options, and raises `VJPError` (an AssertionError) with the table of a wrong gradient.

    >>> import jax
    >>> check_vjp(jax.numpy.sin, jax.numpy.arange(3.0)).ok
    True
    """
    report = compare_vjp(f, *args, **options)
    if not report.ok:
        raise VJPError(report)
    return report
