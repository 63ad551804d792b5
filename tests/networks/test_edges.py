"""The edges of the networks: images that are not square, and what lies just inside or outside of the limits."""

import jax
import jax.numpy as jnp
import pytest

from jbackprop.layers.relu import relu, relu_bwd, relu_fwd
from jbackprop.networks import cnn, deep, graph
from jbackprop.networks.activations import activation_rule
from jbackprop.networks.cnn_sizes import Block, Sizes, chosen_sizes, feature_maps, flattened_width
from jbackprop.networks.graph_rules import ADD
from jbackprop.networks.rule import bind


def test_an_image_that_is_not_square_keeps_its_height_and_width():
    sizes = Sizes((10, 6, 2), (Block(3, kernel=3),), dense=(4,))
    assert feature_maps(sizes) == [(10, 6, 2), (4, 2, 3)]
    assert flattened_width(sizes) == 24
    params = cnn.init(jax.random.key(0), sizes)
    assert cnn.forward(params, jnp.ones((5, 10, 6, 2)), sizes)[0].shape == (5, 4)


def test_one_network_may_pad_in_both_ways():
    sizes = Sizes((8, 8, 1), (Block(2, kernel=3, padding="SAME"), Block(2, kernel=3, padding="VALID")), dense=(4,))
    assert feature_maps(sizes) == [(8, 8, 1), (4, 4, 2), (1, 1, 2)]


@pytest.mark.parametrize("image", [(3, 8, 1), (8, 3, 1)])
def test_nothing_left_of_one_side_is_refused(image):
    with pytest.raises(ValueError, match="nothing is left"):
        Sizes(image, (Block(2, kernel=3),), dense=(4,))


@pytest.mark.parametrize(
    ("name", "pool"), [("cs229_2018", "max"), ("lenet", "avg"), ("flax_mnist", "avg"), ("digits", "max")]
)
def test_named_sizes_pool_as_their_models_do(name, pool):
    assert chosen_sizes(name).pool == pool


def test_sizes_are_given_by_name_or_in_full():
    params, x, y = cnn.init(jax.random.key(0), "digits"), jnp.ones((2, 8, 8, 1)), jnp.array([0, 1])
    by_name, in_full = (cnn.loss(params, x, y, sizes) for sizes in ("digits", cnn.NAMED["digits"]))
    assert by_name == in_full == cnn.loss_and_grads(params, x, y, "digits")[0]


def products(activation):
    """How many matrix products the backward pass of three layers of different widths takes."""
    params, x = deep.init(jax.random.key(0), (4, 6, 5, 3), activation=activation), jnp.ones((2, 4))
    out, residuals = deep.forward(params, x, activation)
    program = jax.make_jaxpr(lambda r, d: deep.backward(params, r, d, activation))(residuals, jnp.ones_like(out))
    return str(program).count("dot_general[")


def test_a_derivative_that_is_read_off_the_output_costs_no_product():
    """Two products a layer and two for alpha; gelu has to form u again, once a layer."""
    assert [products(name) for name in ("sigmoid", "tanh", "relu")] == [8, 8, 8]
    assert products("gelu") == 8 + 3


def test_layers_may_be_a_tuple_of_matrices():
    params = deep.init(jax.random.key(0), (4, 6, 3))
    x, y = jnp.ones((2, 4)), jnp.ones(2)
    L, grads = deep.loss_and_grads(params, x, y)
    L_of_tuple, grads_of_tuple = deep.loss_and_grads({**params, "layers": tuple(params["layers"])}, x, y)
    assert L == L_of_tuple == deep.loss({**params, "layers": tuple(params["layers"])}, x, y)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(grads_of_tuple), strict=True):
        assert jnp.array_equal(a, b)


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("image", "blocks", "words"),
    [
        ([8, 8, 1], (Block(2, 3),), r"image is \[8, 8, 1\]: give \(height, width, channels\)"),
        ((8, 8, 1), [Block(2, 3)], "needs tuples of blocks"),
    ],
)
def test_lists_of_sizes_are_refused(image, blocks, words):
    """They have no hash, so they could not be static arguments of `jax.jit`."""
    with pytest.raises(ValueError, match=f"^cnn: .*{words}"):
        Sizes(image, blocks, (4,))  # type: ignore[arg-type]


def test_a_static_argument_that_a_rule_does_not_have_is_refused():
    with pytest.raises(ValueError, match=r"^bind: the rule has no static argument 'zero': it has \['at_zero'\]$"):
        bind(relu, relu_fwd, relu_bwd, zero=1.0)


TANH = activation_rule("tanh")


@pytest.mark.usefixtures("as_users_see_it")
def test_inputs_given_as_a_list_are_shown_as_the_tuple_that_is_meant():
    with pytest.raises(ValueError, match=r"give a tuple of names, for example \('u', 'u'\)$"):
        graph.Node("v", ADD, ["u", "u"])  # type: ignore[arg-type]


def test_a_cycle_is_told_in_the_direction_of_the_values():
    nodes = [graph.Node("a", TANH, ("c",)), graph.Node("b", TANH, ("a",)), graph.Node("c", TANH, ("b",))]
    with pytest.raises(ValueError, match=r"^graph: the nodes 'a' -> 'b' -> 'c' -> 'a' form a cycle"):
        graph.build(nodes, {}, "a", ADD, inputs=())


@pytest.mark.usefixtures("as_users_see_it")
def test_of_a_misspelt_parameter_the_missing_name_is_told():
    network = graph.build([graph.Node("v", ADD, ("x", "w"))], {"w": (2,)}, "v", ADD)
    with pytest.raises(ValueError, match=r"^graph: params has no 'w': the graph declares 'w'$"):
        graph.forward({"W": jnp.ones(2)}, jnp.ones(2), network)
