"""The last steps of a pipeline."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_array_equal

import keras_kd
from keras_kd.data import inputs_and_labels, unlabelled, with_temperature


def dataset(**changes):
    data = {
        "index": np.arange(6),
        "view": np.zeros(6, "int64"),
        "image": np.arange(24, dtype="float32").reshape(6, 2, 2, 1),
        "label": np.arange(6),
        **changes,
    }
    data = {key: value for key, value in data.items() if value is not None}
    return tf.data.Dataset.from_tensor_slices(data)


def whole(dataset):
    return next(dataset.batch(6).as_numpy_iterator())


BATCHED = pytest.mark.parametrize("batched", [False, True], ids=["examples", "batches"])


def through(data, step, batched):
    """After a step on examples, or on batches."""
    return whole(data.batch(2).apply(step).unbatch() if batched else data.apply(step))


@BATCHED
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_no_label_is_left(batched, dtype):
    data = dataset(label=np.arange(6, dtype=dtype))
    found = through(data, unlabelled(), batched)
    assert_array_equal(found["label"], [keras_kd.UNLABELED] * 6)
    assert_array_equal(found["image"], whole(dataset())["image"])


@BATCHED
def test_no_one_hot_label_is_left(batched):
    data = dataset(label=np.eye(6, dtype="float32"))
    assert not through(data, unlabelled(), batched)["label"].any()


@BATCHED
def test_all_examples_so_far_get_the_temperature(batched):
    found = through(dataset(), with_temperature(2.5), batched)
    assert found["temperature"].dtype == "float32"
    assert_array_equal(found["temperature"], [2.5] * 6)


def read(**changes):
    return next(iter(dataset(**changes).batch(6).map(inputs_and_labels)))


def test_fit_gets_images_and_labels():
    x, y = read()
    assert_array_equal(x, whole(dataset())["image"])
    assert_array_equal(y, np.arange(6))


def test_fit_gets_weights_and_temperatures_where_there_are_some():
    weight, temperature = np.arange(6.0), np.full(6, 3, "float32")
    _, y, given = read(sample_weight=weight, temperature=temperature)
    assert_array_equal(given, weight)
    assert set(y) == {"labels", "temperature"}
    assert_array_equal(y["temperature"], temperature)


def test_examples_without_labels_are_unlabelled():
    assert_array_equal(read(label=None)[1], [keras_kd.UNLABELED] * 6)
    assert_array_equal(
        whole(dataset(label=None).apply(unlabelled()))["label"], [-1] * 6
    )


@pytest.mark.parametrize("key", ["tokens", "text"])
def test_text_is_an_input_too(key):
    values = np.array([[1, 2]] * 6 if key == "tokens" else [b"good"] * 6)
    x, _ = read(image=None, **{key: values})
    assert_array_equal(x, values.astype(x.numpy().dtype))


def test_tokens_come_before_the_text_that_they_were_made_from():
    x, _ = read(image=None, tokens=np.ones((6, 2), "int32"), text=np.array(["a"] * 6))
    assert x.dtype == tf.int32


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: with_temperature(0.0), "`temperature` must be a finite number > 0"),
        (lambda: read(image=None), r"one of the keys \['image', 'tokens', 'text'\]"),
        (lambda: dataset().map(lambda e: e["image"]).apply(unlabelled()), "dicts of"),
    ],
)
def test_a_mistake_is_answered_at_the_call(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake()


def test_a_student_learns_from_unlabelled_images():
    models = []
    for name in ("teacher", "student"):
        dense = keras.layers.Dense(6, kernel_initializer=keras.initializers.HeNormal(1))
        if name == "student":
            dense = keras.layers.Dense(6, kernel_initializer="zeros")
        layers = [keras.Input((2, 2, 1)), keras.layers.Rescaling(0.1)]
        layers += [keras.layers.Flatten(), dense]
        models.append(keras.Sequential(layers, name=name))
    distiller = keras_kd.Distiller(*models, keras_kd.losses.KnowledgeDistillation())
    distiller.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    train = dataset().batch(6).apply(unlabelled()).map(inputs_and_labels)
    history = distiller.fit(train, epochs=3, verbose=0).history
    assert history["distillation_loss"][-1] < history["distillation_loss"][0]
