"""What the rules do with values that many devices share, as far as it shows when a program is traced: none is run."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jbackprop.layers.conv2d import conv2d
from jbackprop.layers.linear import linear
from jbackprop.layers.softmax_cross_entropy import softmax_cross_entropy


@pytest.mark.parametrize(
    ("rule", "x", "w"),
    [
        (linear, ((4, 6), P("rows", None)), ((6, 8), P(None, "columns"))),
        (conv2d, ((4, 5, 5, 2), P("rows", None, None, None)), ((2, 2, 2, 3), P(None, None, None, None))),
    ],
)
def test_a_cotangent_lies_on_the_devices_as_its_primal_does(rule, x, w):
    mesh = AbstractMesh((2, 2), ("rows", "columns"), axis_types=(AxisType.Explicit,) * 2)
    x, w = (jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec)) for shape, spec in (x, w))
    with jax.sharding.use_abstract_mesh(mesh):
        cotangents = jax.eval_shape(jax.grad(lambda x, w: rule(x, w).sum(), (0, 1)), x, w)
    assert [ct.sharding.spec for ct in cotangents] == [x.sharding.spec, w.sharding.spec]


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")):
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                yield from equations(getattr(inner, "jaxpr", inner))


def test_the_shares_of_the_devices_are_added_before_they_are_rounded():
    """The cotangents of a replicated matrix and bias in bfloat16: one rounding, however many devices there are."""
    x, w, b = (jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in ((8, 3), (3, 2), (2,)))
    split = jax.shard_map(
        lambda x, w, b: jax.grad(lambda w, b: linear(x, w, b).sum(), (0, 1))(w, b),
        mesh=AbstractMesh((4,), ("data",), axis_types=(AxisType.Auto,)),
        in_specs=(P("data"), P(), P()),
        out_specs=P(),
    )
    program = jax.make_jaxpr(split)(x, w, b)
    added = [e.outvars[0].aval for e in equations(program.jaxpr) if e.primitive.name.startswith("psum")]
    assert sorted((ct.shape, str(ct.dtype)) for ct in added) == [((2,), "float32"), ((3, 2), "float32")]


@pytest.mark.parametrize("labels", [(2,), (2, 5)], ids=["integers", "probabilities"])
def test_replicated_logits_get_the_sum_over_labels_that_are_split(labels):
    dtype = jnp.int32 if len(labels) == 1 else jnp.float32
    split = jax.shard_map(
        lambda logits, labels: jax.grad(lambda logits: softmax_cross_entropy(logits, labels, "sum"))(logits),
        mesh=AbstractMesh((4,), ("data",), axis_types=(AxisType.Auto,)),
        in_specs=(P(), P("data")),
        out_specs=P(),  # which JAX refuses where the shares are not added
    )
    shared = jax.ShapeDtypeStruct((2, 5), jnp.float32), jax.ShapeDtypeStruct((8, *labels[1:]), dtype)
    assert jax.eval_shape(split, *shared).shape == (2, 5)
