"""Rules in packages for reinforcement learning, probability, physics and geometry."""

# pyright: reportMissingImports=false

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.others_rules_case import Checked, OthersRule, f32, normal
from jbackprop.verify.automatic import automatic


def rlax_clip() -> Checked:
    from rlax import clip_gradient

    return Checked(lambda x: clip_gradient(x, -1.0, 1.0), (normal(5),))


def distrax_multiply() -> Checked:
    from distrax._src.utils.math import multiply_no_nan

    return Checked(multiply_no_nan, (f32(1, np.inf, -2, 3), f32(2, 0, 0, -1)))


def distrax_power() -> Checked:
    from distrax._src.utils.math import power_no_nan

    return Checked(power_no_nan, (f32(1, 2, 0.5, 0), f32(2, 0, -1.5, 2)))


def numpyro_log1mexp() -> Checked:
    from numpyro.distributions.util import log1mexp

    return Checked(log1mexp, (f32(-1e-3, -0.5, -0.6931472, -2, -30),))


def _power_law(method: str) -> Any:
    from numpyro.distributions import DoublyTruncatedPowerLaw

    def f(x: Any, alpha: Any, low: Any, high: Any) -> Any:
        return getattr(DoublyTruncatedPowerLaw(alpha, low, high, validate_args=False), method)(x)

    return f


def numpyro_power_law_log_prob() -> Checked:
    f = _power_law("log_prob")
    args = (f32(1.3, 2), f32(-1.7, 0.5), f32(1, 0.9), f32(3, 4))
    return Checked(f, args, {"reference": automatic(f, custom_jvp=True)})


def numpyro_power_law_cdf() -> Checked:
    return Checked(_power_law("cdf"), (f32(1.3, 2), f32(-1.7, 0.5), f32(1, 0.9), f32(3, 4)))


def tfp_log_cosh() -> Checked:
    from tensorflow_probability.substrates import jax as tfp

    return Checked(tfp.math.log_cosh, (f32(-30, -1, 0, 0.3, 5),))


def brax_arccos() -> Checked:
    from brax.math import safe_arccos

    return Checked(safe_arccos, (f32(-1, -0.5, 0, 0.9999999, 1),))


def mujoco_cylinder() -> Checked:
    from mujoco.mjx._src.collision_sdf import _cylinder

    f = jax.vmap(_cylinder, (0, None))
    return Checked(
        f, (f32((0.5, 2, 0.1), (-1, 1.5, 1), (2, 0.3, -1.2)), f32(1, 0.7)), {"reference": automatic(f, custom_jvp=True)}
    )


def jaxmd_quaternion() -> Checked:
    from jax_md.rigid_body import _quaternion_rotate

    q = normal(4)
    return Checked(_quaternion_rotate, (q / jnp.linalg.norm(q), normal(3, seed=1)))


def jaxmd_transform() -> Checked:
    from jax_md.space import transform

    return Checked(transform, (normal(3, 3), normal(4, 3, seed=1)))


def jaxmd_segment_mm() -> Checked:
    from jax_md._nn.uma.kernels import segment_mm

    return Checked(segment_mm, (normal(6, 3), normal(2, 4, 3, seed=1), jnp.asarray([4, 2])))


def e3nn_harmonics() -> Checked:
    import e3nn_jax as e3nn

    return Checked(
        lambda x: (
            e3nn.spherical_harmonics(e3nn.Irreps("0e + 1o + 2e + 3o"), e3nn.IrrepsArray("1o", x), normalize=False).array
        ),
        (normal(2, 3),),
    )


def e3nn_einsum() -> Checked:
    from e3nn_jax._src.utils.einsum import einsum

    return Checked(lambda x, y: einsum("ij,jk->ki", x, y), (normal(2, 3), normal(3, 4, seed=1)))


SCIENCE = (
    OthersRule(
        "rlax",
        "clip_gradient",
        "another gradient on purpose",
        rlax_clip,
        "wrong: dx, linear in the cotangent",
        "by design; the diagnosis is `the right answer clipped at 1`",
    ),
    OthersRule(
        "distrax",
        "multiply_no_nan",
        "0 where y is 0",
        distrax_multiply,
        "wrong: dy",
        "convention: at x = inf, y = 0 the value is 0 and dy is inf",
    ),
    OthersRule(
        "distrax",
        "power_no_nan",
        "1 where y is 0",
        distrax_power,
        "wrong: dy, zero for a zero cotangent",
        "**bug**: dy is NaN at 0 ** 2, where it is 0, see below",
    ),
    OthersRule("numpyro", "distributions.util.log1mexp", "no cancellation", numpyro_log1mexp, "ok", ""),
    OthersRule(
        "numpyro",
        "DoublyTruncatedPowerLaw.log_prob",
        "alpha = -1",
        numpyro_power_law_log_prob,
        "wrong: dlow, dhigh",
        "**bug**: the derivatives of the density, not of its logarithm, one with the wrong sign, see below",
    ),
    OthersRule("numpyro", "DoublyTruncatedPowerLaw.cdf", "alpha = -1", numpyro_power_law_cdf, "ok", ""),
    OthersRule("tfp-nightly", "math.log_cosh", "no overflow", tfp_log_cosh, "ok", ""),
    OthersRule(
        "brax",
        "math.safe_arccos",
        "finite at 1 and -1",
        brax_arccos,
        "another subgradient",
        "where the right answer is infinite the rule gives 2e3",
    ),
    OthersRule(
        "mujoco-mjx",
        "collision_sdf._cylinder",
        "no NaN inside the body",
        mujoco_cylinder,
        "wrong: dsize",
        "the rule drops the derivative by the size: a cylinder's radius cannot be learned",
    ),
    OthersRule(
        "jax-md",
        "rigid_body._quaternion_rotate",
        "stays on the sphere",
        jaxmd_quaternion,
        "wrong: dq",
        "by design: the gradient is projected; the diagnosis is `a multiple of q is missing`",
    ),
    OthersRule(
        "jax-md",
        "space.transform",
        "real forces from fractional coordinates",
        jaxmd_transform,
        "wrong: dR",
        "by design, as its docstring says",
    ),
    OthersRule("jax-md", "uma.segment_mm", "a kernel's backward pass", jaxmd_segment_mm, "ok", ""),
    OthersRule("e3nn-jax", "spherical_harmonics", "recursion", e3nn_harmonics, "ok", ""),
    OthersRule("e3nn-jax", "einsum", "an optimized path", e3nn_einsum, "ok", ""),
)
