"""Whole networks with an explicit backward pass: five functions each, composed from the rules of `jbackprop.layers`.

`init(key, sizes) -> params`, `forward(params, x) -> (out, residuals)`, `backward(params, residuals, d_out) -> grads`,
`loss(params, x, y)` and `loss_and_grads(params, x, y) -> (loss, grads)`. Options of a network are trailing keyword
arguments of each function that they matter to: the activation of `mlp` is one of all five, its cost one of the last
two. With `functools.partial` a network with its options becomes five plain functions.
"""

from jbackprop.networks import cnn as cnn
from jbackprop.networks import deep as deep
from jbackprop.networks import graph as graph
from jbackprop.networks import mlp as mlp
from jbackprop.networks import regression as regression
from jbackprop.networks import two_layer as two_layer
