"""Affinity, diversity and self-agreement, by counting in NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

from keras_kd import UNLABELED, metrics


def predictions(n=200, classes=5):
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=n)
    clean = rng.normal(size=(n, classes)) + 3 * np.eye(classes)[labels]
    return labels, clean, clean + 2 * rng.normal(size=(n, classes))


def accuracies(labels, *logits, weights=None):
    return [np.average(z.argmax(axis=-1) == labels, weights=weights) for z in logits]


def test_affinity_compares_two_accuracies():
    labels, clean, augmented = predictions()
    before, after = accuracies(labels, clean, augmented)
    assert after < before
    affinity = metrics.augmentation_affinity
    found = affinity(labels, clean, augmented)
    assert_allclose(found, after - before, rtol=1e-5)
    found = affinity(labels, clean, augmented, form="ratio")
    assert_allclose(found, after / before, rtol=1e-6)
    assert_allclose(affinity(np.eye(5)[labels], clean, augmented), after - before, 1e-5)


def test_affinity_honours_weights_and_missing_labels():
    labels, clean, augmented = predictions()
    weights = np.random.default_rng(1).integers(0, 3, size=200)
    known = np.random.default_rng(2).random(200) < 0.7
    before, after = accuracies(labels, clean, augmented, weights=weights * known)
    partial = np.where(known, labels, UNLABELED)
    found = metrics.augmentation_affinity(
        partial, clean, augmented, form="ratio", sample_weight=weights
    )
    assert_allclose(found, after / before, rtol=1e-6)


def test_affinity_of_no_augmentation_is_neutral():
    labels, clean, _ = predictions()
    assert metrics.augmentation_affinity(labels, clean, clean) == 0
    assert metrics.augmentation_affinity(labels, clean, clean, form="ratio") == 1


def test_affinity_of_an_empty_set_and_a_ratio_to_zero_are_nan():
    labels, clean, augmented = predictions()
    for form in ("difference", "ratio"):
        empty = labels[:0], clean[:0], augmented[:0]
        assert np.isnan(metrics.augmentation_affinity(*empty, form=form))
    wrong = -np.eye(5)[labels]
    found = metrics.augmentation_affinity(labels, wrong, augmented, form="ratio")
    assert np.isnan(found)


def test_diversity_compares_two_losses():
    assert metrics.augmentation_diversity(0.75, 0.25) == 3.0
    assert metrics.augmentation_diversity(0.75, 0.25, form="difference") == 0.5
    assert metrics.augmentation_diversity(np.float32(2), 1) == 2
    assert np.isnan(metrics.augmentation_diversity(0.5, 0.0))


@pytest.mark.parametrize("k", [1, 3])
def test_self_agreement_is_the_agreement_of_two_views(k):
    _, first, second = predictions()
    weights = np.arange(200) % 3
    best = np.argsort(-second, axis=-1)[:, :k]
    held = (best == first.argmax(axis=-1)[:, None]).any(axis=-1)
    found = metrics.self_agreement(first, second, k, sample_weight=weights)
    assert_allclose(found, np.average(held, weights=weights), rtol=1e-6)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(arrays("int8", (4, 12), elements=st.integers(0, 2)))
def test_disagreement_across_views_is_the_students_part_and_the_views(classes):
    parts = metrics.disagreement_by_view(*(np.eye(3)[side] for side in classes))
    t1, t2, s1, s2 = classes
    same = (np.mean(t1 != s1) + np.mean(t2 != s2)) / 2
    across = (np.mean(t1 != s2) + np.mean(t2 != s1)) / 2
    own = np.mean(t1 != t2), np.mean(s1 != s2)
    want = [same, across, across - same, *own]
    assert list(parts) == ["same_view", "across_views", "view", "teacher", "student"]
    assert_allclose([float(v) for v in parts.values()], want, atol=1e-6)
    assert abs(parts["view"]) <= min(own) + 1e-6


def test_a_copy_of_an_unsteady_teacher_disagrees_by_the_views_alone():
    _, first, second = predictions()
    parts = metrics.disagreement_by_view(first, second, first, second)
    assert parts["same_view"] == 0
    assert parts["view"] == parts["across_views"] == parts["teacher"] > 0
