"""The named sizes, an independent second reference, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jbackprop.networks import cnn

from .test_gradients_agree import assert_leaves_close, normal


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
            r"cnn: sizes 'alexnet' are unknown: choose one of cs229_2018, ",
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
    ],
)
def test_refused_sizes(build, words):
    with pytest.raises(ValueError, match=words):
        build()


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(
    ("image", "words"),
    [
        ((2, 8, 8, 3), r"conv2d: x has 3 channels but w expects 1"),
        ((2, 12, 12, 1), r"linear: x has 576 features but w expects 256"),
        ((2, 8), r"conv2d: x must be \(\*n, height, width, channels\)"),
    ],
)
def test_images_that_do_not_fit_meet_the_words_of_the_layer(image, words):
    params = jax.eval_shape(lambda: cnn.init(jax.random.key(0)))
    with pytest.raises(ValueError, match=words):
        jax.eval_shape(cnn.loss_and_grads, params, jax.ShapeDtypeStruct(image, jnp.float32), jnp.array([0, 1]))
