"""The edges of the networks: images that are not square, and what lies just inside or outside of the limits."""

import jax
import jax.numpy as jnp
import pytest

from jbackprop.networks import cnn
from jbackprop.networks.cnn_sizes import Block, Sizes, feature_maps, flattened_width


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
