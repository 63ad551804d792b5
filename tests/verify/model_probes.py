"""What the tests of a whole model share: a network of three layers, with a right rule and a wrong one."""

import jax
import jax.numpy as jnp
import numpy as np

RNG = np.random.default_rng(0)
WEIGHTS = {f"w{i}": RNG.standard_normal((3, 3)) for i in (1, 2, 3)}
X = RNG.standard_normal((4, 3))


@jax.custom_vjp
def right(z):
    return jnp.tanh(z)


right.defvjp(lambda z: (jnp.tanh(z), jnp.tanh(z)), lambda a, da: (da * (1 - a * a),))


@jax.custom_vjp
def negated(z):
    return jnp.tanh(z)


negated.defvjp(lambda z: (jnp.tanh(z), jnp.tanh(z)), lambda a, da: (-da * (1 - a * a),))


def mlp(params, x, rules=(right, right, right)):
    for rule, w in zip(rules, params.values(), strict=True):
        x = rule(x @ w)
    return (x * x).mean()


def placed(position, rule):
    return [rule if i == position else right for i in range(3)]
