"""One row for each mistake that a user can make with a Distiller and its parts."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import mlp, sparse_cross_entropy, toy_data

import keras_kd
from bad_input import Row, check
from keras_kd import Distiller
from keras_kd.losses import FeatureMatching, KnowledgeDistillation, SoftCrossEntropy
from keras_kd.metrics import Agreement

X, Y = toy_data(8)


def distiller(teacher=None, student=None, losses=None, compiled=True, **arguments):
    model = Distiller(
        mlp("teacher") if teacher is None else teacher,
        mlp("student") if student is None else student,
        KnowledgeDistillation() if losses is None else losses,
        **arguments,
    )
    if compiled:
        model.compile("sgd", sparse_cross_entropy())
    return model


def softmax_head(name="softmax_model"):
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, activation="softmax")], name=name
    )


@keras.saving.register_keras_serializable(package=__name__)
class SubclassedSoftmax(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(3)

    def call(self, inputs):
        return keras.ops.softmax(self.dense(inputs))


def built_subclass():
    model = SubclassedSoftmax(name="subclassed")
    model(X)
    return model


def never_built():
    return keras.Sequential([keras.layers.Dense(3)], name="untrained")


def same_model_twice():
    model = mlp("both")
    return Distiller(model, model, KnowledgeDistillation())


def with_preprocessor():
    model = mlp("text_model")
    model.preprocessor = object()
    strings = tf.data.Dataset.from_tensor_slices((["a", "b"], [0, 1])).batch(2)
    return distiller(teacher=model).fit(strings, verbose=0)


def without_teacher():
    model = Distiller(None, mlp("student"), KnowledgeDistillation())
    model.compile("sgd", sparse_cross_entropy())
    return model


def stored_logits(classes):
    return without_teacher().fit(
        X, {"labels": Y, "teacher_logits": np.zeros((8, classes), "float32")}, verbose=0
    )


def compiled_with(**arguments):
    return distiller(compiled=False).compile("sgd", **arguments)


ROWS = [
    Row(
        "classes that differ",
        lambda: distiller(student=mlp("student", classes=5)),
        ValueError,
        [
            "'teacher' with 3 classes",
            "'student' with 5",
            "must have the same",
            "unit",
        ],
    ),
    Row(
        "classes that differ, by function",
        lambda: KnowledgeDistillation()(np.zeros((2, 3)), np.zeros((2, 4))),
        ValueError,
        [r"\(2, 3\)", r"\(2, 4\)", "same rank and number of classes", "Give the"],
    ),
    Row(
        "teacher ends in a softmax",
        lambda: distiller(teacher=softmax_head()),
        ValueError,
        ["'softmax_model' ends in probabilities", "twice", "from_logits=False"],
    ),
    Row(
        "subclassed teacher ends in a softmax",
        lambda: distiller(teacher=built_subclass()),
        ValueError,
        ["'subclassed' ends in probabilities", "from_logits=False"],
    ),
    Row(
        "student ends in a softmax",
        lambda: distiller(student=softmax_head()),
        ValueError,
        [
            "'softmax_model' ends in probabilities",
            "compares logits",
            "Build it without",
        ],
    ),
    Row(
        "teacher that is no model",
        lambda: distiller(teacher="resnet50"),
        ValueError,
        ["'resnet50'", "str", "must be a keras.Model or a list"],
    ),
    Row(
        "teacher that was never built",
        lambda: distiller(teacher=never_built()),
        ValueError,
        ["'untrained' was never built", "cannot have been trained", "load its weights"],
    ),
    Row(
        "teacher and student are the same",
        same_model_twice,
        ValueError,
        ["same model, 'both'", "clone_model"],
    ),
    Row(
        "student that is no model",
        lambda: distiller(student=[mlp("student")]),
        ValueError,
        ["`student` must be a keras.Model", "list"],
    ),
    Row(
        "label loss by a name that means probabilities",
        lambda: compiled_with(loss="sparse_categorical_crossentropy"),
        ValueError,
        ["expects probabilities", r"SparseCategoricalCrossentropy\(from_logits=True\)"],
    ),
    Row(
        "label loss object that expects probabilities",
        lambda: compiled_with(loss=keras.losses.CategoricalCrossentropy()),
        ValueError,
        ["expects probabilities", r"CategoricalCrossentropy\(from_logits=True\)"],
    ),
    Row(
        "label loss that sums",
        lambda: compiled_with(
            loss=keras.losses.SparseCategoricalCrossentropy(True, reduction="sum")
        ),
        ValueError,
        ["reduction='sum'", "divides by", "Use the default reduction"],
    ),
    *[
        Row(
            f"temperature {value!r}",
            lambda value=value: KnowledgeDistillation(temperature=value),
            TypeError if isinstance(value, bool | str) else ValueError,
            [re.escape(f"temperature={value!r}"), "> 0", "between 1 and 20"],
        )
        for value in (0, -1.0, float("nan"), float("inf"), True, "4")
    ],
    Row(
        "temperature set to zero later",
        lambda: setattr(SoftCrossEntropy(), "temperature", 0.0),
        ValueError,
        ["temperature=0.0", "> 0"],
    ),
    Row(
        "too many loss weights",
        lambda: distiller(distillation_loss_weights=[0.25, 3]),
        ValueError,
        [r"\[0.25, 3\]", "one number for each of the 1 distillation losses"],
    ),
    Row(
        "negative loss weight",
        lambda: distiller(distillation_loss_weights=[-1]),
        ValueError,
        ["distillation_loss_weights=-1", ">= 0"],
    ),
    Row(
        "student loss weight above 1",
        lambda: distiller(student_loss_weight=1.5),
        ValueError,
        ["student_loss_weight=1.5", "<= 1", "w \\* label loss"],
    ),
    Row(
        "no distillation loss",
        lambda: Distiller(mlp("teacher"), mlp("student"), None),
        ValueError,
        ["`distillation_losses` is None", r"KnowledgeDistillation\(temperature=4.0\)"],
    ),
    Row(
        "empty list of distillation losses",
        lambda: Distiller(mlp("teacher"), mlp("student"), []),
        ValueError,
        ["is empty", r"KnowledgeDistillation\(temperature=4.0\)"],
    ),
    Row(
        "distillation loss by name",
        lambda: distiller(losses="kl"),
        TypeError,
        ["'kl'", "must hold keras_kd.losses", "KnowledgeDistillation"],
    ),
    Row(
        "unknown layer of the student",
        lambda: distiller(losses=FeatureMatching("hidden", "hiden")),
        ValueError,
        ["student 'student' has no layer 'hiden'", "Did you mean 'hidden'", "'logits'"],
    ),
    Row(
        "unknown layer of the teacher",
        lambda: distiller(losses=FeatureMatching("conv", "hidden")),
        ValueError,
        ["teacher 'teacher' has no layer 'conv'", "can be tapped", "'hidden'"],
    ),
    Row(
        "layer of an ensemble without its member",
        lambda: distiller([mlp("a"), mlp("b")], losses=FeatureMatching("hidden", None)),
        ValueError,
        ["2 members", "'0.hidden'", r"\['a', 'b'\]"],
    ),
    Row(
        "layer of a teacher that is not there",
        lambda: Distiller(None, mlp("s"), FeatureMatching("hidden", "hidden")),
        ValueError,
        ["`teacher=None`", "no features", "Pass the teacher itself"],
    ),
    Row(
        "layer name that is no name",
        lambda: FeatureMatching(3, "hidden"),
        TypeError,
        ["`teacher_layer_name`", "3", "int", "or None for the model's output"],
    ),
    Row(
        "features of unlike rank",
        lambda: FeatureMatching("a", "b").build((None, 4, 4, 8), (None, 8)),
        ValueError,
        [
            r"\(None, 4, 4, 8\)",
            r"\(None, 8\)",
            "same number of axes",
            "GlobalAveragePooling2D",
        ],
    ),
    Row(
        "label outside the classes",
        lambda: distiller().fit(X, np.full(8, 7), verbose=0),
        tf.errors.InvalidArgumentError,
        [r"\[0, 3\)", "UNLABELED", "Fix the labels", r"\[7\]"],
    ),
    Row(
        "no label loss for the labels' weight",
        lambda: compiled_with(loss=None),
        ValueError,
        ["`student_loss_weight` is 0.5", "no `loss`", "student_loss_weight=0"],
    ),
    Row(
        "no labels in the batch",
        lambda: distiller().fit(X, verbose=0),
        ValueError,
        ["brings no labels", r"give `\(x, y\)`", "UNLABELED", "compile without"],
    ),
    Row(
        "no labels beside stored logits",
        lambda: without_teacher().fit(
            X, {"teacher_logits": np.zeros((8, 3), "float32")}, verbose=0
        ),
        ValueError,
        ["brings no labels"],
    ),
    Row(
        "neither teacher nor stored logits",
        lambda: without_teacher().fit(X, Y, verbose=0),
        ValueError,
        ["`teacher=None`", "no stored teacher logits", "'teacher_logits': z"],
    ),
    Row(
        "stored logits of other classes",
        lambda: stored_logits(5),
        ValueError,
        [r"teacher \(\w+, 5\)", r"student \(\w+, 3\)", "same rank and number"],
    ),
    Row(
        "fit before compile",
        lambda: distiller(compiled=False).fit(X, Y, verbose=0),
        ValueError,
        [r"must call `compile\(\)`"],
    ),
    Row(
        "evaluate before compile",
        lambda: distiller(compiled=False).evaluate(X, Y, verbose=0),
        ValueError,
        [r"must call `compile\(\)`"],
    ),
    Row(
        "one logit for two classes",
        lambda: KnowledgeDistillation()(np.zeros((2, 1)), np.zeros((2, 1))),
        ValueError,
        ["at least 2 classes", r"\(2, 1\)", r"\[0, z\]"],
    ),
    Row(
        "fidelity metric by name",
        lambda: distiller(compiled=False).compile(
            "sgd", sparse_cross_entropy(), fidelity_metrics=["agreement"]
        ),
        TypeError,
        ["'agreement'", "must be an object of keras_kd.metrics", "such as"],
    ),
    Row(
        "fidelity metric that is no list",
        lambda: compiled_with(
            loss=sparse_cross_entropy(), fidelity_metrics=Agreement()
        ),
        TypeError,
        ["must be a list", r"\[keras_kd.metrics.Agreement\(k=5\)\]", "Agreement"],
    ),
    Row(
        "one logit for two classes, in a distiller",
        lambda: distiller(mlp("t", classes=1), mlp("s", classes=1)).fit(
            X, Y[:, None] > 1, verbose=0
        ),
        ValueError,
        ["at least 2 classes", r"\[0, z\]"],
    ),
    Row(
        "one weight for each class as sample weight",
        lambda: distiller().fit(X, Y, sample_weight=np.ones((8, 3)), verbose=0),
        ValueError,
        [r"\(\w+, 3\)", "one weight an example"],
    ),
    Row(
        "frozen student",
        lambda: (lambda s: (setattr(s, "trainable", False), distiller(student=s)))(
            mlp("student")
        )[1].fit(X, Y, verbose=0),
        ValueError,
        ["'student' has no trainable weights", "student.trainable = True"],
    ),
    Row(
        "text for a model with a preprocessor",
        with_preprocessor,
        ValueError,
        ["Strings reached model 'text_model'", "`preprocessor`", "ds.map"],
    ),
    Row(
        "loss without a call",
        lambda: keras_kd.losses.DistillationLoss()(X, X),
        NotImplementedError,
        ["must implement `call", "one value an example"],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_mistake_is_answered_at_the_call(row):
    check(row)


def test_another_backend_is_answered_with_the_one_that_trains(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match=r"'jax'.*KERAS_BACKEND=tensorflow"):
        distiller()
