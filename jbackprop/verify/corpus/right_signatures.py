"""Right rules with unusual signatures: pytrees, statics, keywords, broadcasting, methods."""

import functools

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import Probe, RightRule
from jbackprop.verify.corpus.right_inputs import normal, normals, row, uniform


@jax.custom_vjp
def add_row(x, b):
    return x + b


add_row.defvjp(lambda x, b: (x + b, None), lambda _, dy: (dy, jnp.sum(dy, axis=0, keepdims=True)))


def _unbroadcast(d, like):
    d = d.sum(axis=tuple(range(d.ndim - like.ndim)))
    stretched = tuple(i for i, size in enumerate(like.shape) if size == 1 and d.shape[i] != 1)
    return d.sum(axis=stretched, keepdims=True)


@jax.custom_vjp
def multiply(a, b):
    return a * b


def multiply_bwd(residuals, dy):
    a, b = residuals
    return _unbroadcast(dy * b, a), _unbroadcast(dy * a, b)


multiply.defvjp(lambda a, b: (a * b, (a, b)), multiply_bwd)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 2))
def apply_along(f, x, axis):
    return f(x).sum(axis)


def apply_along_fwd(f, x, axis):
    return f(x).sum(axis), x


def apply_along_bwd(f, axis, x, dy):
    _, pullback = jax.vjp(f, x)
    return pullback(jnp.broadcast_to(jnp.expand_dims(dy, axis), x.shape))


apply_along.defvjp(apply_along_fwd, apply_along_bwd)


@functools.partial(jax.custom_vjp, nondiff_argnames=("eps", "axis"))
def normalize(x, eps=1e-3, axis=-1):
    return x * jax.lax.rsqrt(jnp.sum(x * x, axis, keepdims=True) + eps)


def normalize_fwd(x, eps, axis):
    r = jax.lax.rsqrt(jnp.sum(x * x, axis, keepdims=True) + eps)
    return x * r, (x, r)


def normalize_bwd(eps, axis, residuals, dy):
    x, r = residuals
    return (dy * r - x * r**3 * jnp.sum(x * dy, axis, keepdims=True),)


normalize.defvjp(normalize_fwd, normalize_bwd)


@jax.custom_vjp
def product(x, y):
    return x * y


def product_fwd(x, y):
    return x.value * y.value, (y.value if x.perturbed else None, x.value if y.perturbed else None)


def product_bwd(residuals, dz):
    if isinstance(dz, jax.custom_derivatives.SymbolicZero):
        return None, None
    return tuple(None if other is None else dz * other for other in residuals)


product.defvjp(product_fwd, product_bwd, symbolic_zeros=True)


@jax.custom_vjp
def two_outputs(x):
    return jnp.sin(x), x * x


def two_outputs_bwd(x, d_outs):
    zero = jnp.zeros_like(x)
    d_sin, d_square = (zero if isinstance(d, jax.custom_derivatives.SymbolicZero) else d for d in d_outs)
    return (d_sin * jnp.cos(x) + 2 * x * d_square,)


two_outputs.defvjp(lambda x: ((jnp.sin(x.value), x.value**2), x.value), two_outputs_bwd, symbolic_zeros=True)


@jax.custom_vjp
def softplus(x):
    return jax.nn.softplus(x)


softplus.defvjp(lambda x: (jax.nn.softplus(x), jax.nn.sigmoid(x)), lambda slope, dy: (dy * slope,), optimize_remat=True)


@jax.jit
def _logit(p):
    return jnp.log(p) - jnp.log1p(-p)


logit = jax.custom_vjp(_logit)


logit.defvjp(jax.jit(lambda p: (_logit(p), p)), jax.jit(lambda p, dy: (dy / (p * (1 - p)),)))


@jax.custom_gradient
def swish(x):
    s = jax.nn.sigmoid(x)
    return x * s, lambda dy: dy * (s + x * s * (1 - s))


SIGNATURES = (
    row("add_row", "a bias of shape (1, k)", add_row, normals((50, 10), (1, 10))),
    row("scalar_times_matrix", "a sum over everything", multiply, normals((), (30, 20))),
    row("outer_product", "both arguments stretched", multiply, normals((25, 1), (20,))),
    row("axes_of_size_1", "nothing to sum", multiply, normals((1, 1, 40), (1, 1, 1))),
    row("one_argument_twice", "x * x by a rule of two arguments", lambda x: multiply(x, x), normals((300,))),
    row(
        "apply_along",
        "nondiff_argnums: a function and an axis",
        apply_along,
        lambda rng, dtype: (jnp.tanh, normal(rng, dtype, 20, 6, 5), 1),
    ),
    row("normalize", "nondiff_argnames, left at their defaults", normalize, normals((20, 30))),
    RightRule(
        "normalize_by_keyword",
        "nondiff_argnames, given by keyword",
        lambda rng, dtype: Probe(normalize, (normal(rng, dtype, 20, 30),), {"axis": 0, "eps": 0.01}),
    ),
    row("normalize_partial", "functools.partial", functools.partial(normalize, axis=0), normals((20, 30))),
    RightRule(
        "multiply_by_keyword",
        "a differentiated argument by keyword",
        lambda rng, dtype: Probe(multiply, (normal(rng, dtype, 40),), {"b": normal(rng, dtype, 40)}),
    ),
    row("product", "symbolic_zeros: fwd is told what is perturbed", product, normals((200,), (200,))),
    row("first_of_two_outputs", "a symbolic zero cotangent", lambda x: two_outputs(x)[0], normals((200,))),
    row("two_outputs", "symbolic zeros and several outputs", two_outputs, normals((200,))),
    row("softplus", "optimize_remat", softplus, normals((30, 20))),
    row("logit", "jit inside custom_vjp", logit, lambda rng, dtype: (uniform(rng, dtype, 0.05, 0.95, 400),)),
    row("swish", "custom_gradient", swish, normals((400,))),
)
