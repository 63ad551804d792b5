"""Right rules inside scan, while, cond, jit, vmap and checkpoint; rules that call rules, solve or recompute."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from jbackprop.verify.corpus.right_inputs import normal, normals, row, uniform


@jax.custom_vjp
def tanh(x):
    return jnp.tanh(x)


def tanh_fwd(x):
    y = jnp.tanh(x)
    return y, y


tanh.defvjp(tanh_fwd, lambda y, dy: (dy * (1 - y * y),))


@jax.custom_vjp
def matmul(a, b):
    return a @ b


matmul.defvjp(lambda a, b: (a @ b, (a, b)), lambda ab, dy: (dy @ ab[1].T, ab[0].T @ dy))


def recurrent(w, u, h, xs):
    """All states of h = tanh(x u + h w)."""
    return lax.scan(lambda h, x: (tanh(matmul(x, u) + matmul(h, w)),) * 2, h, xs)[1]


def iterated(x):
    return lax.fori_loop(0, 5, lambda _, x: tanh(1.5 * x), x)


def branches(x, choice):
    return lax.switch(choice, [tanh, lambda x: x * tanh(x), jnp.sin], x)


def condition_on_value(x):
    return lax.cond(jnp.sum(x * x) > 1, lambda x: 2 * tanh(x), jnp.sin, x)


def row_by_row(x, w):
    return jax.vmap(lambda row: tanh(matmul(row[None], w))[0])(x)


@functools.partial(jax.checkpoint, policy=jax.checkpoint_policies.nothing_saveable)
def rematerialised(x, w):
    return tanh(matmul(tanh(x), w))


@jax.jit
def jitted(x, w):
    return jax.jit(lambda y: tanh(y) + y)(matmul(x, w))


@jax.custom_vjp
def two_layers(x, w1, w2):
    return matmul(tanh(matmul(x, w1)), w2)


def two_layers_fwd(x, w1, w2):
    h = tanh(matmul(x, w1))
    return matmul(h, w2), (x, w1, w2, h)


def two_layers_bwd(residuals, dy):
    x, w1, w2, h = residuals
    dz = tanh_fwd_slope(h) * matmul(dy, w2.T)
    return matmul(dz, w1.T), matmul(x.T, dz), matmul(h.T, dy)


def tanh_fwd_slope(h):
    return 1 - h * h


two_layers.defvjp(two_layers_fwd, two_layers_bwd)


def _block(x, w):
    return jax.nn.gelu(x @ w)


@jax.custom_vjp
def recomputed(x, w):
    return _block(x, w)


recomputed.defvjp(lambda x, w: (_block(x, w), (x, w)), lambda xw, dy: jax.vjp(_block, *xw)[1](dy))


def _newton(a):
    """The square root by an iteration whose length depends on the values."""

    def far(state):
        x, before = state
        return jnp.any(jnp.abs(x - before) > 1e-14 * x)

    def step(state):
        x, _ = state
        return jnp.minimum(x, 0.5 * (x + a / x)), x

    start = jnp.maximum(a, 1)
    return lax.while_loop(far, step, (0.5 * (start + a / start), start))[0]


@jax.custom_vjp
def newton_sqrt(a):
    return _newton(a)


def newton_sqrt_fwd(a):
    y = newton_sqrt(a)
    return y, y


newton_sqrt.defvjp(newton_sqrt_fwd, lambda y, dy: (dy / (2 * y),))


@jax.custom_jvp
def newton_sqrt_jvp(a):
    return _newton(a)


@newton_sqrt_jvp.defjvp
def _newton_sqrt_jvp_rule(primals, tangents):
    y = newton_sqrt_jvp(*primals)
    return y, tangents[0] / (2 * y)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def fixed_point(f, a, x):
    """Solves x = f(a, x), as in JAX's documentation."""
    return lax.fori_loop(0, 60, lambda _, x: f(a, x), x)


def fixed_point_fwd(f, a, x):
    solution = fixed_point(f, a, x)
    return solution, (a, solution)


def _adjoint_step(f, packed, u):
    a, solution, dy = packed
    return dy + jax.vjp(lambda x: f(a, x), solution)[1](u)[0]


def fixed_point_bwd(f, residuals, dy):
    a, solution = residuals
    u = fixed_point(functools.partial(_adjoint_step, f), (a, solution, dy), dy)
    return jax.vjp(lambda a: f(a, solution), a)[1](u)[0], jnp.zeros_like(solution)


fixed_point.defvjp(fixed_point_fwd, fixed_point_bwd)


def equilibrium(w, b):
    """A layer of unbounded depth: x = tanh(w x + b)."""
    return fixed_point(lambda wb, x: jnp.tanh(wb[0] @ x + wb[1]), (w, b), jnp.zeros_like(b))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _root(f, x, *constants):
    def step(_, x):
        value, slope = jax.jvp(lambda x: f(x, *constants), (x,), (jnp.ones_like(x),))
        return x - value / slope

    return lax.fori_loop(0, 12, step, x)


def _root_fwd(f, x, *constants):
    y = _root(f, x, *constants)
    return y, (y, constants)


def _root_bwd(f, residuals, dy):
    y, constants = residuals
    _, slope = jax.jvp(lambda x: f(x, *constants), (y,), (jnp.ones_like(y),))
    _, pullback = jax.vjp(lambda *constants: f(y, *constants), *constants)
    return jnp.zeros_like(y), *pullback(-dy / slope)


_root.defvjp(_root_fwd, _root_bwd)


def root_of_cubic(a):
    """The root of x³ + x = a, whose function closes over a."""
    f, constants = jax.closure_convert(lambda x: x**3 + x - a, jnp.ones_like(a))
    return _root(f, jnp.ones_like(a), *constants)


def _two(rng, dtype):
    return normal(rng, dtype, 20, 12), normal(rng, dtype, 12, 8, scale=0.4)


TRANSFORMS = (
    row(
        "recurrent",
        "rules inside scan, weights used at each step",
        recurrent,
        lambda rng, dtype: (
            normal(rng, dtype, 8, 8, scale=0.3),
            normal(rng, dtype, 5, 8, scale=0.3),
            jnp.zeros((4, 8), dtype),
            normal(rng, dtype, 12, 4, 5),
        ),
    ),
    row("iterated", "a rule inside fori_loop", iterated, normals((300,))),
    row(
        "branches",
        "rules inside switch, by an integer argument",
        branches,
        lambda rng, dtype: (normal(rng, dtype, 300), jnp.asarray(rng.integers(0, 2), jnp.int32)),
    ),
    row("condition_on_value", "a rule inside cond", condition_on_value, normals((300,))),
    row("row_by_row", "rules inside vmap", row_by_row, _two),
    row("rematerialised", "rules inside checkpoint", rematerialised, _two),
    row("jitted", "rules inside two jits", jitted, _two),
    row(
        "two_layers",
        "fwd and bwd call rules",
        two_layers,
        lambda rng, dtype: (*_two(rng, dtype), normal(rng, dtype, 8, 5, scale=0.4)),
    ),
    row("recomputed", "bwd runs the block again, by jax.vjp", recomputed, _two),
    row(
        "newton_sqrt",
        "a while loop, which autodiff refuses",
        newton_sqrt,
        lambda rng, dtype: (uniform(rng, dtype, 0.5, 4, 300),),
        ("float32", "float64"),
        reference=jnp.sqrt,
    ),
    row(
        "newton_sqrt_jvp",
        "the same as a custom_jvp",
        newton_sqrt_jvp,
        lambda rng, dtype: (uniform(rng, dtype, 0.5, 4, 300),),
        ("float32", "float64"),
        reference=jnp.sqrt,
    ),
    row(
        "equilibrium",
        "implicit differentiation, which iterates again",
        equilibrium,
        lambda rng, dtype: (normal(rng, dtype, 20, 20, scale=0.08), normal(rng, dtype, 20)),
        ("float32", "float64"),
    ),
    row(
        "root_of_cubic",
        "closure_convert",
        root_of_cubic,
        lambda rng, dtype: (uniform(rng, dtype, 0.5, 4, 200),),
        ("float32", "float64"),
    ),
)
