"""A call of a model in inference that leaves no trace on it."""

import keras
import numpy as np
import pytest
from keras import layers
from small_models import digest

from keras_kd._common.calls import unchanged

X = np.ones((4, 3), "float32")


class Activity(layers.Layer):
    """Counts its calls, adds a loss, and fails where told to."""

    fails = False

    def build(self, input_shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs):
        self.calls.assign_add(1.0)
        self.add_loss(keras.ops.sum(inputs))
        if self.fails:
            raise RuntimeError("half way")
        return inputs


def network():
    inputs = keras.Input((3,))
    x = layers.BatchNormalization()(inputs)
    x = layers.Dropout(0.5, seed=1)(Activity(name="activity")(x))
    return keras.Model(inputs, x)


def test_variables_seeds_and_losses_stay():
    model = network()
    model(X, training=True)
    before = digest(model), [float(loss) for loss in model.losses]
    with unchanged(model):
        model(2 * X, training=True)
        model(2 * X, training=False)
    assert (digest(model), [float(loss) for loss in model.losses]) == before
    model(2 * X, training=True)  # the test sees what it is about
    assert digest(model) != before[0]


def test_they_stay_after_an_error_too():
    model = network()
    model(X, training=True)
    before = digest(model), [float(loss) for loss in model.losses]
    model.get_layer("activity").fails = True
    with pytest.raises(RuntimeError, match="half way"), unchanged(model):
        model(2 * X, training=True)
    assert (digest(model), [float(loss) for loss in model.losses]) == before
