"""One row for each mistake with procedures."""

import keras
import pytest
from small_models import mlp, toy_data

from bad_input import Row, check
from keras_kd.procedures import (
    BornAgain,
    DeepMutualLearning,
    SelfDistillation,
    TeacherAssistant,
)

X, Y = toy_data(8)
ONE = mlp("one")

ROWS = [
    Row(
        "fit before compile",
        lambda: BornAgain(mlp("t"), lambda: mlp("s")).fit(X, Y),
        RuntimeError,
        [r"Call `compile\(...\)` of BornAgain before `fit`"],
    ),
    Row(
        "a name in place of a function",
        lambda: BornAgain(mlp("t"), "student"),
        TypeError,
        ["`make_student` must be a function", "'student'", "str"],
    ),
    Row(
        "the same student each time",
        lambda: BornAgain(mlp("t"), lambda: ONE),
        ValueError,
        ["same one twice", "clone_model"],
    ),
    Row(
        "no generation",
        lambda: BornAgain(mlp("t"), lambda: mlp("s"), generations=0),
        ValueError,
        ["`generations` must be a whole number of at least 1"],
    ),
    Row(
        "no assistant",
        lambda: TeacherAssistant(mlp("t"), [], mlp("s")),
        ValueError,
        ["`assistants` is empty", "keras_kd.Distiller"],
    ),
    Row(
        "assistant that is the student",
        lambda: TeacherAssistant(mlp("t"), ONE, ONE),
        ValueError,
        ["same one twice", r"\['t', 'one', 'one'\]"],
    ),
    Row(
        "no round",
        lambda: SelfDistillation(mlp("t"), rounds=0),
        ValueError,
        ["`rounds` must be a whole number of at least 1"],
    ),
    Row(
        "a single peer",
        lambda: DeepMutualLearning([mlp("a")]),
        ValueError,
        ["two or more models", r"\['a'\]"],
    ),
    Row(
        "peers of one name",
        lambda: DeepMutualLearning([mlp("a"), mlp("a")]),
        ValueError,
        ["names of their own", r"\['a', 'a'\]"],
    ),
    Row(
        "peer without inputs",
        lambda: DeepMutualLearning(
            [mlp("a"), keras.Sequential([keras.layers.Dense(3)], name="b")]
        ),
        ValueError,
        ["functional or a built Sequential", "keras.Input"],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_mistake_is_answered_at_the_call(row):
    check(row)
