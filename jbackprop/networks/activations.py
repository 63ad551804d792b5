"""The element-wise rules by name, for networks that take their activation as an option."""

from jbackprop.layers.gelu import gelu, gelu_bwd, gelu_fwd
from jbackprop.layers.identity import identity, identity_bwd, identity_fwd
from jbackprop.layers.leaky_relu import leaky_relu, leaky_relu_bwd, leaky_relu_fwd
from jbackprop.layers.relu import relu, relu_bwd, relu_fwd
from jbackprop.layers.sigmoid import sigmoid, sigmoid_bwd, sigmoid_fwd
from jbackprop.layers.silu import silu, silu_bwd, silu_fwd
from jbackprop.layers.softplus import softplus, softplus_bwd, softplus_fwd
from jbackprop.layers.tanh import tanh, tanh_bwd, tanh_fwd
from jbackprop.networks.rule import Rule, bind

ACTIVATIONS: dict[str, Rule] = {
    "identity": bind(identity, identity_fwd, identity_bwd),
    "relu": bind(relu, relu_fwd, relu_bwd),
    "relu_one_at_zero": bind(relu, relu_fwd, relu_bwd, at_zero=1.0),  # the σ'(0) of DEEP
    "leaky_relu": bind(leaky_relu, leaky_relu_fwd, leaky_relu_bwd),
    "sigmoid": bind(sigmoid, sigmoid_fwd, sigmoid_bwd),
    "tanh": bind(tanh, tanh_fwd, tanh_bwd),
    "gelu": bind(gelu, gelu_fwd, gelu_bwd),
    "silu": bind(silu, silu_fwd, silu_bwd),
    "softplus": bind(softplus, softplus_fwd, softplus_bwd),
}

RECTIFIERS = ("relu", "relu_one_at_zero", "leaky_relu")


def activation_rule(name: str) -> Rule:
    """Returns the rule `a = σ(z)` of that name; raises ValueError with the known names otherwise.

    >>> import jax.numpy as jnp
    >>> activation_rule("tanh").f(jnp.zeros(2)).tolist()
    [0.0, 0.0]
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: {name!r} is unknown: choose one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
