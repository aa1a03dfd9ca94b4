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
        return output, *(taps.output_of(record, x, x.name) for x in (stem, head))

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
    assert_array_equal(record[id(layer)], [output])
    assert_array_equal(output, doubled(X[0]))
    assert layer.call is doubled


def test_arguments_of_a_tapped_layer_reach_it():
    layer = keras.layers.Dropout(0.5, seed=0)
    with taps.record_outputs([layer]) as record:
        assert not np.array_equal(layer(X[0], training=True), X[0])
        layer(X[0], training=False)
    assert_array_equal(record[id(layer)][1], X[0])


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
def test_a_shared_layer_gives_the_output_of_each_call_in_their_order(in_graph):
    layer = keras.layers.Dense(4, name="shared")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layer(layer(inputs)))

    def forward(x):
        with taps.record_outputs([layer]) as record:
            output = model(x)
        return output, taps.outputs_of(record, layer, "shared")

    output, found = (tf.function(forward) if in_graph else forward)(X[0])
    once = layer(X[0])
    assert len(found) == 2
    np.testing.assert_allclose(found[0], once, rtol=1e-5)
    np.testing.assert_allclose(found[1], layer(once), rtol=1e-5)
    assert_array_equal(found[1], output)


def test_time_distributed_gives_every_step():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])
    model = keras.Sequential([keras.Input((7, 4)), keras.layers.TimeDistributed(inner)])
    layer = inner.get_layer("d")
    with taps.record_outputs([layer]) as record:
        output = model(X)
    steps = np.stack(taps.outputs_of(record, layer, "d"), axis=1)
    np.testing.assert_allclose(steps, output, rtol=1e-6)


def test_one_output_of_a_shared_layer_is_refused():
    layer = called_dense()
    with taps.record_outputs([layer]) as record:
        layer(X[0])
        layer(X[1])
    with pytest.raises(ValueError, match=r"'a\.b' was called 2 times.*Identity"):
        taps.output_of(record, layer, "a.b")


class Compiled(keras.Model):
    """Its layers run in a graph of their own, whoever calls it."""

    def __init__(self, beside=False):
        super().__init__(name="compiled")
        self.inner = keras.layers.Dense(3, name="inner")
        self.beside = beside

    @tf.function(autograph=False)
    def within(self, x):
        return self.inner(x)

    def call(self, x):
        return self.within(x) + (self.inner(x) if self.beside else 0.0)


@pytest.mark.parametrize("in_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("beside", [False, True], ids=["all_within", "one_beside"])
def test_a_layer_in_another_graph_is_named(beside, in_graph):
    model = Compiled(beside)
    model(X[0, :2])

    def forward(x):
        with taps.record_outputs([model.inner]) as record:
            model(x)
        with pytest.raises(ValueError, match=r"'m\.inner' is called inside a loop"):
            taps.outputs_of(record, model.inner, "m.inner")
        return keras.tree.flatten(record)  # no tensor of that graph among them

    assert (tf.function(forward, autograph=False) if in_graph else forward)(X[0]) == []


def test_a_layer_in_a_function_that_was_traced_before_is_told_as_not_called():
    model = Compiled()
    model(X[0])
    with taps.record_outputs([model.inner]) as record:
        model(X[0])
    with pytest.raises(ValueError, match="not called.*outside of any `tf.function`"):
        taps.outputs_of(record, model.inner, "inner")


def test_what_to_tap_around_a_loop_is_said():
    cell = keras.layers.Dense(4, name="cell")

    def forward(x):
        with taps.record_outputs([cell]) as record:
            tf.while_loop(lambda i, s: i < 3, lambda i, s: (i + 1, cell(s)), (0, x))
        return taps.outputs_of(record, cell, "rnn.cell")

    cell.build((None, 4))
    with pytest.raises(ValueError, match="'rnn.cell' is called inside a loop") as error:
        tf.function(forward, autograph=False)(X[0])
    assert "around that, 'rnn' for one" in str(error.value)


def test_a_layer_that_gives_several_tensors_is_named():
    layer = keras.layers.LSTM(4, return_state=True, name="lstm")
    with taps.record_outputs([layer]) as record:
        layer(X)
    with pytest.raises(ValueError, match="'lstm' of type LSTM.* 3 tensors") as error:
        taps.outputs_of(record, layer, "lstm")
    assert "keras.layers.Identity" in str(error.value)
    assert "tuple" not in str(error.value)


def test_calls_in_which_keras_only_infers_shapes_do_not_count():
    """What is not built is built by a call on symbols first."""
    model = Subclassed()
    layers = [model.head, model.inner.get_layer("stem")]
    with taps.record_outputs(layers) as record:
        output = model(X[0])
    assert_array_equal(taps.output_of(record, model.head, "head"), output)
    assert len(record[id(layers[1])]) == 1


def test_a_layer_called_in_a_graph_and_eagerly_is_recorded_in_either():
    layer = called_dense()

    @tf.function
    def traced(x):
        with taps.record_outputs([layer]) as record:
            layer(x)
        return taps.output_of(record, layer, "dense")

    in_graph = traced(X[0])
    with taps.record_outputs([layer]) as record:
        eager = layer(X[0])
    assert_array_equal(taps.output_of(record, layer, "dense"), eager)
    np.testing.assert_allclose(in_graph, eager, rtol=1e-6)


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
    assert_array_equal(inner[id(layer)], [first])
    assert_array_equal(outer[id(layer)], [first, second])
    assert vars(layer) == before


def test_a_pass_traced_within_a_pass_is_not_recorded_as_a_part_of_it():
    layer = called_dense()

    @tf.function(autograph=False)
    def another(x):
        with taps.record_outputs([layer]) as record:
            layer(x)
        return taps.output_of(record, layer, "dense")

    with taps.record_outputs([layer]) as record:
        output = layer(X[0])
        another(X[1])
    assert_array_equal(taps.output_of(record, layer, "dense"), output)


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
        assert_array_equal(record[id(layer)], [output])
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
