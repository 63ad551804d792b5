"""Backpropagation written out by hand in JAX, and proven.

The trio `f`, `f_fwd`, `f_bwd` of each rule is in `jbackprop.layers.<name>`; the networks are in `jbackprop.networks`.
"""

from jbackprop.layers.avg_pool import avg_pool as avg_pool
from jbackprop.layers.conv2d import conv2d as conv2d
from jbackprop.layers.flatten import flatten as flatten
from jbackprop.layers.gelu import gelu as gelu
from jbackprop.layers.identity import identity as identity
from jbackprop.layers.leaky_relu import leaky_relu as leaky_relu
from jbackprop.layers.linear import linear as linear
from jbackprop.layers.log_softmax import log_softmax as log_softmax
from jbackprop.layers.max_pool import max_pool as max_pool
from jbackprop.layers.mean_squared_error import mean_squared_error as mean_squared_error
from jbackprop.layers.relu import relu as relu
from jbackprop.layers.sigmoid import sigmoid as sigmoid
from jbackprop.layers.silu import silu as silu
from jbackprop.layers.softmax import softmax as softmax
from jbackprop.layers.softmax_cross_entropy import softmax_cross_entropy as softmax_cross_entropy
from jbackprop.layers.softplus import softplus as softplus
from jbackprop.layers.squared_error import squared_error as squared_error
from jbackprop.layers.tanh import tanh as tanh
from jbackprop.verify.automatic import automatic as automatic
from jbackprop.verify.compare import check_vjp as check_vjp
from jbackprop.verify.compare import compare_vjp as compare_vjp
from jbackprop.verify.model import check_model as check_model
from jbackprop.verify.model import compare_model as compare_model
from jbackprop.verify.model_report import ModelError as ModelError
from jbackprop.verify.report import VJPError as VJPError
