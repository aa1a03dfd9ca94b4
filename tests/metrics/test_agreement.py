"""Agreement against NumPy, scikit-learn and the bounds that accuracies imply."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import ops
from logit_sides import sides
from numpy.testing import assert_allclose
from oracles import agreement as oracles
from oracles import reference
from sklearn.metrics import top_k_accuracy_score

from keras_kd import metrics


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(300, 10), (30, 7, 10)], ids=str)
@pytest.mark.parametrize("k", [1, 2, 5])
def test_equals_oracle_with_many_ties(k, shape, dtype):
    # Whole numbers, of which the first one wins; without -0.0, which Keras's argmax
    # takes to be less than 0.0.
    teacher, student = np.round(sides(shape)) + 0.0
    given = (ops.cast(side, dtype) for side in (teacher, student))
    want = oracles.agrees(teacher, student, k).mean()
    assert_allclose(metrics.agreement(*given, k=k), want, rtol=1e-6)


@pytest.mark.parametrize("k", [1, 3, 9])
def test_equals_top_k_accuracy_for_the_classes_of_the_teacher(k):
    teacher, student = sides((500, 10))
    want = top_k_accuracy_score(teacher.argmax(axis=-1), student, k=k)
    assert_allclose(metrics.agreement(teacher, student, k=k), want, rtol=1e-6)


def test_equals_published_value():
    sides = reference.TEACHER_LOGITS, reference.STUDENT_LOGITS
    assert metrics.agreement(*sides) == reference.AGREEMENT


def test_of_a_model_with_itself_is_one():
    logits, _ = sides((200, 10))
    for k in (1, 5):
        assert metrics.agreement(logits, logits, k=k) == 1


def test_with_all_classes_allowed_is_one():
    for k in (10, 11):
        assert metrics.agreement(*sides((200, 10)), k=k) == 1


def test_is_directed_beyond_the_first_class():
    teacher, student = np.array([[3.0, 2, 1]]), np.array([[2.0, 1, 3]])
    assert metrics.agreement(teacher, student, k=2) == 1  # 0 is among 2, 0
    assert metrics.agreement(student, teacher, k=2) == 0  # 2 is not among 0, 1


@settings(max_examples=50, deadline=None, derandomize=True)
@given(arrays("int8", (3, 20), elements=st.integers(0, 2)))
def test_lies_between_the_bounds_of_the_accuracies(classes):
    labels, teacher, student = classes
    agreement = float(metrics.agreement(np.eye(3)[teacher], np.eye(3)[student]))
    accuracies = np.mean(teacher == labels), np.mean(student == labels)
    assert sum(accuracies) - 1 <= agreement + 1e-6
    assert agreement - 1e-6 <= 1 - abs(accuracies[0] - accuracies[1])


@pytest.mark.parametrize(
    ("k", "error"),
    [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)],
)
def test_k_is_a_whole_number_above_zero(k, error):
    with pytest.raises(error, match="`k` must be a whole number of at least 1"):
        metrics.Agreement(k=k)


def test_different_class_counts_are_refused():
    with pytest.raises(ValueError, match="same rank and number of classes"):
        metrics.agreement(np.zeros((2, 3)), np.zeros((2, 4)))


def test_is_named_for_k():
    assert metrics.Agreement().name == "agreement"
    assert metrics.Agreement(k=5).name == "agreement_top5"
    assert metrics.Agreement(k=5, name="own").name == "own"
