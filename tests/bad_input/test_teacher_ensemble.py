"""One row for each mistake that a user can make with an ensemble of teachers."""

import pytest
from small_models import mlp

from bad_input import Row, check
from keras_kd import TeacherEnsemble

ROWS = [
    Row(
        "logits called probabilities",
        lambda: TeacherEnsemble(mlp("teacher"), from_logits=False),
        ValueError,
        ["ends in logits", "`from_logits=False` says", "Pass `from_logits=True`"],
    ),
    Row(
        "empty ensemble",
        lambda: TeacherEnsemble([]),
        ValueError,
        ["`members` is empty", "at least one trained keras.Model"],
    ),
    Row(
        "member that is no model",
        lambda: TeacherEnsemble([mlp("teacher"), None]),
        ValueError,
        ["must be a keras.Model", "member 1 is None"],
    ),
    Row(
        "member twice",
        lambda: (lambda m: TeacherEnsemble([m, m]))(mlp("teacher")),
        ValueError,
        ["same model twice", "Use `weights`"],
    ),
    Row(
        "unknown rule of an ensemble",
        lambda: TeacherEnsemble(mlp("teacher"), combine="logit"),
        ValueError,
        ["combine='logit'", "must be one of", "Did you mean 'logits'"],
    ),
    Row(
        "too few weights of members",
        lambda: TeacherEnsemble([mlp("a"), mlp("b")], weights=[1.0]),
        ValueError,
        [r"weights=\[1.0\]", r"one number a member \(2\)"],
    ),
    Row(
        "negative weight of a member",
        lambda: TeacherEnsemble([mlp("a"), mlp("b")], weights=[1.0, -1.0]),
        ValueError,
        ["-1.0", ">= 0"],
    ),
    Row(
        "weights of members all zero",
        lambda: TeacherEnsemble([mlp("a"), mlp("b")], weights=[0, 0]),
        ValueError,
        ["must not all be 0", r"\[0.0, 0.0\]"],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_mistake_is_answered_at_the_call(row):
    check(row)
