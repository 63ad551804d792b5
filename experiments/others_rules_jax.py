"""Rules in JAX itself."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.others_rules_case import Checked, OthersRule, f32, normal, positive


def relu() -> Checked:
    return Checked(jax.nn.relu, (f32(-1.5, 0, 0.5, 0, 2),))


def relu6() -> Checked:
    return Checked(jax.nn.relu6, (f32(-1.5, 0, 0.5, 6, 7),))


def softmax() -> Checked:
    return Checked(jax.nn.softmax, (normal(3, 5).at[0].set(1.0),))


def log1mexp() -> Checked:
    return Checked(jax.nn.log1mexp, (f32(1e-3, 0.3, float(np.log(2)), 1, 4, 20),))


def logaddexp() -> Checked:
    return Checked(jnp.logaddexp, (f32(0, 1, -2, 30, -np.inf), f32(0, 1, 3, -30, 1)))


def i0() -> Checked:
    return Checked(jnp.i0, (f32(0, -1, 2, 0.1, -3),))


def frexp() -> Checked:
    return Checked(jnp.frexp, (f32(0, 1, -2.5, 1000, 0.3),))


def xlogy() -> Checked:
    return Checked(jax.scipy.special.xlogy, (f32(0, 1, 2, 0), f32(0.5, 2, 3, 1)))


def xlog1py() -> Checked:
    return Checked(jax.scipy.special.xlog1py, (f32(0, 1, 2, 0), f32(-0.5, 2, 3, 0)))


def logit() -> Checked:
    return Checked(jax.scipy.special.logit, (f32(0.01, 0.5, 0.99, 0.3),))


def log_ndtr() -> Checked:
    return Checked(jax.scipy.special.log_ndtr, (f32(-30, -8, -1, 0, 2, 6),))


def zeta() -> Checked:
    def euler_maclaurin(x: Any, q: Any) -> Any:
        end = q + 20
        terms = [(q + k) ** -x for k in range(20)] + [end ** (1 - x) / (x - 1), end**-x / 2]
        factor = x / end ** (x + 1)
        for k, of in enumerate((1 / 12, -1 / 720, 1 / 30240, -1 / 1209600), 1):
            terms.append(of * factor)
            factor = factor * (x + 2 * k - 1) * (x + 2 * k) / end**2
        return jnp.sum(jnp.stack(terms), 0)

    return Checked(jax.scipy.special.zeta, (f32(1.5, 2, 4), f32(1, 0.7, 3)), {"reference": euler_maclaurin})


def expi() -> Checked:
    def series(x: Any) -> Any:
        term, total = jnp.ones_like(x), jnp.log(jnp.abs(x)) + np.euler_gamma
        for k in range(1, 40):
            term = term * x / k
            total = total + term / k
        return total

    return Checked(jax.scipy.special.expi, (f32(-3, -0.1, 0.5, 2),), {"reference": series})


def fresnel() -> Checked:
    return Checked(jax.scipy.special.fresnel, (f32(-3, 0.0, 0.5, 2),))


def hyp1f1() -> Checked:
    def series(a: Any, b: Any, x: Any) -> Any:
        term, total = jnp.ones_like(x), jnp.ones_like(x)
        for k in range(40):
            term = term * (a + k) / (b + k) * x / (k + 1)
            total = total + term
        return total

    args = (f32(0.5, 1, 2), f32(1.5, 2, 0.7), f32(-1, 0.3, 2))
    return Checked(jax.scipy.special.hyp1f1, args, {"reference": series})


def owens_t() -> Checked:
    return Checked(jax.scipy.special.owens_t, (f32(0.5, -1, 2), f32(1, 0.3, -2)))


def wofz() -> Checked:
    return Checked(jax.scipy.special.wofz, (jnp.asarray([0.5 + 1j, -1 + 0.2j, 2 - 0.3j], jnp.complex64),))


def dawsn() -> Checked:
    return Checked(jax.scipy.special.dawsn, (f32(-2, 0, 0.5, 8),))


def slogdet() -> Checked:
    return Checked(jnp.linalg.slogdet, (normal(4, 4),))


def det_singular() -> Checked:
    return Checked(jnp.linalg.det, (normal(3, 3).at[2].set(0.0),))


def pinv() -> Checked:
    return Checked(jnp.linalg.pinv, (normal(5, 3),))


def pinv_hermitian() -> Checked:
    a = normal(4, 4)
    return Checked(lambda a: jnp.linalg.pinv(a, hermitian=True), (a + a.T,))


def odeint() -> Checked:
    from jax.experimental.ode import odeint

    def pendulum(state: Any, t: Any, k: Any) -> Any:
        return jnp.stack([state[1], -k * jnp.sin(state[0])])

    def steps(y0: Any, t: Any, k: Any) -> Any:
        def rk4(state: Any, ends: Any) -> tuple[Any, Any]:
            h = (ends[1] - ends[0]) / 64

            def one(state: Any, _: Any) -> tuple[Any, None]:
                k1 = pendulum(state, 0, k)
                k2 = pendulum(state + h / 2 * k1, 0, k)
                k3 = pendulum(state + h / 2 * k2, 0, k)
                k4 = pendulum(state + h * k3, 0, k)
                return state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

            state, _ = jax.lax.scan(one, state, None, 64)
            return state, state

        return jnp.concatenate([y0[None], jax.lax.scan(rk4, y0, jnp.stack([t[:-1], t[1:]], 1))[1]])

    def solved(y0: Any, t: Any, k: Any) -> Any:
        return odeint(pendulum, y0, t, k)

    return Checked(solved, (f32(0.5, -0.2), f32(0, 0.4, 1), f32(2.0)[0]), {"reference": steps, "rtol": 1e-4})


def cg() -> Checked:
    def solved(a: Any, b: Any) -> Any:
        return jax.scipy.sparse.linalg.cg(lambda x: (a @ a.T + 3 * jnp.eye(4)) @ x, b, tol=1e-12)[0]

    def exactly(a: Any, b: Any) -> Any:
        return jnp.linalg.solve(a @ a.T + 3 * jnp.eye(4, dtype=a.dtype), b)

    return Checked(solved, (normal(4, 4), normal(4, seed=1)), {"reference": exactly})


def custom_root() -> Checked:
    def cube_root(a: Any) -> Any:
        def newton(f: Any, x: Any) -> Any:
            return jax.lax.fori_loop(0, 60, lambda _, x: x - f(x) / (3 * x**2), x)

        return jax.lax.custom_root(lambda x: x**3 - a, jnp.ones_like(a), newton, lambda g, y: y / g(jnp.ones_like(y)))

    return Checked(cube_root, (positive(5),), {"reference": jnp.cbrt})


def layer_norm() -> Checked:
    from jax.experimental.pallas.ops.gpu.layer_norm import layer_norm, layer_norm_reference

    def kernel(x: Any, weight: Any, bias: Any) -> Any:
        return layer_norm(x, weight, bias, num_warps=1, num_stages=1, interpret=True)

    return Checked(kernel, (normal(2, 4, 8), normal(8, seed=1), normal(8, seed=2)), {"reference": layer_norm_reference})


def rms_norm() -> Checked:
    from jax.experimental.pallas.ops.gpu.rms_norm import rms_norm, rms_norm_reference

    def kernel(x: Any, weight: Any, bias: Any) -> Any:
        return rms_norm(x, weight, bias, num_warps=1, num_stages=1, interpret=True)

    return Checked(kernel, (normal(2, 4, 8), normal(8, seed=1), normal(8, seed=2)), {"reference": rms_norm_reference})


def flash_attention() -> Checked:
    from jax.experimental.pallas.ops.gpu.attention import BlockSizes, mha, mha_reference

    sizes = BlockSizes(block_q=16, block_k=16, block_q_dkv=16, block_kv_dkv=16, block_q_dq=16, block_kv_dq=16)

    def kernel(q: Any, k: Any, v: Any) -> Any:
        return mha(q, k, v, None, causal=True, block_sizes=sizes, interpret=True)

    def plainly(q: Any, k: Any, v: Any) -> Any:
        return mha_reference(q, k, v, None, causal=True)

    return Checked(kernel, tuple(normal(1, 32, 2, 16, seed=i) for i in range(3)), {"reference": plainly})


JAX = (
    OthersRule(
        "jax", "nn.relu", "0 at 0", relu, "another subgradient", "0 at 0, where autodiff of `maximum` gives 1/2"
    ),
    OthersRule("jax", "nn.relu6", "0 at 0 and at 6", relu6, "another subgradient", "as relu, at both ends"),
    OthersRule("jax", "nn.softmax", "fewer residuals", softmax, "ok", ""),
    OthersRule("jax", "nn.log1mexp", "no cancellation", log1mexp, "ok", ""),
    OthersRule("jax", "numpy.logaddexp", "right at infinities", logaddexp, "ok", "one element is -inf"),
    OthersRule("jax", "numpy.i0", "0 at 0", i0, "ok", ""),
    OthersRule(
        "jax", "numpy.frexp", "bits have no derivative", frexp, "ok", "the exponent, an integer, has no cotangent"
    ),
    OthersRule(
        "jax",
        "scipy.special.xlogy",
        "0 log 0 = 0",
        xlogy,
        "another subgradient",
        "at x = 0 the rule gives log y, which is right; autodiff of the primal's `where` gives 0",
    ),
    OthersRule("jax", "scipy.special.xlog1py", "0 log 0 = 0", xlog1py, "another subgradient", "as xlogy"),
    OthersRule("jax", "scipy.special.logit", "cheaper", logit, "ok", ""),
    OthersRule(
        "jax",
        "scipy.special.log_ndtr",
        "the primal has an asymptotic series",
        log_ndtr,
        "wrong: dx",
        "an approximation: at -30 the primal is a series of three terms, its derivative and the rule part by 1.6e-10. "
        "In float32 the rule cancels: error 2.3e-5, that of autodiff of the primal 4e-8",
    ),
    OthersRule("jax", "scipy.special.zeta", "the primitive has none", zeta, "ok", "reference: Euler-Maclaurin"),
    OthersRule("jax", "scipy.special.expi", "a loop of unknown length", expi, "ok", "reference: the power series"),
    OthersRule(
        "jax",
        "scipy.special.hyp1f1",
        "a loop of unknown length",
        hyp1f1,
        "ok",
        "reference: the power series; also da and db",
    ),
    OthersRule(
        "jax",
        "scipy.special.fresnel",
        "autodiff overflows",
        fresnel,
        "another subgradient",
        "autodiff of the primal is NaN at 0 and at -3, the rule is not",
    ),
    OthersRule("jax", "scipy.special.owens_t", "two integrals", owens_t, "ok", ""),
    OthersRule("jax", "scipy.special.wofz", "holomorphic", wofz, "ok", "complex64"),
    OthersRule("jax", "scipy.special.dawsn", "an ODE gives it", dawsn, "ok", ""),
    OthersRule("jax", "numpy.linalg.slogdet", "the sign has none", slogdet, "ok", ""),
    OthersRule("jax", "numpy.linalg.det", "singular matrices", det_singular, "ok", "a row of zeros"),
    OthersRule("jax", "numpy.linalg.pinv", "Golub and Pereyra's formula", pinv, "ok", ""),
    OthersRule("jax", "numpy.linalg.pinv, hermitian", "the same, symmetrized", pinv_hermitian, "ok", ""),
    OthersRule(
        "jax",
        "experimental.ode.odeint",
        "adjoint equation",
        odeint,
        "ok",
        "reference: Runge-Kutta. With rtol=atol=1e-9 in float32 a cotangent of 2^40 "
        "gives NaN: the steps of the adjoint equation are chosen by its size, so the rule is not linear",
    ),
    OthersRule(
        "jax", "scipy.sparse.linalg.cg", "a linear solve's transpose", cg, "ok", "reference: numpy.linalg.solve"
    ),
    OthersRule("jax", "lax.custom_root", "implicit function theorem", custom_root, "ok", "reference: numpy.cbrt"),
    OthersRule("jax", "pallas.ops.gpu.layer_norm", "a kernel (interpreted)", layer_norm, "ok", "reference: its own"),
    OthersRule("jax", "pallas.ops.gpu.rms_norm", "a kernel (interpreted)", rms_norm, "ok", "reference: its own"),
    OthersRule(
        "jax",
        "pallas.ops.gpu.attention.mha",
        "a kernel (interpreted)",
        flash_attention,
        "ok",
        "reference: its own; causal",
    ),
)
