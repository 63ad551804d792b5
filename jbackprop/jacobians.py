r"""The Jacobians behind the rules, written out element by element, for small sizes.

A rule never forms these: it contracts them with a cotangent, which is a matrix product or an element-wise one. Written
out they are what JACOBIAN states as identities 1 to 6 and what VANILLA tabulates for batches of one and two rows.

Convention: a Jacobian has the axes of the output first and those of the argument after them, as `jax.jacobian` has it,
$J_{k,ij} = \partial z_k / \partial W_{ij}$; $\delta$ is 1 where its indices are equal and 0 elsewhere.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float


def contract(jacobian: Float[Array, "..."], d_out: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""Returns $\sum_k dz_k\, \partial z_k / \partial v$: the cotangent of the argument, in the argument's shape.

    `jacobian` is `(*out, *argument)`, `d_out` `(*out,)`.
    Source: VANILLA, the total derivative of the loss.

    >>> contract(jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), jnp.array([1.0, 10.0])).tolist()
    [41.0, 52.0, 63.0]
    """
    return jnp.tensordot(d_out, jacobian, axes=d_out.ndim)


def matrix_vector_by_vector(w: Float[Array, "n m"], x: Float[Array, " m"]) -> Float[Array, "n m"]:
    r"""Identity 1: $z = W x$ has $\partial z_i / \partial x_j = W_{ij}$, the matrix itself.

    Source: JACOBIAN, identity 1.

    >>> matrix_vector_by_vector(jnp.array([[1.0, 2.0, 3.0]]), jnp.zeros(3)).tolist()
    [[1.0, 2.0, 3.0]]
    """
    return w


def vector_matrix_by_vector(x: Float[Array, " n"], w: Float[Array, "n m"]) -> Float[Array, "m n"]:
    r"""Identity 2: $z = x W$ has $\partial z_i / \partial x_j = W_{ji}$, the transpose.

    Source: JACOBIAN, identity 2; VANILLA, $\partial z_1 / \partial a$ for a batch of one.

    >>> vector_matrix_by_vector(jnp.zeros(1), jnp.array([[1.0, 2.0, 3.0]])).tolist()
    [[1.0], [2.0], [3.0]]
    """
    return w.T


def identity_by_itself(x: Float[Array, " n"]) -> Float[Array, "n n"]:
    r"""Identity 3: $z = x$ has $\partial z_i / \partial x_j = \delta_{ij}$.

    Source: JACOBIAN, identity 3.

    >>> identity_by_itself(jnp.array([7.0, 8.0])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return jnp.eye(x.shape[0], dtype=x.dtype)


def elementwise_by_vector(derivative: Callable[[Array], Array], x: Float[Array, " n"]) -> Float[Array, "n n"]:
    r"""Identity 4: $z = f(x)$, element by element, has $\partial z_i / \partial x_j = \delta_{ij} f'(x_i)$.

    `derivative` is $f'$.
    Source: JACOBIAN, identity 4.

    >>> elementwise_by_vector(jnp.cos, jnp.array([0.0, 0.0])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return jnp.diag(derivative(x))


def matrix_vector_by_matrix(w: Float[Array, "n m"], x: Float[Array, " m"]) -> Float[Array, "n n m"]:
    r"""Identity 5: $z = W x$ has $\partial z_k / \partial W_{ij} = \delta_{ki} x_j$; contracted, $dW = dz\, x^\top$.

    Source: JACOBIAN, identity 5.

    >>> matrix_vector_by_matrix(jnp.zeros((2, 2)), jnp.array([3.0, 4.0])).tolist()
    [[[3.0, 4.0], [0.0, 0.0]], [[0.0, 0.0], [3.0, 4.0]]]
    """
    return jnp.einsum("ki,j->kij", jnp.eye(w.shape[0], dtype=w.dtype), x)


def vector_matrix_by_matrix(x: Float[Array, " n"], w: Float[Array, "n m"]) -> Float[Array, "m n m"]:
    r"""Identity 6: $z = x W$ has $\partial z_k / \partial W_{ij} = x_i \delta_{kj}$; contracted, $dW = x^\top dz$.

    Source: JACOBIAN, identity 6; VANILLA, $\partial z_1 / \partial W$ for a batch of one.

    >>> vector_matrix_by_matrix(jnp.array([3.0, 4.0]), jnp.zeros((2, 2))).tolist()
    [[[3.0, 0.0], [4.0, 0.0]], [[0.0, 3.0], [0.0, 4.0]]]
    """
    return jnp.einsum("i,kj->kij", x, jnp.eye(w.shape[1], dtype=w.dtype))


def linear_by_input(a: Float[Array, "n i"], w: Float[Array, "i o"]) -> Float[Array, "n o n i"]:
    r"""`z = a W + b` for a batch: $\partial z_{no} / \partial a_{mi} = \delta_{nm} W_{io}$; rows do not meet.

    Source: VANILLA.

    >>> linear_by_input(jnp.zeros((1, 3)), jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))[0, :, 0].tolist()
    [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]
    """
    return jnp.einsum("nm,io->nomi", jnp.eye(a.shape[0], dtype=a.dtype), w)


def linear_by_weight(a: Float[Array, "n i"], w: Float[Array, "i o"]) -> Float[Array, "n o i o"]:
    r"""`z = a W + b` for a batch: $\partial z_{no} / \partial W_{ip} = a_{ni} \delta_{op}$.

    Source: VANILLA, $\partial z_1 / \partial W$.

    >>> linear_by_weight(jnp.array([[7.0, 8.0, 9.0]]), jnp.zeros((3, 2)))[0, 0].tolist()
    [[7.0, 0.0], [8.0, 0.0], [9.0, 0.0]]
    """
    return jnp.einsum("ni,op->noip", a, jnp.eye(w.shape[1], dtype=w.dtype))


def linear_by_bias(a: Float[Array, "n i"], w: Float[Array, "i o"]) -> Float[Array, "n o o"]:
    r"""`z = a W + b` for a batch: $\partial z_{no} / \partial b_p = \delta_{op}$ in each row; contracted, a sum over n.

    Source: VANILLA, $\partial z_{11} / \partial b$.

    >>> linear_by_bias(jnp.zeros((2, 3)), jnp.zeros((3, 2)))[1].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return jnp.broadcast_to(jnp.eye(w.shape[1], dtype=w.dtype), (a.shape[0], w.shape[1], w.shape[1]))


def relu_by_input(z: Float[Array, "n k"], at_zero: float = 0.0) -> Float[Array, "n k n k"]:
    r"""`a = relu(z)` for a batch: $\partial a_{nk} / \partial z_{ml} = \delta_{nm} \delta_{kl} 1[z_{nk} > 0]$.

    Four axes; at 0 exactly the derivative is `at_zero`.
    Source: VANILLA, $\partial a_{11} / \partial z$.

    >>> relu_by_input(jnp.array([[5.0, -5.0], [0.0, 5.0]]))[0, 0].tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    slope = jnp.where(z > 0, 1.0, jnp.where(z == 0, at_zero, 0.0)).astype(z.dtype)
    rows, columns = jnp.eye(z.shape[0], dtype=z.dtype), jnp.eye(z.shape[1], dtype=z.dtype)
    return jnp.einsum("nk,nm,kl->nkml", slope, rows, columns)


def softmax_by_logits(p: Float[Array, " k"]) -> Float[Array, "k k"]:
    r"""`p = softmax(z)` for one row: $\partial p_i / \partial z_j = p_i (\delta_{ij} - p_j)$, as a function of `p`.

    With $\partial J / \partial p_k = -y_k / p_k$ it contracts to $p - y$ for labels that add up to 1.
    Source: TWO-LAYER and JACOBIAN use the result $\hat y - y$ without this step.

    >>> softmax_by_logits(jnp.array([0.5, 0.5])).tolist()
    [[0.25, -0.25], [-0.25, 0.25]]
    """
    return jnp.diag(p) - jnp.outer(p, p)
