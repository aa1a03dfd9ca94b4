"""Training on labels that may be missing, against gradient steps in float64 NumPy.

It is the first stage of self-distillation, and is tested through that.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from oracles.logits import log_softmax, softmax
from small_models import mlp, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.procedures import SelfDistillation

X, Y = toy_data(12)
MISSING = np.arange(12) % 3 == 1
RATE = 0.3
FACTORS = {0: 1.0, 1: 2.0, 2: 0.5}


def linear(positions=()):
    init = keras.initializers.GlorotUniform(seed=1)
    dense = keras.layers.Dense(3, use_bias=False, kernel_initializer=init)
    return keras.Sequential([keras.Input((*positions, 4)), dense], name="linear")


def one_hot(y, missing):
    return np.where(missing[..., None], 0, np.eye(3)[y]).astype("float32")


FORMS = {
    "class indices": lambda y, missing: np.where(missing, keras_kd.UNLABELED, y),
    "indices with an axis": lambda y, missing: np.where(missing, -1, y)[..., None],
    "int8": lambda y, missing: np.where(missing, -1, y).astype("int8"),
    "ignore_class": lambda y, missing: np.where(missing, 7, y),
    "one-hot rows": one_hot,
}
LOSSES = {
    "ignore_class": lambda: keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=7
    ),
    "one-hot rows": lambda: keras.losses.CategoricalCrossentropy(from_logits=True),
}


def on_labels(x, y, loss, positions=(), **fit):
    """History of the first stage and the kernel that it left, and the one before."""
    model = linear(positions)
    before = model.get_weights()[0].astype("float64")
    procedure = SelfDistillation(model)
    procedure.compile(
        keras.optimizers.SGD(RATE), loss, metrics=["accuracy"], run_eagerly=True
    )
    fit = {"epochs": 2, "batch_size": 12, "verbose": 0, **fit}
    history = procedure.fit(x, y, **fit)[0]
    return history, model.get_weights()[0], before


def assert_is_oracle(found, x, y, missing, factors=None):
    """Each epoch is one step on the mean over the labels that there are."""
    history, kernel, w = found
    x = x.reshape(-1, 4).astype("float64")
    y, known = y.reshape(-1), ~missing.reshape(-1)
    weight = known * np.array([(factors or {}).get(int(c), 1.0) for c in y])
    for epoch in range(2):
        logits = x @ w
        nll = -log_softmax(logits)[np.arange(len(y)), y]
        assert_allclose(
            history["loss"][epoch], (weight * nll).sum() / known.sum(), rtol=1e-5
        )
        right = (logits.argmax(-1) == y)[known].mean()
        assert_allclose(history["accuracy"][epoch], right, rtol=1e-5)
        gap = weight[:, None] * (softmax(logits) - np.eye(3)[y])
        w = w - RATE * x.T @ gap / known.sum()
    assert_allclose(kernel, w, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("weighed", [False, True], ids=["", "class_weight"])
@pytest.mark.parametrize("form", FORMS)
def test_missing_labels_count_nowhere(form, weighed):
    labels = FORMS[form](Y, MISSING)
    loss = LOSSES.get(form, sparse_cross_entropy)()
    factors = FACTORS if weighed else None
    found = on_labels(X, labels, loss, class_weight=factors)
    assert_is_oracle(found, X, Y, MISSING, factors)


def test_missing_labels_of_positions_in_a_dataset_that_is_traced():
    x, y = X.reshape(4, 3, 4), Y.reshape(4, 3)
    missing = MISSING.reshape(4, 3).copy()
    missing[2] = True  # a whole example
    data = tf.data.Dataset.from_tensor_slices((x, np.where(missing, -1, y))).batch(4)
    model = linear((3,))
    before = model.get_weights()[0].astype("float64")
    procedure = SelfDistillation(model)
    procedure.compile(
        keras.optimizers.SGD(RATE), sparse_cross_entropy(), metrics=["accuracy"]
    )
    history = procedure.fit(data, epochs=2, verbose=0, validation_data=data)[0]
    assert_is_oracle((history, model.get_weights()[0], before), x, y, missing)
    assert history["val_loss"][0] == pytest.approx(history["loss"][1], rel=1e-5)


def test_a_batch_without_any_label_changes_nothing():
    history, kernel, before = on_labels(
        X, np.full(12, keras_kd.UNLABELED), sparse_cross_entropy()
    )
    assert_allclose(kernel, before, rtol=1e-6)
    assert history["loss"] == [0.0, 0.0]


def two_heads():
    inputs = keras.Input((4,))
    heads = {
        name: keras.layers.Dense(3, name=name, kernel_initializer="ones")(inputs)
        for name in "ab"
    }
    return keras.Model(inputs, heads)


def test_two_outputs_give_the_numbers_of_plain_keras():
    arguments = {
        "loss": {"a": sparse_cross_entropy(), "b": "mse"},
        "loss_weights": {"a": 2.0, "b": 0.5},
        "metrics": {"a": ["accuracy"]},
        "run_eagerly": True,
    }
    y = {"a": Y, "b": np.eye(3, dtype="float32")[Y]}
    fit = {"batch_size": 12, "epochs": 2, "verbose": 0}
    plain = two_heads()
    plain.compile("sgd", **arguments)
    wanted = plain.fit(X, y, **fit).history
    procedure = SelfDistillation(two_heads())
    procedure.compile("sgd", **arguments)
    found = procedure.fit(X, y, **fit)[0]
    assert set(found) == {*wanted, "student_loss"}
    for name, values in wanted.items():
        assert_allclose(found[name], values, rtol=1e-5, err_msg=name)


def test_a_checkpoint_of_the_stage_goes_on_by_itself(tmp_path):
    path = tmp_path / "stage_0.keras"
    procedure = SelfDistillation(mlp("model", norm="batch"))
    procedure.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        sparse_cross_entropy(),
        metrics=["accuracy"],
        run_eagerly=True,
    )
    saving = keras.callbacks.ModelCheckpoint(path)
    y, fit = np.where(MISSING, -1, Y), {"batch_size": 12, "verbose": 0}
    history = procedure.fit(
        X, y, epochs=1, callbacks=lambda stage: [] if stage else [saving], **fit
    )
    loaded = keras.models.load_model(path)
    for ours, theirs in zip(
        loaded.student.get_weights(), procedure.models[0].get_weights(), strict=True
    ):
        assert_allclose(ours, theirs, rtol=0)
    assert int(loaded.optimizer.iterations) == 1
    assert loaded.fit(X, y, **fit).history["loss"][0] < history[0]["loss"][0]


@pytest.mark.distributed
def test_two_replicas_give_the_numbers_of_one():
    histories = []
    one = tf.distribute.get_strategy()
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    y = np.where(MISSING, -1, Y)
    for strategy in (one, two):
        with strategy.scope():
            procedure = SelfDistillation(linear())
            procedure.compile(
                keras.optimizers.SGD(RATE),
                sparse_cross_entropy(),
                metrics=["accuracy"],
                run_eagerly=strategy is one,
            )
        fit = {"batch_size": 5, "epochs": 2, "verbose": 0, "shuffle": False}
        histories.append(procedure.fit(X, y, class_weight=FACTORS, **fit)[0])
    for name, values in histories[0].items():
        assert_allclose(histories[1][name], values, rtol=1e-5, err_msg=name)
