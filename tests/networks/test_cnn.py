"""The named sizes, an independent second reference, and what is refused."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.networks import cnn
from jbackprop.networks.cnn_checks import parameter_shapes

from .test_gradients_agree import assert_leaves_close, normal

untyped: Any = cnn  # for arguments that a type checker refuses before they run


@pytest.mark.parametrize(
    ("name", "maps", "parameters"),
    [
        ("cs229_2018", [(5, 5, 2)], 544),
        ("lenet", [(14, 14, 6), (5, 5, 16)], 61_706),
        ("flax_mnist", [(14, 14, 32), (7, 7, 64)], 824_458),
        ("digits", [(4, 4, 32), (2, 2, 64)], 53_002),
    ],
)
def test_named_sizes(name, maps, parameters):
    """Feature maps after each block, and the number of parameters that the networks are known by."""
    sizes = cnn.NAMED[name]
    params = jax.eval_shape(lambda: cnn.init(jax.random.key(0), name))
    x = jax.ShapeDtypeStruct((2, *sizes.image), jnp.float32)
    logits, residuals = jax.eval_shape(functools.partial(cnn.forward, sizes=name), params, x)
    assert logits.shape == (2, 10)
    inputs = [saved.conv.x.shape[1:] for saved in residuals.blocks]
    assert inputs == [sizes.image, *maps[:-1]]
    assert params["dense"][0]["w"].shape[0] == np.prod(maps[-1])
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == parameters


def torch_loss_and_grads(params, x, y, sizes, relu_last):
    """The same network in PyTorch; `relu_last` pools before the ReLU, as the exercise of CS229 does."""
    torch = pytest.importorskip("torch", reason="PyTorch, the second reference, comes with the extra `bench`")
    functional = torch.nn.functional
    leaves = jax.tree.map(lambda p: torch.tensor(np.asarray(p), requires_grad=True), params)
    pool = functional.max_pool2d if sizes.pool == "max" else functional.avg_pool2d
    maps = torch.tensor(np.asarray(x)).permute(0, 3, 1, 2)
    for layer, block in zip(leaves["conv"], sizes.blocks, strict=True):
        maps = functional.conv2d(maps, layer["w"].permute(3, 2, 0, 1), layer["b"], padding=block.padding.lower())
        maps = functional.relu(pool(maps, block.window)) if relu_last else pool(functional.relu(maps), block.window)
    out = maps.permute(0, 2, 3, 1).flatten(1)
    *hidden, last = leaves["dense"]
    for layer in hidden:
        out = functional.relu(out @ layer["w"] + layer["b"])
    loss = functional.cross_entropy(out @ last["w"] + last["b"], torch.tensor(np.asarray(y)))
    loss.backward()
    return jax.tree.map(lambda t: jnp.asarray(t.detach().numpy()), (loss, jax.tree.map(lambda t: t.grad, leaves)))


@pytest.mark.parametrize(("name", "relu_last"), [("cs229_2018", True), ("lenet", False), ("digits", False)])
def test_torch_gives_the_same_gradient(name, relu_last):
    sizes = cnn.NAMED[name]
    with jax.enable_x64(True):
        shapes = jax.eval_shape(lambda: cnn.init(jax.random.key(0), sizes, "float64"))
        params, x = normal(0, (shapes, jax.ShapeDtypeStruct((2, *sizes.image), jnp.float64)))
        y = jnp.array([3, 8])
        found = jax.jit(cnn.loss_and_grads, static_argnames="sizes")(params, x, y, sizes=name)
        assert_leaves_close(found, torch_loss_and_grads(params, x, y, sizes, relu_last), 1e-12)


def test_a_black_image_moves_no_kernel():
    """With zero biases each z is exactly 0, where the derivative of this network's ReLU is 0."""
    sizes = cnn.Sizes((6, 6, 1), (cnn.Block(2, 3, "SAME"),), (3,))
    params = cnn.init(jax.random.key(0), sizes)
    step = jax.jit(functools.partial(cnn.loss_and_grads, sizes=sizes))
    _, grads = step(params, jnp.zeros((2, 6, 6, 1)), jnp.array([0, 1]))
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(grads["conv"]))
    assert (np.asarray(grads["dense"][0]["b"]) != 0).all()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda: cnn.init(jax.random.key(0), "alexnet"),
            r"sizes 'alexnet' are unknown: choose one of cs229_2018, ",
        ),
        (
            lambda: cnn.Sizes((8, 8, 1), (cnn.Block(4, 3),), (10,), pool="mean"),
            r"pool is 'mean': choose 'max' or 'avg'",
        ),
        (lambda: cnn.Sizes((8, 8, 1), (), (10,)), "needs at least one convolution"),
        (lambda: cnn.Sizes((8, 8, 1), (cnn.Block(4, 3),), ()), "one dense layer, the classes"),
        (lambda: cnn.Sizes((8, 8, 1), (cnn.Block(4, 3, "REFLECT"),), (10,)), "padding is 'REFLECT': choose 'VALID'"),
        (lambda: cnn.Sizes((8, 8, 1), (cnn.Block(4, 9),), (10,)), r"nothing is left of \(8, 8, 1\) after Block"),
        (lambda: cnn.Sizes((8, 8, 1), (cnn.Block(4, 3, window=7),), (10,)), "use a smaller kernel or window"),
        (lambda: untyped.init(jax.random.key(0), [1, 2]), r"sizes \[1, 2\] are unknown: choose one of cs229_2018, "),
        (lambda: cnn.Block(4, 3, window=0), "has window of 0: give a positive integer"),
        (lambda: cnn.Block(4, kernel=0), "has kernel of 0: give a positive integer"),
        (lambda: cnn.Block(0, 3), "has features of 0: give a positive integer"),
        (lambda: untyped.Block(4, kernel=1.5), r"has kernel of 1\.5: give a positive integer"),
        (lambda: cnn.Sizes((8, 8, 1), (cnn.Block(4, 3),), (0,)), "has a width of 0: give a positive integer"),
        (lambda: untyped.Sizes((8, 8, 1), (cnn.Block(4, 3),), 10), r"tuples of .* dense widths: give \(10,\)"),
        (
            lambda: untyped.Sizes((8, 8), (cnn.Block(4, 3),), (10,)),
            r"image is \(8, 8\): give \(height, width, channels\)",
        ),
    ],
)
def test_refused_sizes(build, words, as_users_see_it):
    with pytest.raises(ValueError, match=rf"^cnn: .*{words}"):
        build()


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    "image",
    [
        (2, 8, 8, 3),
        (2, 10, 10, 1),  # its maps are of 2 x 2 in the end, as those of 8 x 8 are
        (2, 12, 12, 1),
        (8, 8, 1),
        (2, 8),
    ],
)
@pytest.mark.parametrize("function", [cnn.loss_and_grads, cnn.loss])
def test_images_of_another_size_are_refused(function, image):
    params = jax.eval_shape(lambda: cnn.init(jax.random.key(0)))
    words = rf"^cnn: x has shape {re.escape(str(image))} but sizes 'digits' reads \(n, 8, 8, 1\), .*: resize or pad"
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(function, params, jax.ShapeDtypeStruct(image, jnp.float32), jnp.array([0, 1]))


def params_of_another_size(name):
    params = jax.eval_shape(lambda: cnn.init(jax.random.key(0)))
    if name == "kernel":
        params["conv"][0]["w"] = jax.ShapeDtypeStruct((5, 5, 1, 32), jnp.float32)
    elif name == "depth":
        params["dense"].append(params["dense"][-1])
    elif name == "bias":
        del params["dense"][1]["b"]
    else:
        del params["conv"]
    return params


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "kernel",
            r"params\['conv'\]\[0\]\['w'\] has shape \(5, 5, 1, 32\) but sizes 'digits' expects \(3, 3, 1, 32\)",
        ),
        ("depth", r"params has 3 layers in 'dense' but sizes 'digits' has 2"),
        ("bias", r"params\['dense'\]\[1\] has no 'b'"),
        ("part", r"params has nothing in 'conv' but sizes 'digits' has 2"),
    ],
)
@pytest.mark.parametrize("function", [cnn.loss_and_grads, cnn.loss])
def test_parameters_of_another_size_are_refused(function, name, words):
    x = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    with pytest.raises(ValueError, match=rf"^cnn: {words}: pass the sizes that cnn\.init was given"):
        jax.eval_shape(function, params_of_another_size(name), x, jnp.array([0, 1]))


def test_the_shapes_that_are_checked_are_those_of_init():
    for sizes in cnn.NAMED.values():
        params = jax.eval_shape(functools.partial(cnn.init, sizes=sizes), jax.random.key(0))
        assert jax.tree.map(lambda param: param.shape, params) == parameter_shapes(sizes)
