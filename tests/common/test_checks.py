"""Checks accept what they should, and say what came, the rule and the fix."""

import keras
import numpy as np
import pytest

from keras_kd._common import checks


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        (1, {}),
        (0.5, {"above": 0, "at_most": 1}),
        (1, {"above": 0, "at_most": 1}),
        (0, {"at_least": 0}),
        (np.float32(0.5), {"above": 0}),
        (np.int64(3), {"at_least": 3}),
        (np.float16(2), {}),
    ],
)
def test_a_number_within_bounds_comes_back_as_a_float(value, bounds):
    number = checks.check_number("rate", value, **bounds)
    assert type(number) is float
    assert number == value


@pytest.mark.parametrize(
    ("value", "bounds", "error", "message"),
    [
        ("1", {}, TypeError, r"`rate` must be a number\. .* rate='1' of type str"),
        (None, {"above": 0}, TypeError, "must be a number > 0.*NoneType"),
        (True, {}, TypeError, "of type bool"),
        (np.True_, {}, TypeError, "of type bool"),
        ([1.0], {}, TypeError, "of type list"),
        (1j, {}, TypeError, "of type complex"),
        (np.nan, {}, ValueError, r"must be a finite number\. Received: rate=nan"),
        (np.inf, {"above": 0}, ValueError, "must be a finite number > 0"),
        (0, {"above": 0}, ValueError, "number > 0. Received: rate=0"),
        (-0.1, {"at_least": 0, "at_most": 1}, ValueError, ">= 0 and <= 1.*rate=-0.1"),
        (1.1, {"at_least": 0, "at_most": 1}, ValueError, ">= 0 and <= 1.*rate=1.1"),
    ],
)
def test_other_numbers_are_refused(value, bounds, error, message):
    with pytest.raises(error, match=message + r".*\. Take 1\."):
        checks.check_number("rate", value, **bounds, fix="Take 1.")


@pytest.mark.parametrize("value", [2, 3, np.int64(2), np.uint8(7)])
def test_a_whole_number_comes_back_as_an_int(value):
    number = checks.check_whole_number("k", value, at_least=2)
    assert type(number) is int
    assert number == value


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (1, ValueError),
        (-2, ValueError),
        (2.0, TypeError),
        (True, TypeError),
        ("2", TypeError),
    ],
)
def test_other_whole_numbers_are_refused(value, error):
    with pytest.raises(
        error, match=f"`k` must be a whole number of at least 2.*k={value!r}"
    ):
        checks.check_whole_number("k", value, at_least=2)


def test_a_choice_is_one_of_those_given():
    choices = ["probabilities", "logits"]
    assert checks.check_choice("combine", "logits", choices) == "logits"
    with pytest.raises(
        ValueError, match=r"one of \['probabilities', 'logits'\]"
    ) as error:
        checks.check_choice("combine", "logit", choices)
    assert str(error.value).endswith("combine='logit'. Did you mean 'logits'?")


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("conv", " Did you mean 'conv1' or 'conv2'?"),
        ("zzz", ""),
        (7, ""),
    ],
)
def test_the_nearest_names_are_suggested(value, hint):
    found = checks.nearest(value, ["conv1", "conv2", "dense"])
    assert sorted(found) == sorted(hint)


@pytest.mark.parametrize(
    ("teacher", "student", "message"),
    [
        ((2, 3), (2, 4), r"teacher \(2, 3\), student \(2, 4\).* 3 units"),
        ((2, 3), (2, 5, 3), "same rank"),
        ((2, 5, 3), (2, 1, 3), r"student \(2, 1, 3\).*same tokens or positions"),
        ((2, 3), (1, 3), "position by position"),
        ((2, 4, 4, 3), (2, 2, 4, 3), "none is repeated to fit"),
        ((2, 1), (2, 1), r"at least 2 classes.*\[0, z\]"),
    ],
    ids=str,
)
def test_sides_have_one_shape_of_two_or_more_classes(teacher, student, message):
    checks.check_same_shape(np.zeros((4, 3)), np.zeros((4, 3)))
    checks.check_same_shape(np.zeros((4, 1)), np.zeros((4, 1)), classes=1)
    with pytest.raises(ValueError, match=message):
        checks.check_same_shape(np.zeros(teacher), np.zeros(student))


def test_sizes_that_are_not_known_yet_may_be_the_same():
    shapes = (None, 5, 3), (2, None, 3)
    checks.check_same_shape(*(keras.KerasTensor(shape) for shape in shapes))
    assert checks.may_equal(*shapes)
    assert not checks.may_equal((None, 5, 3), (None, 1, 3))
