"""LeNet5 against its published count and a float64 NumPy network."""

import numpy as np
import pytest
from image_networks import arrays, assert_uniform, counts, images, scatter, shapes
from numpy.testing import assert_allclose
from oracles import networks

from keras_kd.models import LeNet5


def test_count_is_that_of_the_released_code():
    # samuelstanton/gnosis; also 5x5 kernels: 6 (25 + 1) + 16 (150 + 1), dense layers
    # of 401 x 120, 121 x 84 and 85 x 10
    assert counts(LeNet5()) == (61_706, 0)


def test_layers_have_the_shapes_of_the_released_code():
    names = ("stem", "stage1", "flat", "dense1", "features", "logits")
    want = [(28, 28, 6), (10, 10, 16), (400,), (120,), (84,), (10,)]
    assert shapes(LeNet5(), names) == want


def test_logits_equal_a_numpy_network():
    model = scatter(LeNet5())
    x, weights = images(model), arrays(model)
    y = networks.relu(networks.convolution(x, **weights["stem_conv"], padding=2))
    y = networks.tiles(y, 2, np.mean)
    y = networks.relu(networks.convolution(y, **weights["stage1_conv"], padding=0))
    y = networks.tiles(y, 2, np.mean).reshape(len(x), -1)
    for name in ("dense1", "dense2", "logits"):
        y = y @ weights[name]["kernel"] + weights[name]["bias"]
        y = networks.relu(y) if name != "logits" else y
    assert_allclose(model(x), y, rtol=1e-4, atol=1e-5)


def test_weights_start_within_pytorch_bounds():
    fan_in = {"stem_conv": 25, "stage1_conv": 150, "dense1": 400, "dense2": 120}
    weights = arrays(LeNet5())
    for name, inputs in {**fan_in, "logits": 84}.items():
        assert_uniform(weights[name]["kernel"], inputs**-0.5)
        assert_uniform(weights[name]["bias"], inputs**-0.5)


def test_an_image_too_small_is_answered():
    with pytest.raises(ValueError, match=r"`input_shape\[0\]`.*at least 12.*=8"):
        LeNet5(input_shape=(8, 8, 1))
