"""One number has one value: in evaluate_fidelity, FidelityMonitor and the report.

Models here give columns of their input, so that a test says what both sides say.
"""

import dataclasses
import os
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_allclose
from oracles.agreement import agrees
from oracles.calibration import brier_score, expected_calibration_error
from oracles.divergence import jensen_shannon, total_variation
from oracles.logits import kl_divergence, log_softmax
from small_models import mlp, toy_data

import keras_kd
from keras_kd import metrics
from keras_kd.callbacks import FidelityMonitor
from keras_kd.metrics import scores

CLASSES = 7
SIZE = 60
EXACT = {"rtol": 3e-6, "atol": 3e-7}
FILES_OF_A_BATCH = 14


class PaddingWhereZero(keras.layers.Layer):
    """Identity; a row is padding where its last column is 0."""

    def call(self, x):
        return x + 0  # the mask is not to reach the input itself

    def compute_mask(self, x, previous_mask=None):
        return ops.not_equal(x[:, -1], 0)


def columns(start, classes=CLASSES, width=2 * CLASSES + 1, dtype="float32"):
    """A model whose logits are columns of its input."""
    inputs = keras.Input((width,), dtype=dtype)
    head = keras.layers.Dense(classes, use_bias=False, dtype=dtype)
    model = keras.Model(inputs, head(PaddingWhereZero(dtype=dtype)(inputs)))
    head.set_weights([np.eye(width)[:, start : start + classes]])
    return model


def watched(teacher, student, data, **arguments):
    """What a monitor logs of a set, without a training around it."""
    monitor = FidelityMonitor({"set": data}, teacher=teacher, **arguments)
    monitor.set_model(student)
    monitor.set_params({"epochs": 1})
    monitor.on_train_begin()
    logs = {}
    monitor.on_epoch_end(0, logs)
    return logs


def three_faces(teacher, student, data, folder, *, ignore_class=None):
    """`(by fidelity, by monitor, by report)`, each `{"student_kl": number, ...}`."""
    told = {} if ignore_class is None else {"ignore_class": ignore_class}
    result = keras_kd.evaluate_fidelity(teacher, student, data, verbose=0, **told)
    logs = watched(teacher, student, data, **told)
    report = keras_kd.report.compare(
        teacher, student, data, out=folder, sample_limit=0, num_resamples=5, **told
    )
    sides = report.numbers["data"]["scores"]
    return (
        result.as_dict(),
        {
            (n if n.startswith("teacher_") else f"student_{n}"): value
            for key, value in logs.items()
            for _, _, n in [key.partition("/")]
            if key.startswith("set/")
        },
        {
            f"{side}_{name}": entry["value"]
            for side, entries in sides.items()
            for name, entry in entries.items()
        },
    )


def oracle(z_t, z_s, y, weight):
    """Numbers of float64 rows; -1 is no label."""
    found, rows = {}, y >= 0
    for side, z in (("teacher", z_t), ("student", z_s)):
        own, labels, of = z[rows], y[rows], weight[rows]
        nll = -log_softmax(own)[np.arange(len(own)), labels]
        found |= {
            f"{side}_accuracy": np.average(own.argmax(-1) == labels, weights=of),
            f"{side}_nll": np.average(nll, weights=of),
            f"{side}_brier": brier_score(labels, own, of),
            f"{side}_ece": expected_calibration_error(labels, own, 15, of),
        }
    values = {
        "agreement": agrees(z_t, z_s),
        "agreement_top5": agrees(z_t, z_s, 5),
        "kl": kl_divergence(z_t, z_s),
        "reverse_kl": kl_divergence(z_s, z_t),
        "jensen_shannon": jensen_shannon(z_t, z_s),
        "total_variation": total_variation(z_t, z_s),
    }
    return found | {
        f"student_{name}": np.average(of, weights=weight) for name, of in values.items()
    }


def hard_set(dtype="float32"):
    """`(x, y, weight)` with ties, padding, weights of 0 and missing labels."""
    generator = np.random.default_rng(3)
    x = generator.normal(size=(SIZE, 2 * CLASSES + 1)).astype(dtype)
    x[:20, CLASSES:] = 0.5  # a student of constant logits
    x[20:30] = np.round(x[20:30])  # ties of a few on both sides
    x[:, -1] = generator.random(SIZE) < 0.8  # 0 is padding
    y = generator.integers(0, CLASSES, SIZE)
    y[::5] = keras_kd.UNLABELED
    weight = generator.uniform(0, 2, SIZE).astype(dtype) * (
        generator.random(SIZE) < 0.8
    )
    return x, y, weight


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ties_masks_zero_weights_and_missing_labels_count_alike(dtype, tmp_path):
    x, y, weight = hard_set(dtype)
    models = columns(0, dtype=dtype), columns(CLASSES, dtype=dtype)
    data = tf.data.Dataset.from_tensor_slices((x, y, weight)).batch(16)
    faces = three_faces(*models, data, tmp_path)
    kept = x[:, -1] != 0
    z = x[kept].astype("float64")
    sides = z[:, :CLASSES], z[:, CLASSES:-1]
    want = oracle(*sides, y[kept], weight[kept].astype("float64"))
    for face in faces:
        assert want.keys() <= face.keys()
        for name, value in want.items():
            assert_allclose(face[name], value, err_msg=name, **EXACT)
    assert faces[0]["num_examples"] == kept.sum()


def test_a_score_is_changed_or_added_in_one_place(monkeypatch, tmp_path):
    def constant(value):
        return lambda examples: ops.full_like(examples.student[..., 0], value)

    changed = tuple(
        dataclasses.replace(score, values=constant(0.25))
        if score.name in ("nll", "kl")
        else score
        for score in scores.SCORES
    )
    added = scores.Score("surprise", "Its surprise", "down", False, constant(0.75))
    monkeypatch.setattr(scores, "SCORES", (*changed, added))
    models = columns(0), columns(CLASSES)
    x, y, _ = hard_set()
    faces = three_faces(*models, (x, y), tmp_path)
    for face in faces:
        assert face["teacher_nll"] == face["student_nll"] == 0.25
        assert face["student_kl"] == 0.25
        assert face["student_surprise"] == 0.75
        assert "teacher_surprise" not in face
    result = keras_kd.evaluate_fidelity(*models, x, verbose=0)
    assert result.student.surprise == 0.75
    assert "Its surprise" in str(result)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "Its surprise<small>lower is closer" in page


@pytest.mark.parametrize(
    ("dtype", "ignored"), [("uint8", 255), ("int64", -100), ("int8", 5)]
)
def test_rows_of_the_ignored_class_count_as_unlabelled(dtype, ignored, tmp_path):
    x, y, _ = hard_set()
    x[:, -1] = 1
    y[y < 0] = 0
    missing = y == 5 if ignored == 5 else np.arange(SIZE) % 5 == 0
    z = x.astype("float64")
    sides = z[:, :CLASSES], z[:, CLASSES:-1]
    want = oracle(*sides, np.where(missing, -1, y), np.ones(SIZE))
    labels = np.where(missing, ignored, y).astype(dtype)
    models = columns(0), columns(CLASSES)
    for face in three_faces(*models, (x, labels), tmp_path, ignore_class=ignored):
        for name, value in want.items():
            assert_allclose(face[name], value, err_msg=name, **EXACT)


def test_the_monitor_takes_the_ignored_class_of_the_model_that_is_fitted():
    x, y, _ = hard_set()
    x[:, -1] = 1
    y[::5] = 255
    models = columns(0), columns(CLASSES)
    wanted = watched(*models, (x, np.where(y == 255, -1, y)))
    models[1].ignore_class = 255  # as a Distiller says of its label loss
    logs = watched(*models, (x, y))
    for name, value in wanted.items():
        if name.startswith("set/"):
            assert logs[name] == value, name


def test_int8_labels_reach_more_classes_than_127(tmp_path):
    x = np.random.default_rng(0).normal(size=(SIZE, 401)).astype("float32")
    y = np.arange(SIZE).astype("int8") * 2
    models = columns(0, 200, 401), columns(200, 200, 401)
    z = x.astype("float64")
    want = np.mean(z[:, :200].argmax(-1) == y), np.mean(z[:, 200:400].argmax(-1) == y)
    for face in three_faces(*models, (x, y), tmp_path):
        assert_allclose((face["teacher_accuracy"], face["student_accuracy"]), want)


def test_metrics_of_a_monitor_are_those_functions_on_the_same_rows():
    x, y, weight = hard_set()
    given = [
        metrics.MaximumCalibrationError(),  # of the student and the labels
        metrics.DisagreementKinds(),  # of all three
        metrics.Agreement(k=2),  # of both sides
        metrics.EqualMassCalibrationError(),  # kept on the host
    ]
    logs = watched(columns(0), columns(CLASSES), (x, y, weight), metrics=given)
    kept = x[:, -1] != 0
    z_t, z_s = x[kept, :CLASSES], x[kept, CLASSES:-1]
    y, weight = y[kept], {"sample_weight": weight[kept]}
    wanted = {
        "mce": metrics.maximum_calibration_error(y, z_s, **weight),
        "agreement_top2": metrics.agreement(z_t, z_s, 2, **weight),
        "equal_mass_calibration_error": metrics.equal_mass_calibration_error(
            y, z_s, **weight
        ),
        **{
            f"disagreement_kinds/{kind}": share
            for kind, share in metrics.disagreement_kinds(y, z_t, z_s, **weight).items()
        },
    }
    for name, value in wanted.items():
        assert_allclose(logs[f"set/{name}"], float(value), err_msg=name, **EXACT)


def test_one_batch_passes_through_few_files(monkeypatch):
    teacher, student = mlp("teacher", classes=CLASSES), mlp("s", classes=CLASSES)
    data = toy_data(16, classes=CLASSES)
    monkeypatch.setattr(tf, "function", lambda function, **_: function)
    package, found = os.path.dirname(keras_kd.__file__), set()

    def note(frame, event, _):
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(package):
            found.add(os.path.relpath(name, package))

    sys.setprofile(note)
    try:
        keras_kd.evaluate_fidelity(teacher, student, data, verbose=0)
    finally:
        sys.setprofile(None)
    assert len(found) <= FILES_OF_A_BATCH, sorted(found)
