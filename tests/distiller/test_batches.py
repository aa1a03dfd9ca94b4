"""Whatever `fit` of Keras accepts: kinds of data, options, callbacks.

Each row trains on the same batches as plain arrays do, and ends in the same weights.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from small_models import mlp, numpy_weights, scattered, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.losses import KnowledgeDistillation

X, Y = toy_data(20)
BATCH = 8
EPOCHS = 2


def build(optimizer=None, *, teacher="live", student=None, **compile_arguments):
    if teacher == "live":
        teacher = scattered(mlp("teacher", units=10), seed=5)
    student = student or mlp("student", seed=1, units=6)
    distiller = keras_kd.Distiller(teacher, student, KnowledgeDistillation())
    distiller.compile(
        optimizer or keras.optimizers.SGD(0.1, momentum=0.9),
        loss=sparse_cross_entropy(),
        metrics=["accuracy"],
        **compile_arguments,
    )
    return distiller


def fit(distiller, *data, **arguments):
    settings = {"epochs": EPOCHS, "shuffle": False, "verbose": 0, **arguments}
    return distiller.fit(*data, **settings)


@pytest.fixture(scope="module")
def reference():
    """Weights and history after training on arrays."""
    distiller = build()
    history = fit(distiller, X, Y, batch_size=BATCH).history
    return numpy_weights(distiller), history


def assert_as_reference(reference, distiller, history, rtol=1e-5, atol=1e-6):
    weights, logs = reference
    for ours, theirs in zip(weights, numpy_weights(distiller), strict=True):
        assert_allclose(theirs, ours, rtol=rtol, atol=atol)
    for name, values in logs.items():
        assert_allclose(history[name], values, rtol=rtol, atol=atol, err_msg=name)


class Rows(keras.utils.PyDataset):
    def __len__(self):
        return -(-len(X) // BATCH)

    def __getitem__(self, index):
        rows = slice(index * BATCH, (index + 1) * BATCH)
        return X[rows], Y[rows]


def generator():
    rows = Rows()
    for _ in range(EPOCHS):
        yield from (rows[i] for i in range(len(rows)))


def dataset():
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH)


KINDS = {
    "tensors": lambda: ((tf.constant(X), tf.constant(Y)), {"batch_size": BATCH}),
    "tf.data": lambda: ((dataset(),), {}),
    "endless tf.data": lambda: ((dataset().repeat(),), {"steps_per_epoch": 3}),
    "PyDataset": lambda: ((Rows(),), {}),
    "generator": lambda: ((generator(),), {"steps_per_epoch": 3}),
    "labels in a dict": lambda: ((X, {"labels": Y}), {"batch_size": BATCH}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_trains_as_arrays_do(kind, reference):
    data, arguments = KINDS[kind]()
    distiller = build(run_eagerly=True)
    history = fit(distiller, *data, **arguments).history
    assert_as_reference(reference, distiller, history)


@pytest.mark.parametrize(
    "option",
    [{"steps_per_execution": 4}, {"jit_compile": True}],
    ids=lambda option: next(iter(option)),
)
def test_every_way_to_run_trains_alike(option, reference):
    distiller = build(**option)
    history = fit(distiller, X, Y, batch_size=BATCH).history
    assert_as_reference(reference, distiller, history, rtol=1e-4, atol=1e-5)


def test_validation_split_is_what_keras_makes_of_it():
    distiller, other = build(run_eagerly=True), build(run_eagerly=True)
    history = fit(distiller, X, Y, batch_size=BATCH, validation_split=0.25).history
    split = fit(
        other, X[:15], Y[:15], batch_size=BATCH, validation_data=(X[15:], Y[15:])
    )
    assert set(history) == set(split.history)
    assert {"val_loss", "val_agreement", "val_teacher_student_kl"} < set(history)
    for name, values in split.history.items():
        assert_allclose(history[name], values, rtol=1e-6, err_msg=name)


def test_accumulated_gradients_are_those_of_one_batch():
    """Two batches of 8, each a mean over 8, against one of 16."""
    settings = {"epochs": 1, "batch_size": BATCH}
    ours = build(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
    fit(ours, X[:16], Y[:16], **settings)
    theirs = build(keras.optimizers.SGD(0.1))
    fit(theirs, X[:16], Y[:16], epochs=1, batch_size=16)
    for one, other in zip(numpy_weights(ours), numpy_weights(theirs), strict=True):
        assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_callbacks_of_keras_work(tmp_path):
    rates = []

    def schedule(epoch, rate):
        rates.append(0.1 / (epoch + 1))
        return rates[-1]

    early = keras.callbacks.EarlyStopping(
        "val_agreement", mode="max", patience=0, baseline=2.0, restore_best_weights=True
    )
    best = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras",
        "val_teacher_student_kl",
        mode="min",
        save_best_only=True,
    )
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    schedule = keras.callbacks.LearningRateScheduler(schedule)
    distiller = build()
    history = fit(
        distiller,
        X,
        Y,
        epochs=5,
        validation_data=(X, Y),
        callbacks=[schedule, early, best, log],
    ).history
    assert len(history["loss"]) == 2  # no agreement reaches 2, which Keras sees late
    assert_allclose(history["learning_rate"], rates)
    loaded = keras.saving.load_model(tmp_path / "best.keras")
    kl = loaded.evaluate(X, Y, return_dict=True, verbose=0)["teacher_student_kl"]
    assert_allclose(kl, min(history["val_teacher_student_kl"]), rtol=1e-5)
    assert "teacher_student_kl" in (tmp_path / "log.csv").read_text()


def test_a_weight_schedule_by_callback_takes_effect(reference):
    """From epoch 1 on, labels alone: the second epoch differs, the first does not."""
    distiller = build()

    class LabelsAlone(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.student_loss_weight = 0.5 if epoch == 0 else 1.0

    history = fit(distiller, X, Y, batch_size=BATCH, callbacks=[LabelsAlone()]).history
    _, logs = reference
    assert_allclose(history["loss"][0], logs["loss"][0], rtol=1e-6)
    assert_allclose(history["loss"][1], history["student_loss"][1], rtol=1e-6)


STORED = {
    "arrays": lambda y: ((X, y), {"batch_size": BATCH}),
    "tf.data": lambda y: (
        (tf.data.Dataset.from_tensor_slices((X, y)).batch(BATCH),),
        {},
    ),
}


@pytest.mark.parametrize("kind", STORED)
def test_stored_teacher_logits_train_as_the_live_teacher_does(kind, reference):
    teacher = scattered(mlp("teacher", units=10), seed=5)
    targets = {"labels": Y, "teacher_logits": teacher.predict(X, verbose=0)}
    data, arguments = STORED[kind](targets)
    distiller = build(teacher=None, run_eagerly=kind == "arrays")
    history = fit(distiller, *data, **arguments).history
    assert_as_reference(reference, distiller, history)


def test_sample_weights_reach_stored_logits_as_they_reach_live_ones():
    """Keras hands the weights of arrays to both entries of the target."""
    teacher = scattered(mlp("teacher", units=10), seed=5)
    targets = {"labels": Y, "teacher_logits": teacher.predict(X, verbose=0)}
    weight = np.random.default_rng(2).uniform(0, 2, len(X)).astype("float32")
    stored = build(teacher=None, run_eagerly=True)
    fit(stored, X, targets, batch_size=BATCH, sample_weight=weight)
    live = build(run_eagerly=True)
    fit(live, X, Y, batch_size=BATCH, sample_weight=weight)
    for ours, theirs in zip(numpy_weights(stored), numpy_weights(live), strict=True):
        assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_stored_logits_replace_the_call_of_a_live_teacher(reference):
    other = scattered(mlp("other", units=10), seed=9)
    teacher = scattered(mlp("teacher", units=10), seed=5)
    targets = {"labels": Y, "teacher_logits": teacher.predict(X, verbose=0)}
    distiller = build(teacher=other, run_eagerly=True)
    history = fit(distiller, X, targets, batch_size=BATCH).history
    assert_as_reference(reference, distiller, history)


def test_stored_logits_alone_need_no_labels():
    teacher = scattered(mlp("teacher", units=10), seed=5)
    stored = {"teacher_logits": teacher.predict(X, verbose=0)}
    weights = []
    for given, data in ((None, (X, stored)), (teacher, (X,))):
        distiller = keras_kd.Distiller(
            given,
            mlp("student", seed=1),
            KnowledgeDistillation(),
            student_loss_weight=0,
        )
        distiller.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
        fit(distiller, *data, batch_size=BATCH)
        weights.append(numpy_weights(distiller))
    for ours, theirs in zip(*weights, strict=True):
        assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_stored_logits_of_half_precision_are_widened(reference):
    teacher = scattered(mlp("teacher", units=10), seed=5)
    stored = np.float16(teacher.predict(X, verbose=0))
    distiller = build(teacher=None, run_eagerly=True)
    targets = {"labels": Y, "teacher_logits": stored}
    history = fit(distiller, X, targets, batch_size=BATCH).history
    assert_as_reference(reference, distiller, history, rtol=2e-2, atol=2e-3)
