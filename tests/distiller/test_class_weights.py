"""Weights by class, of labels of any form and rank, against a table in NumPy."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from keras_kd._common.labels import AS_GIVEN, CLASS_INDICES, ONE_HOT, Meaning
from keras_kd.distiller.class_weights import checked_class_weight, weights_by_class

FACTORS = {0: 1.0, 1: 5.0, 2: 20.0}
PAIRS = checked_class_weight(FACTORS)
TABLE = np.array([1.0, 5.0, 20.0, 1.0], "float32")  # of -1, the last: no label


@pytest.mark.parametrize("dtype", ["int32", "int8", "uint8", "float32"])
@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 4), (6, 4, 1), (6, 2, 3, 1)])
def test_class_indices_of_any_shape(shape, dtype):
    y = np.random.default_rng(0).integers(0, 3, shape)
    if dtype != "uint8":
        y[0] = -1
    found = weights_by_class(PAIRS, y.astype(dtype), Meaning(CLASS_INDICES))
    want = TABLE[y]
    if len(shape) > 1 and shape[-1] == 1:
        want = want[..., 0]
    assert_array_equal(found, want)


@pytest.mark.parametrize("shape", [(6,), (6, 4)])
def test_one_hot_rows_of_any_rank(shape):
    y = np.random.default_rng(0).integers(0, 3, shape)
    y[0] = -1
    rows = np.where((y >= 0)[..., None], np.eye(3)[y], 0).astype("float32")
    assert_array_equal(weights_by_class(PAIRS, rows, Meaning(ONE_HOT)), TABLE[y])


def test_labels_of_another_loss_are_what_plain_keras_takes():
    y = np.array([0, 2, 1, 1])
    for labels in (y, y[:, None], np.eye(3)[y]):
        assert_array_equal(weights_by_class(PAIRS, labels, Meaning(AS_GIVEN)), TABLE[y])


def test_labels_that_are_no_classes_are_refused():
    with pytest.raises(ValueError, match=r"labels that are classes.*\(2, 3, 4\)"):
        weights_by_class(PAIRS, np.zeros((2, 3, 4), "int32"), Meaning(AS_GIVEN))


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ([1.0, 2.0], TypeError, "must be a dict"),
        ({0: -1.0}, ValueError, "class_weight=-1.0"),
        ({"cat": 1.0}, TypeError, "'cat' of type str"),
    ],
)
def test_factors_are_checked(given, error, says):
    with pytest.raises(error, match=says):
        checked_class_weight(given)
    assert checked_class_weight(None) is None
