"""One row for each mistake with losses on the relations within a batch."""

import keras
import numpy as np
import pytest
from small_models import mlp

from bad_input import Row, check
from keras_kd import losses

LAYERS = ("conv4", "conv2")
ONE, FOUR, FIVE = np.zeros((1, 3)), np.zeros((4, 3)), np.zeros((5, 3))


def of_one_example(function):
    return Row(
        f"one example for {function.__name__}",
        lambda: function(ONE, ONE),
        ValueError,
        ["at least 2", r"\(1, 3\)", "drop_remainder=True"],
    )


def of_unlike_batches(function):
    return Row(
        f"batches of unlike sizes for {function.__name__}",
        lambda: function(FOUR, FIVE),
        ValueError,
        [r"teacher features \(4, 3\)", r"student features \(5, 3\)", "must agree"],
    )


FUNCTIONS = [
    losses.similarity_preserving,
    losses.pkt,
    losses.rkd_distance,
    losses.rkd_angle,
    losses.crd,
]
ROWS = [
    *map(of_one_example, FUNCTIONS),
    *map(of_unlike_batches, FUNCTIONS),
    *(
        Row(
            f"unknown batch of {cls.__name__}",
            lambda cls=cls: cls(*LAYERS, batch="replicas"),
            ValueError,
            ["batch='replicas'", "Did you mean 'replica'"],
        )
        for cls in (
            losses.SimilarityPreserving,
            losses.PKT,
            losses.RKDDistance,
            losses.RKDAngle,
            losses.CRD,
        )
    ),
    Row(
        "embeddings of unlike sizes",
        lambda: losses.crd(FOUR, np.zeros((4, 2))),
        ValueError,
        [r"3 \(teacher\) and 2 \(student\)", "`embedding_size`"],
    ),
    Row(
        "labels of each token",
        lambda: losses.crd(FOUR, FOUR, np.zeros((4, 5, 3))),
        ValueError,
        ["one class an example", r"labels \(4, 5, 3\)"],
    ),
    Row(
        "labels of another batch",
        lambda: losses.crd(FOUR, FOUR, [0, 1, 2]),
        ValueError,
        ["one class an example", r"labels \(3,\)", r"embeddings \(4, 3\)"],
    ),
    Row(
        "one label for all",
        lambda: losses.crd(FOUR, FOUR, 0),
        ValueError,
        ["one class an example", r"labels \(\)"],
    ),
    Row(
        "temperature of zero",
        lambda: losses.crd(FOUR, FOUR, temperature=0),
        ValueError,
        ["`temperature`", "> 0", "between 0.05 and 0.2"],
    ),
    Row(
        "temperature of a word",
        lambda: losses.CRD(*LAYERS, temperature="low"),
        TypeError,
        ["`temperature` must be a number", "temperature='low'"],
    ),
    Row(
        "temperature set to less than zero",
        lambda: setattr(losses.CRD(*LAYERS), "temperature", -1),
        ValueError,
        ["`temperature`", "temperature=-1"],
    ),
    Row(
        "an embedding of half a unit",
        lambda: losses.CRD(*LAYERS, embedding_size=0.5),
        TypeError,
        ["`embedding_size`", "whole number of at least 2", "embedding_size=0.5"],
    ),
    Row(
        "an embedding of one unit",
        lambda: losses.CRD(*LAYERS, embedding_size=1),
        ValueError,
        ["`embedding_size`", "at least 2", "embedding_size=1"],
    ),
    Row(
        "a call before the projectors are there",
        lambda: losses.CRD(*LAYERS)(FOUR, FOUR),
        ValueError,
        ["'crd' has no projectors yet", "build", "embedding_size=None"],
    ),
    Row(
        "features of a size that nobody knows",
        lambda: losses.CRD(*LAYERS).build((None, None, None, 8), (None, 8)),
        ValueError,
        ["teacher's features", r"\(None, None, None, 8\)", "after the pooling"],
    ),
    Row(
        "projectors in Keras's own distiller",
        lambda: keras.distillation.Distiller(
            mlp("teacher"), mlp("student"), losses.CRD("features", "features")
        ),
        ValueError,
        ["'crd' has projectors", "Use keras_kd.Distiller"],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_mistake_is_answered_at_the_call(row):
    check(row)
