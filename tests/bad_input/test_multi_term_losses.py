"""One row for each mistake with logit losses of several weighted terms."""

import numpy as np
import pytest
import tensorflow as tf

from bad_input import Row, check
from keras_kd import losses

ONE, TWO, OTHER = np.zeros((1, 3)), np.zeros((2, 3)), np.zeros((2, 4))

ROWS = [
    *[
        Row(
            f"different classes for {function.__name__}",
            lambda function=function: function(TWO, OTHER),
            ValueError,
            [r"\(2, 3\)", r"\(2, 4\)", "same rank and number of classes", "Give the"],
        )
        for function in (losses.decoupled_kd, losses.dist, losses.multi_level_logit)
    ],
    *[
        Row(
            f"one example for {function.__name__}",
            lambda function=function: function(ONE, ONE),
            ValueError,
            [function.__name__, "at least 2", r"\(1, 3\)", "drop_remainder=True"],
        )
        for function in (losses.dist, losses.multi_level_logit)
    ],
    *[
        Row(
            f"unknown batch of {cls.__name__}",
            lambda cls=cls: cls(batch="globl"),
            ValueError,
            ["batch='globl'", "must be one of", "Did you mean 'global'"],
        )
        for cls in (losses.DIST, losses.MultiLevelLogit)
    ],
    *[
        Row(
            f"negative {name} of {cls.__name__}",
            lambda cls=cls, name=name: cls(**{name: -1.0}),
            ValueError,
            [f"{name}=-1.0", ">= 0"],
        )
        for cls, name in [
            (losses.DecoupledKD, "alpha"),
            (losses.DecoupledKD, "beta"),
            (losses.DIST, "beta"),
            (losses.DIST, "gamma"),
            (losses.MultiLevelLogit, "instance_weight"),
            (losses.MultiLevelLogit, "batch_weight"),
            (losses.MultiLevelLogit, "class_weight"),
        ]
    ],
    Row(
        "weight set to a word later",
        lambda: setattr(losses.DIST(), "gamma", "large"),
        TypeError,
        ["`gamma` must be a number >= 0", "gamma='large'", "str"],
    ),
    Row(
        "a negative weight among those of examples",
        lambda: losses.decoupled_kd(TWO, TWO, beta=np.array([8.0, -1.0])),
        ValueError,
        ["beta=-1.0", ">= 0"],
    ),
    Row(
        "weights of more axes than values",
        lambda: losses.decoupled_kd(TWO, TWO, alpha=np.ones((2, 1))),
        ValueError,
        ["`alpha`", r"\(2, 1\)", r"values of shape \(2,\)", r"shape \(batch,\)"],
    ),
    Row(
        "temperature 0 of the target's term",
        lambda: losses.target_class_kd(TWO, TWO, temperature=0),
        ValueError,
        ["temperature=0", "> 0", "between 1 and 20"],
    ),
    Row(
        "one label too many",
        lambda: losses.decoupled_kd(TWO, TWO, [0, 1, 2]),
        ValueError,
        [r"Labels of shape \(3,\)", r"logits of shape \(2, 3\)", "one class a"],
    ),
    Row(
        "one-hot labels of other classes",
        lambda: losses.nontarget_class_kd(TWO, TWO, np.eye(4)[:2]),
        ValueError,
        [r"Labels of shape \(2, 4\)", "row of probabilities", r"shape \(2, 3\)"],
    ),
    Row(
        "label beyond the classes",
        lambda: losses.decoupled_kd(TWO, TWO, [0, 3]),
        tf.errors.InvalidArgumentError,
        [r"\[0, 3\)", "UNLABELED", "Fix the labels"],
    ),
    Row(
        "one number as temperatures",
        lambda: losses.MultiLevelLogit(temperatures=4.0),
        TypeError,
        ["temperatures=4.0", "list or tuple", "float", r"as \(T,\)"],
    ),
    Row(
        "temperatures in a string",
        lambda: losses.MultiLevelLogit(temperatures="2,4"),
        TypeError,
        ["temperatures='2,4'", "list or tuple", "str"],
    ),
    Row(
        "no temperatures",
        lambda: losses.multi_level_logit(TWO, TWO, temperatures=()),
        ValueError,
        ["`temperatures` is empty", r"\(2, 3, 4, 5, 6\)"],
    ),
    Row(
        "temperature 0 among several",
        lambda: losses.MultiLevelLogit(temperatures=(2.0, 0.0)),
        ValueError,
        ["temperature=0.0", "> 0"],
    ),
    Row(
        "mask of more axes than positions",
        lambda: losses.dist(TWO, TWO, mask=np.ones((2, 3), "bool")),
        ValueError,
        ["`mask`", r"\(2, 3\)", r"logits of shape \(2, 3\)"],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_mistake_is_answered_at_the_call(row):
    check(row)
