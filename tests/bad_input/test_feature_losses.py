"""One row for each mistake that a user can make with a pair of layers to compare."""

import keras
import numpy as np
import pytest
from feature_cases import teacher_and_student

from bad_input import Row, check
from keras_kd import Distiller, losses

MAP, WIDE_MAP = np.zeros((2, 4, 4, 3)), np.zeros((2, 4, 4, 5))
VECTOR = np.zeros((2, 3))


def distiller(cls, teacher_layer, student_layer, **arguments):
    teacher, student = teacher_and_student()
    return Distiller(teacher, student, cls(teacher_layer, student_layer, **arguments))


ROWS = [
    *[
        Row(
            f"a map against a vector, {cls.__name__}",
            lambda cls=cls: distiller(cls, "stage1", "features"),
            ValueError,
            [
                r"\(None, 8, 8, 6\)",
                r"\(None, 8\)",
                "layer 'stage1' and the student's layer 'features'",
                "same number of axes",
                "GlobalAveragePooling2D",
            ],
        )
        for cls in (
            losses.FeatureMatching,
            losses.HintLoss,
            losses.VID,
            losses.AttentionTransfer,
            losses.SquaredAttentionTransfer,
        )
    ],
    *[
        Row(
            f"sequences of unlike length, {cls.__name__}",
            lambda cls=cls: cls("t", "s").build((None, 7, 3), (None, 5, 3)),
            ValueError,
            [r"\(None, 7, 3\)", r"\(None, 5, 3\)", "token axes", "same tokens"],
        )
        for cls in (
            losses.FeatureMatching,
            losses.HintLoss,
            losses.VID,
            losses.AttentionTransfer,
        )
    ],
    *[
        Row(
            f"other channels, {function.__name__}",
            lambda function=function: function(WIDE_MAP, MAP),
            ValueError,
            [r"\(2, 4, 4, 5\)", r"\(2, 4, 4, 3\)", "as many channels", mend],
        )
        for function, mend in (
            (losses.feature_matching, "as FeatureMatching does"),
            (losses.hint_loss, "Give the regressor"),
            (losses.vid, "Predict as many"),
        )
    ],
    *[
        Row(
            f"other channels before there is a regressor, {cls.__name__}",
            lambda cls=cls: cls("t", "s")(WIDE_MAP, MAP),
            ValueError,
            ["5 wide", "has no regressor yet", "`build", "train its `regressor`"],
        )
        for cls in (losses.HintLoss, losses.VID)
    ],
    *[
        Row(
            f"keras.distillation.Distiller, {cls.__name__}",
            lambda cls=cls: keras.distillation.Distiller(
                *teacher_and_student(), cls("stage1", "stage1")
            ),
            ValueError,
            [f"{cls.__name__} trains layers", "Use keras_kd.Distiller"],
        )
        for cls in (losses.HintLoss, losses.VID)
    ],
    Row(
        "regressor that is no layer",
        lambda: losses.HintLoss("t", "s", regressor=64),
        TypeError,
        ["`regressor`", "keras.layers.Layer", "64", "int"],
    ),
    Row(
        "regressor of other channels",
        lambda: distiller(
            losses.HintLoss, "stage1", "stage1", regressor=keras.layers.Conv2D(7, 1)
        ),
        ValueError,
        [r"\(None, 8, 8, 6\)", r"\(None, 4, 4, 7\)", "last layer 6 units or filters"],
    ),
    Row(
        "regressor that makes a map a vector",
        lambda: distiller(
            losses.HintLoss, "stage1", "stage1", regressor=keras.layers.Flatten()
        ),
        ValueError,
        [r"\(None, 64\)", "must give the teacher's axes"],
    ),
    Row(
        "attention of vectors",
        lambda: losses.attention_transfer(VECTOR, VECTOR),
        ValueError,
        [r"\(2, 3\)", "needs positions", "before the pooling"],
    ),
    Row(
        "attention of vectors, in a distiller",
        lambda: distiller(losses.AttentionTransfer, "features", "features"),
        ValueError,
        ["needs positions", "before the pooling"],
    ),
    Row(
        "power of the attention below 1",
        lambda: losses.AttentionTransfer("t", "s", p=0.5),
        ValueError,
        ["p=0.5", ">= 1", "1, 2 or 4"],
    ),
    Row(
        "power of the attention below 1, by function",
        lambda: losses.attention_map(MAP, p=0),
        ValueError,
        ["p=0", ">= 1"],
    ),
    Row(
        "variance of 0",
        lambda: losses.vid(VECTOR, VECTOR, variance=0),
        ValueError,
        ["variance=0", "> 0"],
    ),
    Row(
        "a variance of some that is negative",
        lambda: losses.vid(VECTOR, VECTOR, variance=[1.0, -1.0, 2.0]),
        ValueError,
        ["variance=-1.0", "> 0"],
    ),
    Row(
        "one variance an example",
        lambda: losses.vid(VECTOR, VECTOR, variance=[1.0, 2.0]),
        ValueError,
        [r"shape \(2,\)", "each of the 3 features"],
    ),
    Row(
        "initial variance that softplus does not reach",
        lambda: losses.VID("t", "s", initial_variance=1e-5),
        ValueError,
        ["initial_variance=1e-05", "> 1e-05"],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_mistake_is_answered_at_the_call(row):
    check(row)
