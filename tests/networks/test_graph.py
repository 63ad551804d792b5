"""The engine: order, several readers, shared parameters, and the graphs that are refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.networks import graph
from jbackprop.networks.activations import activation_rule
from jbackprop.networks.graph_rules import ADD, add
from jbackprop.networks.rule import Rule
from jbackprop.verify.network_cases import CROSS_ENTROPY, DIAMOND_GRAPH, LINEAR, MEAN_SQUARED_ERROR, RESIDUAL_GRAPH

from .test_gradients_agree import assert_leaves_close, normal

SIGMOID, TANH = activation_rule("sigmoid"), activation_rule("tanh")


def build(nodes, output="v", params=None, **options):
    nodes = [graph.Node(*node) for node in nodes]
    return graph.build(nodes, params or {"w": (3, 3)}, output, MEAN_SQUARED_ERROR, **options)


def compare(network, plain, x, params=None):
    """The explicit gradient under `jit`, and the rules', against JAX's of a plain function of (params, x)."""
    with jax.enable_x64(True):
        shapes = jax.eval_shape(lambda: graph.init(jax.random.key(0), network, "float64"))
        params, x = normal(0, (shapes, jax.tree.map(lambda shape: jax.ShapeDtypeStruct(shape, "float64"), x)))
        y = normal(1, jax.eval_shape(plain, params, x))

        @jax.jit
        def everything(params):
            by_rules = jax.value_and_grad(graph.loss)(params, x, y, network)
            wanted = jax.value_and_grad(lambda params: ((plain(params, x) - y) ** 2).mean())(params)
            return graph.loss_and_grads(params, x, y, network), by_rules, wanted

        explicit, by_rules, wanted = everything(params)
        assert_leaves_close(explicit, wanted, 1e-13)
        assert_leaves_close(by_rules, wanted, 1e-13)


class shape(tuple):
    """A leaf of a pytree, which a plain tuple is not."""


def test_a_parameter_read_by_two_nodes_gets_both_gradients():
    network = build([("u", LINEAR, ("x", "w")), ("a", TANH, ("u",)), ("v", LINEAR, ("a", "w"))])
    compare(network, lambda p, x: jnp.tanh(x @ p["w"]) @ p["w"], shape((5, 3)))


def test_a_node_that_reads_the_same_value_twice_gets_both_cotangents():
    network = build([("u", LINEAR, ("x", "w")), ("v", ADD, ("u", "u"))])
    compare(network, lambda p, x: 2 * (x @ p["w"]), shape((5, 3)))


def test_an_output_that_is_read_inside_as_well():
    """The cotangent of the output is one term of the sum, beside those of its readers."""
    nodes = [("v", LINEAR, ("x", "w")), ("a", TANH, ("v",))]
    with pytest.raises(ValueError, match="'a' is never read"):
        build(nodes)
    network = build([*nodes, ("r", ADD, ("v", "a"))], output="r")
    compare(network, lambda p, x: x @ p["w"] + jnp.tanh(x @ p["w"]), shape((5, 3)))


def test_several_inputs_and_an_optional_bias():
    network = build(
        [("u", LINEAR, ("left", "w", "b")), ("r", LINEAR, ("right", "w")), ("v", ADD, ("u", "r"))],
        params={"w": (3, 3), "b": (3,)},
        inputs=("left", "right"),
    )
    inputs = {"left": shape((5, 3)), "right": shape((5, 3))}
    compare(network, lambda p, x: (x["left"] + x["right"]) @ p["w"] + p["b"], inputs)


def test_four_ways_from_a_node_to_the_output():
    """Two diamonds in a row: u -> a, b -> s -> c, d -> v has four paths, and a cotangent for each."""
    nodes = [
        ("v", ADD, ("c", "d")),
        ("d", TANH, ("s",)),
        ("c", SIGMOID, ("s",)),
        ("s", ADD, ("a", "b")),
        ("b", TANH, ("u",)),
        ("a", SIGMOID, ("u",)),
        ("u", LINEAR, ("x", "w")),
    ]

    def plain(p, x):
        u = x @ p["w"]
        s = jax.nn.sigmoid(u) + jnp.tanh(u)
        return jax.nn.sigmoid(s) + jnp.tanh(s)

    network = build(nodes)
    assert [node.name for node in network.nodes] == ["u", "b", "a", "s", "d", "c", "v"]
    compare(network, plain, shape((5, 3)))


def test_a_node_may_read_integers():
    """Cross-entropy as a node: its labels are an input of the network and have no cotangent."""
    nodes = [graph.Node("logits", LINEAR, ("x", "w")), graph.Node("J", CROSS_ENTROPY, ("logits", "labels"))]
    network = graph.build(nodes, {"w": (3, 4)}, "J", MEAN_SQUARED_ERROR, inputs=("x", "labels"))
    labels = np.array([3, 1])

    @jax.jit
    def both(w, x):
        J, residuals = graph.forward({"w": w}, {"x": x, "labels": jnp.asarray(labels)}, network)
        wanted = jax.grad(lambda w: -jax.nn.log_softmax(x @ w)[np.arange(2), labels].mean())(w)
        return graph.cotangents(residuals, jnp.ones_like(J), network), wanted

    found, wanted = both(jnp.ones((3, 4)), jnp.arange(6.0).reshape(2, 3))
    assert sorted(found) == ["J", "logits", "w", "x"]
    np.testing.assert_allclose(found["w"], wanted, rtol=1e-6)


def test_what_reaches_the_output_through_integers_alone_has_no_gradient():
    """The labels are those that a second layer says: neither it nor its weights get a cotangent."""
    argmax = Rule(lambda z: jnp.argmax(z, axis=-1), lambda z: (jnp.argmax(z, axis=-1), None), lambda _, dy: (None,))
    nodes = [
        graph.Node("logits", LINEAR, ("x", "w")),
        graph.Node("scores", LINEAR, ("logits", "v")),
        graph.Node("labels", argmax, ("scores",)),
        graph.Node("J", CROSS_ENTROPY, ("logits", "labels")),
    ]
    network = graph.build(nodes, {"w": (3, 4), "v": (4, 4)}, "J", MEAN_SQUARED_ERROR)
    params = graph.init(jax.random.key(0), network)
    x, y = jnp.arange(6.0).reshape(2, 3), jnp.zeros(())
    explicit = graph.loss_and_grads(params, x, y, network)
    wanted = jax.value_and_grad(graph.loss)(params, x, y, network)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-7), explicit, wanted)
    assert (explicit[1]["v"] == 0).all()
    assert sorted(graph.cotangents(graph.forward(params, x, network)[1], y + 1, network)) == ["J", "logits", "w", "x"]


def test_cotangents_of_every_node_and_of_the_input():
    params, x = {"w": jnp.eye(7, 4)}, jnp.linspace(-1.0, 1.0, 14).reshape(2, 7)

    def plain(x):
        return (jax.nn.sigmoid(x @ params["w"]) + jnp.tanh(x @ params["w"])).sum()

    @jax.jit
    def both(x):
        out, residuals = graph.forward(params, x, DIAMOND_GRAPH)
        return graph.cotangents(residuals, jnp.ones_like(out), DIAMOND_GRAPH), jax.grad(plain)(x)

    d, wanted = both(x)
    np.testing.assert_allclose(d["x"], wanted, rtol=1e-6)
    np.testing.assert_array_equal(d["left"], jnp.ones((2, 4)))
    np.testing.assert_array_equal(d["right"], jnp.ones((2, 4)))


def test_the_engine_leaves_nothing_behind_under_jit():
    """The traced program has as many equations as the calls of the rules by hand: the dictionaries are gone."""
    params = {"w": jnp.ones((7, 4))}

    def by_hand(w, x):
        u, saved_u = LINEAR.fwd(x, w)
        left, saved_left = SIGMOID.fwd(u)
        right, saved_right = TANH.fwd(u)
        v, saved_v = ADD.fwd(left, right)
        dleft, dright = ADD.bwd(saved_v, jnp.ones_like(v))
        du = TANH.bwd(saved_right, dright)[0] + SIGMOID.bwd(saved_left, dleft)[0]
        return LINEAR.bwd(saved_u, du)[1]

    def by_engine(w, x):
        v, residuals = graph.forward({"w": w}, x, DIAMOND_GRAPH)
        return graph.backward({"w": w}, residuals, jnp.ones_like(v), DIAMOND_GRAPH)["w"]

    x = jnp.ones((2, 7))
    counted = [len(jax.make_jaxpr(f)(params["w"], x).jaxpr.eqns) for f in (by_hand, by_engine)]
    assert counted[0] == counted[1]


def test_a_graph_is_a_static_argument():
    step = jax.jit(graph.loss_and_grads, static_argnames="graph")
    params = graph.init(jax.random.key(0), RESIDUAL_GRAPH)
    five = functools.partial(step, graph=RESIDUAL_GRAPH)
    loss, grads = five(params, jnp.ones((2, 12)), jnp.array([0, 1]))
    assert loss > 0
    assert jax.tree.map(jnp.shape, grads) == jax.tree.map(jnp.shape, params)
    assert (params["b1"] == 0).all()
    assert abs(params["w1"].var() * 12 - 1) < 0.6


LINE = ("u", LINEAR, ("x", "w"))


@pytest.mark.parametrize(
    ("nodes", "options", "words"),
    [
        ([LINE, ("v", ADD, ("u", "z"))], {}, r"node 'v' reads 'z', which is no node, parameter or input"),
        (
            [LINE, ("v", ADD, ("u", "t")), ("t", TANH, ("v",))],
            {},
            r"the nodes '(v' -> 't' -> 'v|t' -> 'v' -> 't)' form a cycle",
        ),
        ([LINE, ("v", ADD, ("u", "v"))], {}, r"the nodes 'v' -> 'v' form a cycle"),
        ([LINE, ("v", TANH, ("u",)), ("t", TANH, ("u",))], {}, r"'t' is never read: remove it, or make it the output"),
        ([LINE, ("v", TANH, ("u",))], {"params": {"w": (3, 3), "b": (3,)}}, r"'b' is never read"),
        ([LINE, ("v", TANH, ("u",))], {"inputs": ("x", "mask")}, r"'mask' is never read"),
        ([LINE, ("v", TANH, ("u",)), ("v", SIGMOID, ("u",))], {}, r"the name 'v' is given twice"),
        ([LINE, ("w", TANH, ("u",))], {"output": "w"}, r"the name 'w' is given twice"),
        ([LINE, ("v", TANH, ("u",))], {"output": "z"}, r"output 'z' is no node: choose one of 'u', 'v'"),
        ([LINE, ("v", ADD, ("u",))], {}, r"node 'v' reads \('u',\) but its rule takes \(a, b\): missing"),
        ([LINE, ("v", TANH, ("u", "x"))], {}, r"node 'v' reads \('u', 'x'\) but its rule takes \(z\): too many"),
        ([("v", LINEAR, "xw")], {}, r"node 'v' has inputs 'xw': give a tuple of names, for example \('xw',\)"),
        ([LINE, ("v", ADD, ["u", "u"])], {}, r"node 'v' has inputs \['u', 'u'\]: give a tuple of names"),
        ([("v", LINEAR, ("left", "w"))], {"inputs": "left"}, r"the network has inputs 'left': give a tuple of names"),
    ],
)
@pytest.mark.usefixtures("as_users_see_it")
def test_refused_graphs(nodes, options, words):
    with pytest.raises(ValueError, match=rf"^graph: .*{words}"):
        build(nodes, **options)


def test_a_cycle_is_told_from_what_only_waits_for_it():
    nodes = [("v", TANH, ("b",)), ("a", ADD, ("u", "c")), ("b", TANH, ("a",)), ("c", TANH, ("b",)), LINE]
    with pytest.raises(ValueError, match="form a cycle") as caught:
        build(nodes)
    assert "'v'" not in str(caught.value)
    assert all(f"'{name}'" in str(caught.value) for name in "abc")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, r"params has no 'w': the graph declares 'w'"),
        ({"w": (7, 4), "x": (2, 7)}, r"params has 'x', which the graph does not declare: remove it"),
        ({"w": (4, 7)}, r"the parameter 'w' has shape \(4, 7\) but the graph declares \(7, 4\): use graph\.init"),
    ],
)
@pytest.mark.parametrize("function", [graph.forward, graph.loss, graph.loss_and_grads, graph.backward])
def test_params_that_the_graph_does_not_declare_are_refused(function, params, words, as_users_see_it):
    declared, x, y = {"w": jnp.ones((7, 4))}, jnp.ones((2, 7)), jnp.ones((2, 4))
    _, residuals = graph.forward(declared, x, DIAMOND_GRAPH)
    arguments = {graph.forward: (x,), graph.backward: (residuals, y)}.get(function, (x, y))
    with pytest.raises(ValueError, match=rf"^graph: {words}"):
        function({name: jnp.ones(shape) for name, shape in params.items()}, *arguments, DIAMOND_GRAPH)


def test_inputs_that_the_graph_does_not_read_are_refused():
    with pytest.raises(ValueError, match=r"graph: x has the inputs \['left'\] but the graph reads \['x'\]"):
        graph.forward({"w": jnp.ones((7, 4))}, {"left": jnp.ones((2, 7))}, DIAMOND_GRAPH)


@pytest.mark.usefixtures("as_users_see_it")
def test_add_refuses_what_would_broadcast():
    with pytest.raises(ValueError, match=r"add: a has shape \(2, 3\) but b has shape \(3,\)"):
        add(jnp.ones((2, 3)), jnp.ones(3))
    with pytest.raises(TypeError, match="add: a is float32 but b is bfloat16"):
        add(jnp.ones(3), jnp.ones(3, jnp.bfloat16))
