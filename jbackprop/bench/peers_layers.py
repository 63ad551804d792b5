"""A task's layers as the other libraries want them: convolutions and dense layers apart, and channels first."""

from typing import Any

from jbackprop.bench.peers import Task
from jbackprop.networks.cnn_sizes import Block, Sizes, feature_maps

Layers = list[tuple[Any, Any]]  # weights and biases


def blocks_of(task: Task) -> tuple[Block, ...]:
    """Returns the blocks of a convolutional network, of others none."""
    sizes = task.model.sizes
    return sizes.blocks if isinstance(sizes, Sizes) else ()


def widths_and_activation(task: Task) -> tuple[list[int], str]:
    """Returns the widths of the dense layers after the first input, and the activation between them."""
    sizes = task.model.sizes
    if isinstance(sizes, Sizes):
        return list(sizes.dense), "relu"
    return list(sizes[1:]), "sigmoid" if task.model.name == "two_layer" else "relu"


def layers_of(task: Task) -> tuple[Layers, Layers]:
    """Returns weights and biases of the convolutions and of the dense layers."""
    params = task.params
    if task.model.name == "two_layer":
        return [], [(params["w1"], params["b1"]), (params["w2"], params["b2"])]
    dense = params["dense"] if isinstance(params, dict) else params
    conv = params["conv"] if isinstance(params, dict) else []
    return [(layer["w"], layer["b"]) for layer in conv], [(layer["w"], layer["b"]) for layer in dense]


def channels_first(task: Task) -> tuple[Layers, Layers, list[tuple[Any, Any]]]:
    """Returns kernels as OIHW, dense weights as (o, i) that read flattened channels first, and the batches as NCHW."""
    conv, dense = layers_of(task)
    sizes = task.model.sizes
    kernels = [(w.transpose(3, 2, 0, 1), b) for w, b in conv]
    if isinstance(sizes, Sizes):
        (w, b), *rest = dense
        height, width, channels = feature_maps(sizes)[-1]
        w = w.reshape(height, width, channels, -1).transpose(2, 0, 1, 3).reshape(w.shape)
        dense = [(w, b), *rest]
    batches = [(x.transpose(0, 3, 1, 2) if x.ndim == 4 else x, y) for x, y in task.batches]
    return kernels, [(w.T, b) for w, b in dense], batches
