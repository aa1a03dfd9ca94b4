"""Kinds of disagreement, and agreement by confidence, counted one by one."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from oracles import calibration as calibration_oracles
from oracles.logits import softmax
from sklearn.metrics import accuracy_score

from keras_kd import UNLABELED, metrics

KINDS = {
    "both_right": lambda y, t, s: t == y == s,
    "only_teacher_right": lambda y, t, s: t == y != s,
    "only_student_right": lambda y, t, s: s == y != t,
    "both_wrong_same": lambda y, t, s: t == s != y,
    "both_wrong_different": lambda y, t, s: t != s and y not in (t, s),
}

SIDES = ("teacher", "student")


def sides(shape=(600, 6), seed=0):
    rng = np.random.default_rng(seed)
    teacher = 3 * rng.normal(size=shape)
    return teacher, teacher + 2 * rng.normal(size=shape)


def as_floats(kinds):
    return {name: float(value) for name, value in kinds.items()}


def test_kinds_are_those_counted_one_by_one():
    teacher, student = sides()
    labels = np.argmax(sides(seed=1)[0] + teacher, axis=-1)
    rows = zip(labels, teacher.argmax(-1), student.argmax(-1), strict=True)
    rows = list(rows)
    found = as_floats(metrics.disagreement_kinds(labels, teacher, student))
    assert list(found) == list(KINDS)
    for name, is_kind in KINDS.items():
        assert_allclose(found[name], np.mean([is_kind(*r) for r in rows]), rtol=1e-6)
        assert found[name] > 0  # each kind is really there


@settings(max_examples=40, deadline=None, derandomize=True)
@given(arrays("int8", (3, 25), elements=st.integers(0, 3)))
def test_kinds_add_up_to_what_is_known(classes):
    labels, teacher, student = classes
    logits = np.eye(4)[teacher], np.eye(4)[student]
    kinds = as_floats(metrics.disagreement_kinds(labels, *logits))
    accuracies = accuracy_score(labels, teacher), accuracy_score(labels, student)
    agreement = kinds["both_right"] + kinds["both_wrong_same"]
    assert_allclose(sum(kinds.values()), 1, rtol=1e-6)
    assert_allclose(agreement, metrics.agreement(*logits), atol=1e-6)
    right = [kinds["both_right"] + kinds[f"only_{s}_right"] for s in SIDES]
    assert_allclose(right, accuracies, atol=1e-6)
    # What the accuracies alone imply for the agreement.
    assert sum(accuracies) - 1 <= agreement + 1e-6
    assert agreement <= 1 - abs(accuracies[0] - accuracies[1]) + 1e-6


def test_kinds_take_tokens_weights_and_missing_labels():
    teacher, student = sides((40, 5, 6))
    labels = np.random.default_rng(1).integers(-1, 6, size=(40, 5))
    weights = np.random.default_rng(2).integers(0, 3, size=40)
    flat = [
        np.repeat(a, weights, axis=0).reshape(-1, *a.shape[2:])
        for a in (labels, teacher, student)
    ]
    known = flat[0] != UNLABELED
    want = as_floats(metrics.disagreement_kinds(*(a[known] for a in flat)))
    found = metrics.disagreement_kinds(labels, teacher, student, sample_weight=weights)
    assert as_floats(found) == pytest.approx(want, rel=1e-6)
    one_hot = np.eye(6)[labels] * (labels != UNLABELED)[..., None]
    found = metrics.disagreement_kinds(one_hot, teacher, student, sample_weight=weights)
    assert as_floats(found) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("num_bins", [1, 4, 10])
def test_agreement_by_confidence_is_reliability_with_the_student_for_label(num_bins):
    teacher, student = sides()
    bins = metrics.agreement_by_confidence(teacher, student, num_bins)
    want = calibration_oracles.bins(student.argmax(axis=-1), teacher, num_bins)
    assert_allclose(bins.edges, np.arange(num_bins + 1) / num_bins)
    names = ("weights", "agreement", "confidence")
    for name, value in zip(names, want, strict=True):
        assert_allclose(getattr(bins, name), value, rtol=1e-6, err_msg=name)


def test_bins_of_agreement_have_the_agreement_for_mean():
    teacher, student = sides()
    bins = metrics.agreement_by_confidence(teacher, student)
    want = metrics.agreement(teacher, student)
    assert_allclose(np.nansum(bins.agreement * bins.weights) / 600, want, rtol=1e-6)


def test_a_bin_without_examples_is_nan():
    teacher, student = sides()
    bins = metrics.agreement_by_confidence(teacher, student)
    assert softmax(teacher).max(axis=-1).min() > 0.1  # 6 classes: at least 1/6
    assert bins.weights[0] == 0
    assert np.isnan([bins.agreement[0], bins.confidence[0]]).all()


def test_different_class_counts_are_refused():
    teacher, student = np.zeros((2, 3)), np.zeros((2, 4))
    for call in (
        lambda: metrics.disagreement_kinds([0, 0], teacher, student),
        lambda: metrics.agreement_by_confidence(teacher, student),
    ):
        with pytest.raises(ValueError, match="same rank and number of classes"):
            call()


def test_a_picture_of_agreement_by_confidence_has_its_points():
    bins = metrics.agreement_by_confidence(*sides(), 8)
    axes = plt.subplots()[1]
    assert bins.plot(axes, label="student", little=0.1) is axes
    bins.plot(axes, shares=False, color="red")
    line, few = axes.lines[:2]
    drawn = np.concatenate([line.get_xydata(), few.get_xydata()])
    known = np.isfinite(bins.agreement)
    want = np.stack([bins.confidence, bins.agreement], axis=-1)[known]
    assert_allclose(np.sort(drawn, axis=0), np.sort(want, axis=0))
    enough = bins.weights[known] >= 0.1 * bins.weights.sum()
    assert len(line.get_xdata()) == enough.sum() < known.sum()
    (bars,) = axes.containers
    assert_allclose([bar.get_height() for bar in bars], bins.weights / 600)
    plt.close("all")


def test_bins_are_a_table_but_within_a_graph():
    metric = metrics.AgreementByConfidence(2)

    @tf.function(autograph=False)
    def step(teacher, student):
        metric.update_state(teacher, student)
        assert "Tensor" in repr(metric.result())

    step(*sides())
    bins = metric.result()
    assert len(repr(bins).splitlines()) == 4
    assert bins._repr_html_().count("<tr>") == 3
    assert bins.plot().has_data()
    plt.close("all")
