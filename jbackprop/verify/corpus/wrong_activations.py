"""Wrong rules of activations."""

import math

import jax
import jax.numpy as jnp

from jbackprop.verify.corpus.case import WrongRule
from jbackprop.verify.corpus.wrong_build import EXACT, custom, normal, rule, tied

_MANY = (40, 50)


def sigmoid(x):
    return jax.nn.sigmoid(x)


def _derivative_of_output(x):
    a = sigmoid(x)
    return a, a


def _sigmoid_of_sigmoid_bwd(a, dy):
    return (dy * sigmoid(a) * (1 - sigmoid(a)),)


def tanh(x):
    return jnp.tanh(x)


def _stopped_bwd(dy, x):
    return jax.vjp(lambda z: jnp.tanh(jax.lax.stop_gradient(z)), x)[1](dy)


def relu(x):
    return jnp.where(x > 0, x, 0)


def leaky_relu(x):
    return jnp.where(x > 0, x, 0.1 * x)


def _leaky_relu_bwd(dy, x):
    return (jnp.where(x >= 0, dy, 0) + jnp.where(x <= 0, 0.1 * dy, 0),)


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    return 0.5 * x * (1 + jax.lax.erf(x / math.sqrt(2)))


def _gelu_tanh_bwd(dy, x):
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
    t = jnp.tanh(inner)
    return (dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope),)


def softplus(x):
    return jnp.logaddexp(x, 0)


def elu(x):
    return jnp.where(x > 0, x, jnp.expm1(x))


def _elu_bwd(y, dy):
    return (dy * jnp.where(y > 0, 1, y),)  # exp(x) is y + 1


def softcap(x):
    return 30 * jnp.tanh(x / 30)


def gated(x, gate):
    return x * sigmoid(gate)


def _gated_bwd(dy, x, gate):
    s = sigmoid(gate)
    return dy * s, dy * x * s


def parametric_relu(x, slope):
    return jnp.where(x > 0, x, slope * x)


def _parametric_relu_bwd(dy, x, slope):
    dslope = jnp.sum(jnp.where(x > 0, 0, dy * x))
    return jnp.where(x > 0, dy, slope * dy), jnp.full_like(slope, dslope)


ACTIVATIONS = (
    WrongRule(
        "sigmoid: the derivative at the output",
        "wrong point",
        ("x",),
        normal(custom(sigmoid, _derivative_of_output, _sigmoid_of_sigmoid_bwd), _MANY),
    ),
    WrongRule(
        "tanh: 1 - x² for 1 - y²", "wrong point", ("x",), normal(rule(tanh, lambda dy, x: (dy * (1 - x * x),)), _MANY)
    ),
    WrongRule(
        "tanh: the derivative is left out", "pass-through", ("x",), normal(rule(tanh, lambda dy, x: (dy,)), _MANY)
    ),
    WrongRule("tanh: bwd differentiates a stopped argument", "zero", ("x",), normal(rule(tanh, _stopped_bwd), _MANY)),
    WrongRule(
        "tanh: the cotangent is clipped to [-1, 1]",
        "not linear",
        ("x",),
        normal(rule(tanh, lambda dy, x: (jnp.clip(dy, -1, 1) * (1 - tanh(x) ** 2),)), _MANY),
    ),
    WrongRule(
        "tanh: the sign of the cotangent alone",
        "not linear",
        ("x",),
        normal(rule(tanh, lambda dy, x: (jnp.sign(dy) * (1 - tanh(x) ** 2),)), _MANY),
    ),
    WrongRule(
        "tanh: a small number keeps the gradient alive",
        "added",
        ("x",),
        normal(rule(tanh, lambda dy, x: (dy * (1 - tanh(x) ** 2) + 1e-2,)), _MANY),
        dtypes=EXACT,
    ),
    WrongRule(
        "tanh: the cotangent's first row for all rows",
        "uniform cotangent",
        ("x",),
        normal(rule(tanh, lambda dy, x: (dy[0] * (1 - tanh(x) ** 2),)), _MANY),
    ),
    WrongRule(
        "relu: guided backpropagation",
        "not linear",
        ("x",),
        normal(rule(relu, lambda dy, x: (jnp.where((x > 0) & (dy > 0), dy, 0),)), _MANY),
    ),
    WrongRule(
        "relu: the mask is inverted",
        "wrong point",
        ("x",),
        normal(rule(relu, lambda dy, x: (jnp.where(x > 0, 0, dy),)), _MANY),
    ),
    WrongRule("leaky relu: both slopes at 0", "ties", ("x",), tied(rule(leaky_relu, _leaky_relu_bwd), 7, _MANY)),
    WrongRule(
        "silu: x σ'(x) is missing", "missing term", ("x",), normal(rule(silu, lambda dy, x: (dy * sigmoid(x),)), _MANY)
    ),
    WrongRule(
        "gelu: the derivative of the form with tanh",
        "unexplained",
        ("x",),
        normal(rule(gelu, _gelu_tanh_bwd), _MANY),
        dtypes=EXACT,
    ),
    WrongRule(
        "softplus: the derivative at -x",
        "wrong point",
        ("x",),
        normal(rule(softplus, lambda dy, x: (dy / (1 + jnp.exp(x)),)), _MANY),
    ),
    WrongRule(
        "elu: the output for the output + 1",
        "missing term",
        ("x",),
        normal(custom(elu, lambda x: (elu(x), elu(x)), _elu_bwd), _MANY),
    ),
    WrongRule(
        "softcap: divided by the cap once more",
        "factor",
        ("x",),
        normal(rule(softcap, lambda dy, x: (dy * (1 - jnp.tanh(x / 30) ** 2) / 30,)), _MANY),
    ),
    WrongRule(
        "gate: σ for σ'", "missing term", ("gate",), normal(rule(gated, _gated_bwd), _MANY, _MANY), same_as=("factor",)
    ),
    WrongRule(
        "parametric relu: one slope's cotangent for all channels",
        "extra sum",
        ("slope",),
        normal(rule(parametric_relu, _parametric_relu_bwd), _MANY, (50,)),
    ),
)
