"""What `network.name = "graph"` trains: of all graphs that jbackprop.networks.graph takes, a residual perceptron.

It is given as nodes, so that its gradients come from the engine. It is not the residual network of the registry of
cases (`graph_residual`), whose first layer adds its input: here the input is as wide as the image, and is not added.
"""

from collections.abc import Sequence
from itertools import pairwise

from jbackprop.layers.linear import linear, linear_bwd, linear_fwd
from jbackprop.networks import graph
from jbackprop.networks.activations import activation_rule
from jbackprop.networks.graph import Graph, Node
from jbackprop.networks.graph_rules import ADD
from jbackprop.networks.rule import Rule, bind


def residual(sizes: Sequence[int], cost: Rule) -> Graph:
    r"""Returns the graph of a network of widths `(d, K, ..., K, classes)`, whose layers add to what they read:

    $$z_1 = \mathrm{relu}(x w_1 + b_1) \qquad z_t = z_{t-1} + \mathrm{relu}(z_{t-1} w_t + b_t) \qquad
      \mathrm{logits} = z_T w_{T+1} + b_{T+1}$$

    Raises: ValueError for hidden widths that differ.

    >>> from jbackprop.networks.costs import COSTS
    >>> [node.name for node in residual((64, 16, 16, 10), COSTS["cross_entropy"]).nodes]
    ['u1', 'z1', 'u2', 'a2', 'z2', 'u3']
    """
    if len(set(sizes[1:-1])) > 1:
        raise ValueError(f"residual: layers that are added have one width, got {list(sizes[1:-1])}")
    affine, relu = bind(linear, linear_fwd, linear_bwd), activation_rule("relu")
    nodes, params, z = [], {}, "x"
    for t, (i, o) in enumerate(pairwise(sizes), 1):
        params |= {f"w{t}": (i, o), f"b{t}": (o,)}
        nodes.append(Node(f"u{t}", affine, (z, f"w{t}", f"b{t}")))
        if t == len(sizes) - 1:
            break
        first = z == "x"
        nodes.append(Node(f"z{t}" if first else f"a{t}", relu, (f"u{t}",)))
        if not first:
            nodes.append(Node(f"z{t}", ADD, (z, f"a{t}")))
        z = f"z{t}"
    return graph.build(nodes, params, output=f"u{len(sizes) - 1}", loss_rule=cost)
