"""Outputs of inner layers from the one forward pass, and layers left as they were."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_array_equal

from keras_kd._common import taps


def backbone():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(5, activation="relu", name="stem")(inputs)
    stage = keras.Sequential([keras.layers.Dense(6, name="dense")], name="stage.1")
    return keras.Model(inputs, stage(x), name="backbone")


def functional():
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(3, name="head")(backbone()(inputs)))


def sequential():
    return keras.Sequential(
        [keras.Input((4,)), backbone(), keras.layers.Dense(3, name="head")]
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.inner = backbone()
        self.head = keras.layers.Dense(3, name="head")
        self.unused = keras.layers.Identity(name="unused")

    def call(self, inputs, training=None):
        return self.head(self.inner(inputs))


MODELS = [functional, sequential, Subclassed]
X = np.random.default_rng(0).normal(size=(2, 7, 4)).astype("float32")


def reached(model, *names):
    """The layer of the last name, step by step, by Keras's own lookup."""
    for name in names:
        model = model.get_layer(name)
    return model


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize(
    "names",
    [
        ("head",),
        ("backbone",),
        ("backbone", "stem"),
        ("backbone", "stage.1"),
        ("backbone", "stage.1", "dense"),
    ],
    ids=".".join,
)
def test_a_dotted_path_reaches_a_nested_layer(make, names):
    model = make()
    path = ".".join(names)
    assert taps.find_layer(model, path, "student") is reached(model, *names)
    assert path in taps.layer_paths(model)


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
def test_one_pass_gives_the_output_and_the_features(make, in_graph):
    model = make()
    plain = model(X[0])
    stem, head = reached(model, "backbone", "stem"), reached(model, "head")

    def forward(x):
        with taps.record_outputs([stem, head]) as record:
            output = model(x)
        return output, record[id(stem)], record[id(head)]

    output, features, logits = (tf.function(forward) if in_graph else forward)(X[0])
    assert_array_equal(output, plain)
    assert_array_equal(logits, plain)
    kernel, bias = (w.numpy() for w in stem.weights)
    np.testing.assert_allclose(features, np.maximum(X[0] @ kernel + bias, 0), rtol=1e-5)


@pytest.mark.parametrize("make", MODELS)
def test_layers_are_left_as_they_were(make):
    model = make()
    model(X[0])
    layers = [reached(model, "backbone", "stem"), reached(model, "head")]
    before = [dict(vars(layer)) for layer in layers]
    with taps.record_outputs(layers):
        model(X[0])
        assert "call" in vars(layers[0])  # the test sees what it is about
    assert [vars(layer) for layer in layers] == before

    with pytest.raises(ValueError, match="shape"), taps.record_outputs(layers):
        model(X[0][:, :2])
    assert [vars(layer) for layer in layers] == before


def test_a_call_of_the_users_own_on_the_layer_is_kept():
    layer = called_dense()

    def doubled(inputs):
        return 2 * keras.layers.Dense.call(layer, inputs)

    layer.__dict__["call"] = doubled
    with taps.record_outputs([layer]) as record:
        output = layer(X[0])
    assert_array_equal(record[id(layer)], output)
    assert_array_equal(output, doubled(X[0]))
    assert layer.call is doubled


def test_arguments_of_a_tapped_layer_reach_it():
    layer = keras.layers.Dropout(0.5, seed=0)
    with taps.record_outputs([layer]) as record:
        assert not np.array_equal(layer(X[0], training=True), X[0])
        layer(X[0], training=False)
    assert_array_equal(record[id(layer)], X[0])


def test_a_layer_called_twice_gives_its_last_output():
    layer = keras.layers.Dense(4, name="shared")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layer(layer(inputs)))
    with taps.record_outputs([layer]) as record:
        output = model(X[0])
    assert_array_equal(record[id(layer)], output)


def called_dense():
    layer = keras.layers.Dense(3)
    layer(X[0])
    return layer


def test_recordings_within_recordings_all_get_the_output():
    layer = called_dense()
    before = dict(vars(layer))
    with taps.record_outputs([layer]) as outer:
        with taps.record_outputs([layer, layer]) as inner:
            first = layer(X[0])
        second = layer(X[1])
    assert_array_equal(inner[id(layer)], first)
    assert_array_equal(outer[id(layer)], second)
    assert vars(layer) == before


def test_threads_record_their_own_pass_of_a_shared_layer():
    layer = called_dense()
    want = [layer(x).numpy() for x in X]
    before, records = dict(vars(layer)), [{}, {}]
    both_inside, first_is_out = threading.Barrier(2, timeout=20), threading.Event()

    def replica(i):
        with taps.record_outputs([layer]) as records[i]:
            both_inside.wait()
            if i == 1:  # its pass comes after the other's recording has ended
                first_is_out.wait(20)
            layer(X[i])
            if i == 0:
                both_inside_again = dict(records[0])
                assert list(both_inside_again) == [id(layer)]
        if i == 0:
            first_is_out.set()

    threads = [threading.Thread(target=replica, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for record, output in zip(records, want, strict=True):
        assert_array_equal(record[id(layer)], output)
    assert vars(layer) == before


def test_a_thread_without_a_recording_leaves_no_trace():
    layer = called_dense()
    with taps.record_outputs([layer]) as record:
        thread = threading.Thread(target=layer, args=(X[0],))
        thread.start()
        thread.join()
    assert record == {}


def test_a_layer_that_the_pass_does_not_call_is_named():
    model = Subclassed()
    layer = taps.find_layer(model, "unused", "student")
    with taps.record_outputs([layer]) as record:
        model(X[0])
    with pytest.raises(ValueError, match="'unused' exists but was not called"):
        taps.output_of(record, layer, "unused")


@pytest.mark.parametrize(
    "path", ["hed", "backbone.stm", "backbone.", ".head", "head.x"]
)
def test_an_unknown_layer_is_answered_with_those_that_exist(path):
    with pytest.raises(ValueError, match=f"The teacher 'm' has no layer {path!r}") as e:
        taps.find_layer(keras.Model(*ends(functional()), name="m"), path, "teacher")
    for name in ("'head'", "'backbone'", "'backbone.stem'", "'backbone.stage.1.dense'"):
        assert name in str(e.value)


def ends(model):
    return model.input, model.output


def test_the_nearest_layer_is_suggested():
    with pytest.raises(ValueError, match=r"Did you mean 'backbone\.stem'"):
        taps.find_layer(functional(), "backbone.stm", "student")


def test_a_long_list_of_layers_is_cut():
    model = keras.Sequential(
        [keras.layers.Identity(name=f"layer_{i}") for i in range(70)]
    )
    with pytest.raises(ValueError, match="'layer_58', 'layer_59', and 10 more"):
        taps.find_layer(model, "absent", "student")
