"""What a convolutional classifier says of parameters and images that are not those of its sizes."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from jbackprop.networks.cnn_sizes import NAMED, Sizes, feature_maps, flattened_width


def parameter_shapes(sizes: Sizes) -> dict[str, list[dict[str, tuple[int, ...]]]]:
    """Returns the tree of the parameters with their shapes in place of arrays.

    >>> parameter_shapes(NAMED["cs229_2018"])
    {'conv': [{'w': (4, 4, 1, 2), 'b': (2,)}], 'dense': [{'w': (50, 10), 'b': (10,)}]}
    """
    channels = [shape[-1] for shape in feature_maps(sizes)]
    kernels = [(block.kernel, block.kernel) for block in sizes.blocks]
    conv = [(*kernel, i, o) for kernel, i, o in zip(kernels, channels[:-1], channels[1:], strict=True)]
    dense = zip((flattened_width(sizes), *sizes.dense[:-1]), sizes.dense, strict=True)
    return {
        "conv": [{"w": shape, "b": shape[-1:]} for shape in conv],
        "dense": [{"w": shape, "b": shape[-1:]} for shape in dense],
    }


def check_arguments(params: Any, x: Array, sizes: Sizes) -> None:
    """Raises ValueError unless `params` and the images `x` have the shapes that `sizes` ask for."""
    image = jnp.shape(x)
    if image[1:] != sizes.image:
        wanted = ", ".join(map(str, sizes.image))
        raise ValueError(
            f"cnn: x has shape {image} but {_name(sizes)} reads (n, {wanted}), as (n, height, width, channels): "
            f"resize or pad the images, or pass sizes=cnn.Sizes(image=...) of theirs"
        )
    shapes = parameter_shapes(sizes)
    for part, layers in shapes.items():
        if part not in params or len(params[part]) != len(layers):
            given = f"{len(params[part])} layers" if part in params else "nothing"
            raise ValueError(f"cnn: params has {given} in {part!r} but {_name(sizes)} has {len(layers)}: {SAME_SIZES}")
        for position, layer in enumerate(layers):
            for name, shape in layer.items():
                _check_shape(f"params[{part!r}][{position}]", params[part][position], name, shape, sizes)


def _check_shape(place: str, layer: dict[str, Array], name: str, shape: tuple[int, ...], sizes: Sizes) -> None:
    if name not in layer:
        raise ValueError(f"cnn: {place} has no {name!r}: {SAME_SIZES}")
    given = jnp.shape(layer[name])
    if given != shape:
        raise ValueError(f"cnn: {place}[{name!r}] has shape {given} but {_name(sizes)} expects {shape}: {SAME_SIZES}")


def _name(sizes: Sizes) -> str:
    return next((f"sizes {name!r}" for name, named in NAMED.items() if named == sizes), "the network of these sizes")


SAME_SIZES = "pass the sizes that cnn.init was given"
