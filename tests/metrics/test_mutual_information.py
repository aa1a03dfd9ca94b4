"""Mutual information against scikit-learn, counts by hand, and known distributions."""

import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose
from oracles import information as oracles
from sklearn.metrics import mutual_info_score, normalized_mutual_info_score

from keras_kd import metrics


def predictions(size=2000, classes=10, same=0.6, seed=0):
    """Classes of a teacher, and of a student that follows it in part."""
    rng = np.random.default_rng(seed)
    teacher = rng.integers(0, classes, size)
    follows = rng.random(size) < same
    return teacher, np.where(follows, teacher, rng.integers(0, classes, size))


def as_logits(said, classes=10):
    return np.eye(classes)[said]


@pytest.mark.parametrize("same", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_equal_scikit_learn(classes, same):
    teacher, student = predictions(classes=classes, same=same)
    logits = as_logits(teacher, classes), as_logits(student, classes)
    found = metrics.mutual_information(*logits)
    assert_allclose(found, mutual_info_score(teacher, student), rtol=1e-6)
    found = metrics.normalized_mutual_information(*logits)
    assert_allclose(found, normalized_mutual_info_score(teacher, student), rtol=1e-6)


@pytest.mark.parametrize("same", [0.0, 0.6, 1.0])
def test_miller_madow_corrects_the_three_entropies(same):
    teacher, student = predictions(300, same=same)
    found = metrics.mutual_information(
        as_logits(teacher), as_logits(student), "miller_madow"
    )
    want = oracles.mutual_information(teacher, student, oracles.miller_madow_entropy)
    assert_allclose(found, want, rtol=1e-6, atol=1e-7)


def test_miller_madow_takes_most_of_the_bias_of_independent_predictions():
    """The plug-in finds (K - 1)^2 / 2n on average: 0.02 here."""
    plug_in, corrected = [], []
    for seed in range(50):
        logits = [as_logits(p) for p in predictions(2000, same=0.0, seed=seed)]
        plug_in.append(float(metrics.mutual_information(*logits)))
        corrected.append(float(metrics.mutual_information(*logits, "miller_madow")))
    assert_allclose(np.mean(plug_in), 81 / 4000, rtol=0.1)
    standard_error = np.std(corrected, ddof=1) / np.sqrt(50)
    assert abs(np.mean(corrected)) < 3 * standard_error + 3e-4


def test_of_a_model_with_itself_is_its_entropy():
    teacher, _ = predictions()
    logits = as_logits(teacher)
    found = metrics.mutual_information(logits, logits)
    assert_allclose(found, oracles.entropy(teacher.tolist()), rtol=1e-6)
    assert_allclose(metrics.normalized_mutual_information(logits, logits), 1, rtol=1e-6)


def test_swapped_names_of_classes_lose_nothing():
    teacher, student = predictions()
    names = np.random.default_rng(1).permutation(10)
    for metric in (metrics.mutual_information, metrics.normalized_mutual_information):
        want = metric(as_logits(teacher), as_logits(student))
        found = metric(as_logits(teacher), as_logits(names[student]))
        assert_allclose(found, want, rtol=1e-6)


def test_a_student_of_one_class_tells_nothing():
    teacher, _ = predictions()
    constant = as_logits(np.zeros_like(teacher))
    assert_allclose(metrics.mutual_information(as_logits(teacher), constant), 0)
    assert metrics.normalized_mutual_information(as_logits(teacher), constant) == 0
    assert metrics.normalized_mutual_information(constant, constant) == 1


def test_reads_the_first_of_tied_classes_and_tokens():
    teacher, student = np.round(np.random.default_rng(0).normal(size=(2, 50, 8, 4)))
    want = mutual_info_score(*(s.argmax(axis=-1).ravel() for s in (teacher, student)))
    found = metrics.mutual_information(teacher + 0.0, student + 0.0)
    assert_allclose(found, want, rtol=1e-6)


def test_the_table_counts_pairs():
    metric = metrics.MutualInformation(3)
    teacher, student = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 2, 2])
    for part in ([0, 1, 2], [3, 4]):
        metric.update_state(as_logits(teacher[part], 3), as_logits(student[part], 3))
    want = [[1, 1, 0], [0, 1, 0], [0, 0, 2]]
    assert ops.convert_to_numpy(metric.table()).tolist() == want


def test_other_class_counts_are_refused():
    metric = metrics.MutualInformation(num_classes=3)
    with pytest.raises(ValueError, match=r"made for 3 classes.*Set num_classes=4"):
        metric.update_state(np.zeros((2, 4)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="same rank and number of classes"):
        metrics.mutual_information(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="as many examples"):  # before it can broadcast
        metrics.mutual_information(np.zeros((5, 3)), np.zeros((1, 3)))
