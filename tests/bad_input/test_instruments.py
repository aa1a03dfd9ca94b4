"""One row for each mistake that a user can make in comparing two models."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import mlp, sparse_cross_entropy, toy_data

import keras_kd
from bad_input import Row, check
from keras_kd import Distiller, evaluate_fidelity
from keras_kd.callbacks import FidelityMonitor
from keras_kd.losses import KnowledgeDistillation
from keras_kd.metrics import LinearCKA

X, Y = toy_data(8)
QUIET = {"verbose": 0}


def watch(teacher, data=(X, Y), **arguments):
    student = mlp("s", seed=1)
    student.compile("sgd", sparse_cross_entropy())
    monitor = FidelityMonitor({"test": data}, teacher=teacher, **arguments)
    student.fit(X, Y, verbose=0, callbacks=[monitor])


def without_teacher():
    model = Distiller(None, mlp("student"), KnowledgeDistillation())
    model.compile("sgd", sparse_cross_entropy())
    stored = {"labels": Y, "teacher_logits": np.zeros((8, 3), "float32")}
    return model.fit(X, stored, callbacks=[FidelityMonitor({"test": (X, Y)})], **QUIET)


ROWS = [
    Row(
        "inputs of another shape",
        lambda: evaluate_fidelity(mlp("t"), mlp("s", features=6), (X, Y), **QUIET),
        ValueError,
        [
            "same inputs",
            r"teacher 't' takes \(None, 4\), student 's' takes \(None, 6\)",
            "keras.layers.Resizing",
        ],
    ),
    Row(
        "a second member with inputs of another shape",
        lambda: evaluate_fidelity(
            [mlp("t"), mlp("u", features=6)], mlp("s"), (X, Y), **QUIET
        ),
        ValueError,
        ["same inputs", r"teacher 'u' takes \(None, 6\)"],
    ),
    Row(
        "a control with inputs of another shape",
        lambda: evaluate_fidelity(
            mlp("t"), mlp("s"), (X, Y), mlp("c", features=6), **QUIET
        ),
        ValueError,
        ["same inputs", r"control 'c' takes \(None, 6\)"],
    ),
    Row(
        "a watched student with inputs of another shape",
        lambda: watch(mlp("t", features=6)),
        ValueError,
        ["same inputs", r"teacher 't' takes \(None, 6\)"],
    ),
    Row(
        "other classes",
        lambda: evaluate_fidelity(mlp("t", classes=5), mlp("s"), (X, Y), **QUIET),
        ValueError,
        ["number of classes", r"\(None, 5\)", r"\(None, 3\)", "5 units"],
    ),
    Row(
        "a watched student with other classes",
        lambda: watch(mlp("t", classes=5)),
        ValueError,
        ["number of classes", r"\(None, 5\)", r"\(None, 3\)"],
    ),
    Row(
        "an empty set to watch",
        lambda: watch(mlp("t"), (X[:0], Y[:0])),
        ValueError,
        ["is empty", "at least one batch"],
    ),
    Row(
        "a metric of layers to watch",
        lambda: watch(mlp("t"), metrics=[LinearCKA()]),
        TypeError,
        ["'linear_cka'", "teacher_features", r"probes=\{name: function\}"],
    ),
    Row(
        "a file for a model",
        lambda: evaluate_fidelity("teacher.keras", mlp("s"), (X, Y), **QUIET),
        TypeError,
        ["keras.Model", "'teacher.keras'"],
    ),
    Row(
        "label outside the classes, compared",
        lambda: evaluate_fidelity(mlp("t"), mlp("s"), (X, np.full(8, -2)), verbose=0),
        tf.errors.InvalidArgumentError,
        [r"\[0, 3\)", "UNLABELED", r"\[-2\]"],
    ),
    Row(
        "monitor without a dict",
        lambda: FidelityMonitor((X, Y)),
        TypeError,
        ["dict of named sets", '{"test": test_ds}', "tuple"],
    ),
    Row(
        "monitor at every 0 epochs",
        lambda: FidelityMonitor({"test": (X, Y)}, every=0),
        ValueError,
        ["every=0", "at least 1"],
    ),
    Row(
        "monitor without a teacher",
        without_teacher,
        ValueError,
        ["no teacher to compare with", "Pass `teacher=...`"],
    ),
    Row(
        "endless set",
        lambda: evaluate_fidelity(
            mlp("t"), mlp("s"), tf.data.Dataset.from_tensors((X, Y)).repeat()
        ),
        ValueError,
        ["repeats without end", "steps="],
    ),
    Row(
        "empty set",
        lambda: evaluate_fidelity(mlp("t"), mlp("s"), (X[:0], Y[:0]), verbose=0),
        ValueError,
        ["is empty", "at least one batch"],
    ),
    Row(
        "set that is none",
        lambda: evaluate_fidelity(mlp("t"), mlp("s"), 3),
        TypeError,
        ["3", "int", "tf.data.Dataset"],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_mistake_is_answered_at_the_call(row):
    check(row)


def test_of_a_dict_each_model_reads_what_it_needs():
    """Then unlike shapes are no mistake."""
    whole, part = (
        keras.Sequential(
            [keras.Input((size,), name=name), keras.layers.Dense(3)], name=name
        )
        for name, size in (("a", 4), ("b", 2))
    )
    data = ({"a": X, "b": X[:, :2]}, Y)
    result = evaluate_fidelity(whole, part, data, **QUIET)
    want = np.argmax(whole(X), -1) == np.argmax(part(X[:, :2]), -1)
    assert result.student.agreement == pytest.approx(np.mean(want))


def test_a_table_without_labels_says_what_is_left_out():
    models = mlp("t"), mlp("s", seed=1)
    said = "no labels, so what needs them is left out"
    assert said in str(keras_kd.evaluate_fidelity(*models, X, **QUIET))
    assert said not in str(keras_kd.evaluate_fidelity(*models, (X, Y), **QUIET))
