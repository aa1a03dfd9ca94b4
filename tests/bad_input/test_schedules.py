"""One row for each mistake with schedules and switches of losses."""

import keras
import pytest
from small_models import mlp, sparse_cross_entropy, toy_data

from bad_input import Row, check
from keras_kd import Distiller
from keras_kd.callbacks import LossSwitch
from keras_kd.losses import KnowledgeDistillation
from keras_kd.schedules import LinearRamp, hard_to_soft

X, Y = toy_data(8)


def distiller(loss=True, **arguments):
    model = Distiller(mlp("t"), mlp("s"), KnowledgeDistillation(), **arguments)
    model.compile("sgd", sparse_cross_entropy() if loss else None)
    return model


def fit(model, switch):
    return model.fit(X, Y, callbacks=[switch], verbose=0)


def plain_model():
    model = mlp("plain")
    model.compile("sgd", sparse_cross_entropy())
    return model


ROWS = [
    Row(
        "ramp of less than no steps",
        lambda: LinearRamp(0.0, 1.0, steps=-1),
        ValueError,
        ["`steps` must be a whole number of at least 0", "steps=-1"],
    ),
    Row(
        "ramp to infinity",
        lambda: LinearRamp(0.0, float("inf"), steps=3),
        ValueError,
        ["`end` must be a finite number", "inf"],
    ),
    Row(
        "share above 1",
        lambda: hard_to_soft(3, 10, initial_weight=1.5),
        ValueError,
        ["initial_weight=1.5", "<= 1"],
    ),
    Row(
        "temperature that starts at 0",
        lambda: KnowledgeDistillation(LinearRamp(0.0, 4.0, steps=3)),
        ValueError,
        ["temperature at step 0", "> 0", "between 1 and 20"],
    ),
    Row(
        "weight that ends above 1",
        lambda: distiller(student_loss_weight=LinearRamp(0.0, 2.0, steps=3)),
        ValueError,
        ["student_loss_weight in the end", "<= 1"],
    ),
    Row(
        "function in place of a schedule",
        lambda: KnowledgeDistillation(lambda step: 4.0),
        TypeError,
        ["`temperature` must be a number", "function"],
    ),
    Row(
        "schedule of the labels' weight without a label loss",
        lambda: distiller(False, student_loss_weight=LinearRamp(0.0, 1.0, steps=3)),
        ValueError,
        ["`compile` got no `loss`", "LinearRamp"],
    ),
    Row(
        "switch to something unknown",
        lambda: LossSwitch(3, to="label"),
        ValueError,
        ["to='label'", "Did you mean 'labels'"],
    ),
    Row(
        "switch to a weight above 1",
        lambda: LossSwitch(3, to=2.0),
        ValueError,
        ["to=2.0", "<= 1"],
    ),
    Row(
        "switch before the first step",
        lambda: LossSwitch(-1),
        ValueError,
        ["`step` must be a whole number of at least 0"],
    ),
    Row(
        "switch without labels",
        lambda: fit(distiller(False, student_loss_weight=0.0), LossSwitch(3)),
        ValueError,
        ["LossSwitch trains on labels", "no `loss`", "SparseCategorical"],
    ),
    Row(
        "switch of a model that is no distiller",
        lambda: fit(plain_model(), LossSwitch(3)),
        TypeError,
        ["keras_kd.Distiller", "'plain'|plain", "Functional"],
    ),
    Row(
        "switch beside another schedule",
        lambda: fit(
            distiller(student_loss_weight=LinearRamp(0.0, 1.0, steps=3)), LossSwitch(3)
        ),
        ValueError,
        ["would replace the schedule", "to a number"],
    ),
    Row(
        "switch to a number from another schedule",
        lambda: fit(
            distiller(
                student_loss_weight=keras.optimizers.schedules.PolynomialDecay(
                    1.0, 6, 0.2
                )
            ),
            LossSwitch(3, to=0.5),
        ),
        ValueError,
        ["`to` is a number", "which is a schedule"],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.mistake for row in ROWS])
def test_bad_input(row):
    check(row)
