"""Small arrays go their own way to the model, and say the same as Keras's."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from small_models import mlp, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.distiller import small_arrays
from keras_kd.distiller.small_arrays import small_set, with_small_sets

X, Y = toy_data(21)
W = np.linspace(0.5, 1.5, 21, dtype="float32")


def batches(dataset):
    return [keras.tree.map_structure(np.asarray, batch) for batch in dataset]


def test_batches_are_the_arrays_in_order():
    found = batches(small_set((X, Y, W), 8, shuffle=False))
    assert [len(x) for x, _, _ in found] == [8, 8, 5]
    for given, parts in zip((X, Y, W), zip(*found, strict=True), strict=True):
        assert_array_equal(np.concatenate(parts), given)
        assert parts[0].dtype == given.dtype


def test_each_pass_has_an_order_of_its_own():
    dataset = small_set((np.arange(21), None, None), 8, shuffle=True)
    passes = [np.concatenate(batches(dataset)) for _ in range(3)]
    for one in passes:
        assert_array_equal(np.sort(one), np.arange(21))
    assert len({tuple(one) for one in passes}) == 3


def test_the_seed_of_keras_fixes_the_order():
    def order():
        keras.utils.set_random_seed(3)
        dataset = small_set((np.arange(21), None, None), 8, shuffle=True)
        return [np.concatenate(batches(dataset)) for _ in range(2)]

    assert_array_equal(order(), order())


def test_no_autotuner_waits_at_the_end():
    assert small_set((X, Y, None), 8, True).options().autotune.enabled is False


@pytest.mark.parametrize("floats", ["float16", "float64"])
def test_floats_become_those_of_keras_and_integers_stay(floats):
    arrays = {"a": X.astype(floats), "b": np.arange(21, dtype="int16")}, tf.constant(Y)
    x, y = batches(small_set((*arrays, None), 32, shuffle=False))[0]
    assert x["a"].dtype == "float32"
    assert x["b"].dtype == "int16"
    assert_allclose(x["a"], X.astype(floats), rtol=1e-6)
    assert y.dtype == Y.dtype


def test_structures_are_those_that_keras_gives():
    class Model(keras.Model):
        def test_step(self, data):
            seen.append(keras.tree.map_structure(lambda leaf: leaf.dtype, data))
            return {"loss": keras.ops.zeros(())}

    data = {
        "single": (X, None, None),
        "list": ([X, X], Y, None),
        "one in a list": ([X], None, None),
        "dict": ({"a": X}, {"labels": Y, "teacher_logits": X}, None),
        "weights": (X, Y, W),
        "list of labels": (X, [Y, Y], None),
    }
    for name, (x, y, weight) in data.items():
        seen = []
        model = Model()
        model.compile(loss="mse", run_eagerly=True)
        model.evaluate(x, y, sample_weight=weight, verbose=0)
        found = small_set((x, y, weight), 32, shuffle=False)
        model.evaluate(found, verbose=0)
        theirs, ours = seen
        keras.tree.assert_same_structure(theirs, ours)
        assert keras.tree.flatten(theirs) == keras.tree.flatten(ours), name


@pytest.mark.parametrize(
    "arrays",
    [
        (None, Y, None),
        (X, Y[:5], None),
        (X[:0], Y[:0], None),
        (X, ["a"] * 21, None),
        (np.array(["text"] * 21), Y, None),
        (np.array([None] * 21), Y, None),
        (tf.constant(["text"] * 21), Y, None),
        (X, {"a": Y, "b": Y}, W),
        (X, None, W),
        ({"a": X, "optional": None}, Y, None),
        (np.float32(1.0), None, None),
        (keras.Input((4,)), None, None),
        (tf.RaggedTensor.from_row_lengths(X[:, 0], [1] * 21), Y, None),
    ],
    ids=(
        "none lengths empty labels text objects tensor weights unlabelled optional "
        "number symbol ragged"
    ).split(),
)
def test_what_is_not_plain_and_small_is_left_to_keras(arrays):
    assert small_set(arrays, 8, shuffle=True) is None


def test_what_is_large_is_left_to_keras(monkeypatch):
    monkeypatch.setattr(small_arrays, "MAX_EXAMPLES", 21)
    assert small_set((X, Y, None), 8, False) is not None
    monkeypatch.setattr(small_arrays, "MAX_EXAMPLES", 20)
    assert small_set((X, Y, None), 8, False) is None
    monkeypatch.setattr(small_arrays, "MAX_EXAMPLES", 21)
    monkeypatch.setattr(small_arrays, "MAX_BYTES", X.nbytes + Y.nbytes - 1)
    assert small_set((X, Y, None), 8, False) is None


@pytest.mark.parametrize(
    "options",
    [
        {"validation_split": 0.2},
        {"steps_per_epoch": 2},
        {"shuffle": "batch"},
    ],
    ids=str,
)
def test_how_keras_is_told_to_cut_is_left_to_keras(options):
    found = with_small_sets("fit", X, Y, 8, **options)
    assert found["x"] is X
    assert found["y"] is Y
    assert found["batch_size"] == 8
    assert options.items() <= found.items()


def test_sizes_of_batches_reach_both_sets():
    found = with_small_sets("fit", X, Y, 8, 2, validation_data=(X, Y))
    assert found["epochs"] == 2
    assert [len(x) for x, _ in batches(found["x"])] == [8, 8, 5]
    assert [len(x) for x, _ in batches(found["validation_data"])] == [8, 8, 5]
    found = with_small_sets("fit", X, Y, 8, validation_data=(["text"], Y))
    assert found["validation_batch_size"] == 8
    found = with_small_sets(
        "fit", X, Y, validation_data=(X, Y, W), validation_batch_size=16
    )
    assert [len(x) for x, *_ in batches(found["validation_data"])] == [16, 5]


def test_a_training_is_that_of_keras_on_these_arrays(monkeypatch):
    def training():
        model = keras_kd.Distiller(
            mlp("teacher"),
            mlp("student", seed=1),
            keras_kd.losses.KnowledgeDistillation(),
        )
        model.compile(keras.optimizers.SGD(0.1), sparse_cross_entropy(), ["accuracy"])
        found = model.fit(
            X,
            Y,
            8,
            epochs=2,
            verbose=0,
            shuffle=False,
            sample_weight=W,
            validation_data=(X[:9], Y[:9]),
        ).history
        scores = model.evaluate(X, Y, 16, verbose=0, return_dict=True)
        return found, scores, {"predicted": model.predict(X, 4, verbose=0)}

    ours = training()
    monkeypatch.setattr(small_arrays, "MAX_EXAMPLES", 0)
    for one, of_keras in zip(ours, training(), strict=True):
        assert one.keys() == of_keras.keys()
        for name in one:
            assert_allclose(one[name], of_keras[name], rtol=1e-6, err_msg=name)


def test_keras_still_has_functions_in_the_pipeline_of_arrays():
    """When this fails, Keras's own way may be as short: then ours may go."""
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter

    dataset = ArrayDataAdapter(X, Y, batch_size=8, shuffle=True).get_tf_dataset()
    assert type(dataset).__name__ == "_PrefetchDataset"
