"""Whether a model ends in logits or in probabilities; asking changes nothing."""

import keras
import numpy as np
import pytest
from keras import layers
from small_models import digest

from keras_kd._common.output_kind import output_kind


def head(*tail, shape=(4,)):
    """Functional: a dense layer or two, then `tail`."""
    x = inputs = keras.Input(shape)
    for layer in (layers.Dense(3), *tail):
        x = layer(x)
    return keras.Model(inputs, x)


def nested(inner, *tail):
    inputs = keras.Input((4,))
    x = inner(inputs)
    for layer in tail:
        x = layer(x)
    return keras.Model(inputs, x)


def several(*activations):
    inputs = keras.Input((4,))
    return keras.Model(
        inputs, [layers.Dense(3, activation=a)(inputs) for a in activations]
    )


def embedded(activation):
    inputs = keras.Input((5,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(7, 4)(inputs))
    return keras.Model(inputs, layers.Dense(3, activation=activation)(x))


class Subclassed(keras.Model):
    def __init__(self, activation):
        super().__init__()
        self.head = layers.Dense(3)
        self.activation = keras.activations.get(activation)

    def call(self, inputs):
        return self.activation(self.head(inputs))


def called(model):
    model(np.ones((2, 4), "float32"))
    return model


# Layers tell.
BY_LAYERS = {
    "dense": (lambda: head(), "logits"),
    "dense softmax": (
        lambda: head(layers.Dense(3, activation="softmax")),
        "probabilities",
    ),
    "dense sigmoid": (
        lambda: head(layers.Dense(3, activation="sigmoid")),
        "probabilities",
    ),
    "Softmax layer": (lambda: head(layers.Softmax()), "probabilities"),
    "Activation": (lambda: head(layers.Activation("softmax")), "probabilities"),
    "keras.ops": (lambda: head(keras.ops.softmax), "probabilities"),
    "Sequential": (
        lambda: keras.Sequential([keras.Input((4,)), layers.Dense(3)]),
        "logits",
    ),
    "nested": (lambda: nested(head(layers.Softmax())), "probabilities"),
    "nested logits": (lambda: nested(head()), "logits"),
    "several": (lambda: several(None, None), "logits"),
    "one of several": (lambda: several(None, "softmax"), "probabilities"),
}
# What follows the last layer, or the graph of a call, tells.
BY_GRAPH = {
    "subclassed": (lambda: called(Subclassed("linear")), "logits"),
    "subclassed softmax": (lambda: called(Subclassed("softmax")), "probabilities"),
    "log-softmax": (lambda: called(Subclassed("log_softmax")), "logits"),
    "softmax reshaped": (
        lambda: head(layers.Softmax(), layers.Reshape((3,))),
        "probabilities",
    ),
    "logits dropped out": (lambda: head(layers.Dropout(0.5)), "logits"),
    "one unit": (lambda: head(layers.Dense(1), layers.Identity()), "logits"),
    "softmax sliced": (lambda: sliced(head(layers.Softmax())), "probabilities"),
    "sigmoid of each step": (lambda: each_step("sigmoid"), "probabilities"),
    "softmaxes averaged": (lambda: averaged("softmax"), "probabilities"),
    "softmax of float16": (
        lambda: head(layers.Softmax(dtype="float16"), layers.Reshape((3,))),
        "probabilities",
    ),
    "open axes": (
        lambda: head(layers.Softmax(), layers.Identity(), shape=(None, 4)),
        "probabilities",
    ),
    "whole numbers in": (lambda: nested_embedding("softmax"), "probabilities"),
}


def sliced(model):
    return keras.Model(model.inputs, model.outputs[0][:, :2])


def each_step(activation):
    inputs = keras.Input((5, 4))
    dense = layers.Dense(3, activation=activation)
    return keras.Model(inputs, layers.TimeDistributed(dense)(inputs))


def averaged(activation):
    model = several(activation, activation)
    return keras.Model(model.inputs, layers.Average()(model.outputs))


def nested_embedding(activation):
    inner = embedded(activation)
    return keras.Model(inner.input, layers.Reshape((3,))(inner.output))


@pytest.mark.parametrize(
    ("make", "kind"),
    [*BY_LAYERS.values(), *BY_GRAPH.values()],
    ids=[*BY_LAYERS, *BY_GRAPH],
)
def test_kind_of_a_model(make, kind):
    assert output_kind(make()) == kind


@pytest.mark.parametrize(
    "make",
    [
        lambda: Subclassed("softmax"),  # never called: nothing is known of its inputs
        lambda: keras.Sequential([layers.Dense(3), layers.Identity()]),
        lambda: head(layers.Rescaling(0.1)),  # what is scaled may be anything
    ],
    ids=["unbuilt subclass", "unbuilt Sequential", "scaled"],
)
def test_what_cannot_be_told_is_none(make):
    assert output_kind(make()) is None


def test_a_trace_that_fails_settles_nothing():
    class Fussy(keras.Model):
        def call(self, inputs):
            if inputs.shape[0] is None:
                raise RuntimeError("not a batch of mine")
            return inputs

    model = Fussy()
    model(np.ones((3, 4)))
    assert output_kind(model) is None


class Counter(layers.Layer):
    """Counts its calls, in inference too."""

    def build(self, input_shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, inputs):
        self.calls.assign_add(1.0)
        return inputs


def test_asking_touches_no_variable_and_no_loss():
    model = head(
        layers.BatchNormalization(),
        layers.ActivityRegularization(l2=1.0),
        layers.Dropout(0.5, seed=1),
        Counter(),
    )
    model(np.ones((2, 4)))
    before = digest(model), [float(loss) for loss in model.losses]
    assert output_kind(model) is None  # normalised numbers may be anything
    assert (digest(model), [float(loss) for loss in model.losses]) == before
