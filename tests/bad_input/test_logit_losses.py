"""One row for each mistake that a user can make with losses that match logits."""

import keras
import numpy as np
import pytest

from bad_input import Row, check
from keras_kd import losses

THREE, FOUR, ONE_CLASS = np.zeros((2, 3)), np.zeros((2, 4)), np.zeros((2, 1))
KD = losses.KnowledgeDistillation


def set_temperature(loss, value):
    loss.temperature = value


ROWS = [
    Row(
        "classes that differ, in a mean of squares",
        lambda: losses.LogitMSE()(THREE, FOUR),
        ValueError,
        ["same rank and number of classes", r"teacher \(2, 3\)", "Give the"],
    ),
    Row(
        "classes that differ, in draws",
        lambda: losses.sampled_label(THREE, FOUR, seed=0),
        ValueError,
        ["same rank and number of classes", r"student \(2, 4\)"],
    ),
    Row(
        "a single class",
        lambda: losses.hard_label(ONE_CLASS, ONE_CLASS),
        ValueError,
        ["at least 2 classes", "two logits"],
    ),
    Row(
        "a single class, standardised",
        lambda: losses.LogitStandardization(KD())(ONE_CLASS, ONE_CLASS),
        ValueError,
        ["at least 2 classes", "two logits"],
    ),
    Row(
        "temperature of 0",
        lambda: losses.BrierLoss(temperature=0),
        ValueError,
        ["`temperature` must be a finite number > 0", "temperature=0", "1 and 20"],
    ),
    Row(
        "mixture of one side alone",
        lambda: losses.JensenShannonDivergence(beta=1.0),
        ValueError,
        ["`beta` must be a", "beta=1.0", "0 at both ends", "ReverseKLDivergence"],
    ),
    Row(
        "mixture by a schedule that ends in one side alone",
        lambda: losses.JensenShannonDivergence(
            beta=keras.optimizers.schedules.PolynomialDecay(0.0, 10, 0.5)
        ),
        ValueError,
        ["`beta at step 0` must be a", "KnowledgeDistillation in place of 0"],
    ),
    Row(
        "mixture by name",
        lambda: losses.jensen_shannon_divergence(THREE, THREE, beta="teacher"),
        TypeError,
        ["`beta` must be a number", "'teacher' of type str"],
    ),
    Row(
        "seed of a fraction",
        lambda: losses.SampledLabel(seed=0.5),
        TypeError,
        ["`seed` must be a whole number", "seed=0.5"],
    ),
    Row(
        "seed below 0",
        lambda: losses.SampledLabel(seed=-1),
        ValueError,
        ["`seed`", "at least 0", "seed=-1"],
    ),
    Row(
        "axis to centre",
        lambda: losses.LogitMSE(center=-1),
        TypeError,
        ["`center` must be True", "or False", "center=-1 of type int"],
    ),
    Row(
        "features to standardise",
        lambda: losses.LogitStandardization(losses.FeatureMatching("a", "b")),
        TypeError,
        [
            "LogitStandardization takes a loss on logits",
            "FeatureMatching, which compares features",
            "beside",
        ],
    ),
    Row(
        "name of a loss to standardise",
        lambda: losses.LogitStandardization("kd"),
        TypeError,
        ["takes a logit loss of keras_kd", "KnowledgeDistillation", "'kd' of type str"],
    ),
    Row(
        "a loss of Keras to each teacher",
        lambda: losses.PerTeacher(keras.losses.KLDivergence()),
        TypeError,
        ["PerTeacher takes a logit loss of keras_kd", "type KLDivergence"],
    ),
    Row(
        "each teacher of each teacher",
        lambda: losses.PerTeacher(losses.PerTeacher(KD())),
        ValueError,
        ["one teacher at a time", "takes each teacher itself", "as it is"],
    ),
    Row(
        "no teacher",
        lambda: losses.PerTeacher(KD()).call([], THREE),
        ValueError,
        ["at least one teacher", "empty list"],
    ),
    Row(
        "fewer weights than teachers",
        lambda: losses.PerTeacher(KD()).call([THREE, THREE], THREE, weights=[1.0]),
        ValueError,
        [r"one number a teacher \(2\)", r"weights=\[1.0\]"],
    ),
    Row(
        "weight below 0",
        lambda: losses.PerTeacher(KD()).call([THREE], THREE, weights=[-1.0]),
        ValueError,
        ["`weights` must be a finite number >= 0", "-1.0"],
    ),
    Row(
        "weights of 0",
        lambda: losses.PerTeacher(KD()).call([THREE], THREE, weights=[0.0]),
        ValueError,
        ["`weights` must not all be 0"],
    ),
    Row(
        "temperature of a loss without one",
        lambda: set_temperature(losses.PerTeacher(losses.HardLabel()), 2.0),
        AttributeError,
        ["HardLabel", "'per_teacher'", "no temperature"],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_mistake_is_answered_at_the_call(row):
    check(row)
