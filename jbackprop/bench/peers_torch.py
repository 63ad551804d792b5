"""PyTorch: eager, eager with channels last, and `torch.compile`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jbackprop.bench.machine import cores
from jbackprop.bench.peers import RATE, Epoch, Missing, Peers, Task
from jbackprop.bench.peers_layers import blocks_of, channels_first, widths_and_activation


def torch_peers() -> Peers:
    """Returns them by name."""
    return {
        "torch, eager": lambda task: _torch(task),
        "torch, eager, channels last": lambda task: _torch(task, channels_last=True),
        "torch, compiled": lambda task: _torch(task, compiled=True),
    }


@contextmanager
def threads_of_torch() -> Iterator[None]:
    """As many threads as JAX has, and matrix products as precise as JAX's default; put back afterwards."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        yield
        return
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    torch.set_num_threads(cores())
    if jax.default_backend() != "cpu":
        torch.set_float32_matmul_precision("high")  # TF32
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_float32_matmul_precision(before[1])


def _torch(task: Task, channels_last: bool = False, compiled: bool = False) -> Epoch:
    import torch  # pyright: ignore[reportMissingImports]

    if channels_last and not blocks_of(task):
        raise Missing("a layout of images")
    device = _device(torch)
    net, batches = _network(torch, task, device)
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
        batches = [(x.to(memory_format=torch.channels_last), y) for x, y in batches]
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    model = torch.compile(net) if compiled else net

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def epoch() -> list[Any]:
        losses = [step(x, y) for x, y in batches]
        if device != "cpu":
            torch.cuda.synchronize()
        return losses

    return epoch


def _device(torch: Any) -> str:
    if jax.default_backend() == "cpu":
        return "cpu"
    if not torch.cuda.is_available():
        raise Missing("this torch has no GPU, and JAX uses one")
    return "cuda"


def _network(torch: Any, task: Task, device: str) -> tuple[Any, list[tuple[Any, Any]]]:
    kernels, dense, batches = channels_first(task)
    _, activation = widths_and_activation(task)
    between = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}[activation]

    def tensor(array: Any) -> Any:
        made = torch.tensor(np.asarray(array.astype(jnp.float32) if array.dtype == jnp.bfloat16 else array))
        return made.to(device, torch.bfloat16 if array.dtype == jnp.bfloat16 else made.dtype)

    layers: list[Any] = []
    for (w, b), block in zip(kernels, blocks_of(task), strict=True):
        padding = "same" if block.padding == "SAME" else 0
        layer = torch.nn.Conv2d(w.shape[1], w.shape[0], w.shape[2], padding=padding)
        layers += [_filled(torch, layer, tensor(w), tensor(b)), torch.nn.ReLU(), torch.nn.MaxPool2d(block.window)]
    layers.append(torch.nn.Flatten())
    for i, (w, b) in enumerate(dense):
        layer = _filled(torch, torch.nn.Linear(w.shape[1], w.shape[0]), tensor(w), tensor(b))
        layers += [layer] if i == len(dense) - 1 else [layer, between()]
    return torch.nn.Sequential(*layers), [(tensor(x), tensor(y).long()) for x, y in batches]


def _filled(torch: Any, layer: Any, w: Any, b: Any) -> Any:
    layer.weight, layer.bias = torch.nn.Parameter(w), torch.nn.Parameter(b)
    return layer
