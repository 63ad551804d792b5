"""What the tests of `automatic` share: a function, the same with a wrong rule, and its gradient."""

import jax
import jax.numpy as jnp


def plain(x):
    return 2 * jnp.sin(x)


def planted(function=plain, factor=100.0, **options):
    """`function` of one array with a wrong rule: a cotangent of `factor` everywhere."""
    rule = jax.custom_vjp(function)
    if options.get("symbolic_zeros"):
        rule.defvjp(lambda x: (function(x.value), x.value), lambda x, dy: (jnp.full_like(x, factor),), **options)
    else:
        rule.defvjp(lambda x: (function(x), x), lambda x, dy: (jnp.full_like(x, factor),), **options)
    return rule


def gradient(f, x):
    return jax.grad(lambda x: jnp.sum(f(x)))(x)
