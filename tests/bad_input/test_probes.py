"""One row for each mistake that a user can make with probes of weights."""

import tempfile

import keras
import numpy as np
import pytest
from small_models import mlp

from bad_input import Row, check
from keras_kd import probes
from keras_kd.callbacks import CheckpointTrajectory, LossSurfaceProbe
from keras_kd.losses import FeatureMatching, KnowledgeDistillation

X = np.ones((4, 4), "float32")
Y = np.zeros(4, "int32")
QUIET = {"resolution": 2, "verbose": 0}


def two(**arguments):
    return mlp("t"), mlp("s", seed=1, **arguments)


def hints():
    return FeatureMatching(teacher_layer_name="features", student_layer_name="features")


ROWS = [
    Row(
        "a surface between architectures",
        lambda: probes.loss_surface(*two(units=5), X, **QUIET),
        ValueError,
        ["`teacher` must fit 's'", "same architecture", r"\(4, 8\), not \(4, 5\)"],
    ),
    Row(
        "a surface through an ensemble",
        lambda: probes.loss_surface(list(two()), mlp("s"), X, **QUIET),
        ValueError,
        ["not an ensemble", r"random_plane\(student\)"],
    ),
    Row(
        "initial weights and a section",
        lambda: probes.loss_surface(
            *two(), X, initial=mlp("i"), section=probes.random_line(mlp("s")), **QUIET
        ),
        ValueError,
        ["`initial` and `section`", "Give one of them"],
    ),
    Row(
        "initial weights of one layer",
        lambda: probes.loss_surface(*two(), X, initial=np.zeros((4, 8)), **QUIET),
        TypeError,
        ["`initial` must be a keras.Model or a list", "ndarray"],
    ),
    Row(
        "a student that is its teacher",
        lambda: probes.loss_surface(*[mlp("t")] * 2, X, **QUIET),
        ValueError,
        ["equal parameters", "Give networks that differ"],
    ),
    Row(
        "a loss of labels without labels",
        lambda: probes.loss_surface(
            *two(),
            X,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            **QUIET,
        ),
        ValueError,
        ["sparse_categorical_crossentropy", "`y` is None", "Pass `y`"],
    ),
    Row(
        "a loss that takes probabilities",
        lambda: probes.loss_surface(
            *two(), X, Y, loss="sparse_categorical_crossentropy", **QUIET
        ),
        ValueError,
        ["expects probabilities", "from_logits=True"],
    ),
    Row(
        "a loss of layers",
        lambda: probes.loss_surface(*two(), X, loss=hints(), **QUIET),
        ValueError,
        ["compares layers", "'features'", "loss of logits"],
    ),
    Row(
        "a loss of keras.distillation",
        lambda: probes.loss_surface(
            *two(), X, loss=keras.distillation.LogitsDistillation(), **QUIET
        ),
        TypeError,
        ["LogitsDistillation of keras.distillation", "keras_kd.losses"],
    ),
    Row(
        "an empty sample",
        lambda: probes.loss_surface(*two(), X[:0], **QUIET),
        ValueError,
        ["at least one", r"lengths \[0\]"],
    ),
    Row(
        "labels of another length",
        lambda: probes.loss_surface(*two(), X, Y[:3], **QUIET),
        ValueError,
        ["same number of examples", r"\[3, 4\]"],
    ),
    Row(
        "one point for a plane of two axes and a third",
        lambda: probes.loss_surface(
            *two(), X, initial=mlp("i", seed=2), resolution=(3, 3, 3), verbose=0
        ),
        ValueError,
        ["each of the 2 axes", r"resolution=\(3, 3, 3\)"],
    ),
    Row(
        "a picture of a value that is none",
        lambda: probes.loss_surface(*two(), X, **QUIET).plot(value="los"),
        ValueError,
        ["value='los'", "mean 'loss'"],
    ),
    Row(
        "a picture of accuracy without labels",
        lambda: probes.loss_surface(*two(), X, **QUIET).plot(value="accuracy"),
        ValueError,
        ["no accuracy to draw", "`y`, labels of classes"],
    ),
    Row(
        "statistics of frozen layers",
        lambda: probes.interpolate(frozen(), frozen(), 0.5, x=X),
        ValueError,
        ["cannot be re-estimated", "'normed'", "trainable=True"],
    ),
    Row(
        "an interpolation by a word",
        lambda: probes.interpolate(*two(), "half"),
        TypeError,
        ["`lam` must be a number", "'half'"],
    ),
    Row(
        "a network without weights",
        lambda: probes.random_plane(keras.Sequential([keras.layers.Dense(3)])),
        ValueError,
        ["has no weights yet", "give it an Input"],
    ),
    Row(
        "a section of no network",
        lambda: probes.random_line("student.keras"),
        TypeError,
        ["`student` must be a keras.Model", "'student.keras'"],
    ),
    Row(
        "a Hessian of two outputs",
        lambda: probes.LossHessian(twins(), X, Y).gradient(),
        ValueError,
        ["has 2 outputs", r"model.outputs\[i\]"],
    ),
    Row(
        "a Hessian of distillation without a teacher",
        lambda: probes.LossHessian(mlp("m"), X, Y, loss=KnowledgeDistillation()),
        ValueError,
        ["compares with a teacher", "teacher="],
    ),
    Row(
        "a vector that is too short",
        lambda: probes.LossHessian(mlp("m"), X, Y).matvec(np.ones(3)),
        ValueError,
        ["has 67 rows", r"\(3,\)"],
    ),
    Row(
        "more eigenvalues than rows",
        lambda: probes.top_eigenvalues(lambda v: v, 5, size=4),
        ValueError,
        ["4 rows has no 5 eigenvalues", "Lower `k`"],
    ),
    Row(
        "a matrix in place of its product",
        lambda: probes.top_eigenvalues(np.eye(4), 2),
        TypeError,
        ["`operator` must be", "matvec"],
    ),
    Row(
        "a function of vectors of unknown length",
        lambda: probes.hessian_trace(lambda v: v),
        ValueError,
        ["`size` is needed"],
    ),
    Row(
        "a kernel of another layer",
        lambda: probes.eigenspace_trajectory([mlp("m").get_weights()], X, index=1),
        ValueError,
        ["kernel", r"\(8, 1\)", "`index` says"],
    ),
    Row(
        "a folder without snapshots",
        lambda: CheckpointTrajectory.load(tempfile.mkdtemp()),
        ValueError,
        [r"no snapshots \(weights_\*\.npz\)", "Train with CheckpointTrajectory"],
    ),
    Row(
        "a section that the callback does not know",
        lambda: LossSurfaceProbe(X, section="plain"),
        ValueError,
        ["section='plain'", "mean 'plane'"],
    ),
]


def frozen():
    model = mlp("frozen", norm="batch")
    model.trainable = False
    return model


def twins():
    model = mlp("m")
    return keras.Model(model.input, [model.output, model.output], name="twins")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_mistake_is_answered_at_the_call(row):
    check(row)
