"""A Keras mask on logits: what all metrics of positions make of it."""

import inspect

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

from keras_kd import metrics

CLASSES = 5
REAL = np.arange(8) < np.array([[8], [3], [1], [5], [8], [2]] * 8)
ARGUMENTS = {
    "Agreement": {"k": 2},
    "ConfidenceExaggeration": {"num_resamples": 5},
    "MutualInformation": {"num_classes": CLASSES},
    "NormalizedMutualInformation": {"num_classes": CLASSES},
}
NO_POSITIONS = {"AttentionIoU", "CKAMatrix", "LinearCKA"}  # of maps, and of features


def of_logits():
    exported = {name: getattr(metrics, name) for name in metrics.__all__}
    return [
        n for n, c in exported.items() if inspect.isclass(c) and n not in NO_POSITIONS
    ]


def sides():
    rng = np.random.default_rng(0)
    teacher, noise = rng.normal(size=(2, *REAL.shape, CLASSES)).astype("float32")
    labels = np.argmax(teacher + noise, axis=-1)
    student = np.where(REAL[..., None], teacher + noise / 2, -9 * teacher)
    return labels, 2 * teacher, student


def masked(logits):
    """Logits that carry the mask, with a value where it is False too."""
    tensor = keras.ops.convert_to_tensor(logits)
    tensor._keras_mask = keras.ops.convert_to_tensor(REAL)
    return tensor


def given(name, labels, teacher, student):
    parameters = inspect.signature(getattr(metrics, name).update_state).parameters
    if "member_logits" in parameters:
        return [[teacher, student]]
    if "logits" in parameters:
        return [labels, student]
    return [labels, teacher, student] if "labels" in parameters else [teacher, student]


def numbers(name, data, **weight):
    metric = getattr(metrics, name)(**ARGUMENTS.get(name, {}))
    metric.update_state(*data, **weight)
    found = keras.tree.flatten(metric.result())
    return np.concatenate([np.ravel(np.asarray(f, "float64")) for f in found])


@pytest.mark.parametrize("weigh", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", of_logits())
def test_a_masked_position_does_not_count(name, weigh):
    labels, teacher, student = sides()
    weights = np.random.default_rng(1).uniform(size=len(labels)).astype("float32")
    each = np.broadcast_to(weights[:, None], REAL.shape)[REAL]
    real = given(name, *(side[REAL] for side in (labels, teacher, student)))
    want = numbers(name, real, **({"sample_weight": each} if weigh else {}))
    data = given(name, labels, teacher, masked(student))
    found = numbers(name, data, **({"sample_weight": weights} if weigh else {}))
    assert_allclose(found, want, rtol=2e-6)
    whole = numbers(name, given(name, labels, teacher, student))
    assert not np.allclose(found, whole, rtol=1e-3, equal_nan=True)


def test_masks_of_both_sides_count_alike():
    _, teacher, student = sides()
    want = metrics.agreement(teacher[REAL], student[REAL])
    for pair in ((masked(teacher), student), (masked(teacher), masked(student))):
        assert_allclose(metrics.agreement(*pair), want, rtol=1e-6)


def test_functions_honour_it_too():
    labels, teacher, student = sides()
    want = metrics.fit_temperature(labels[REAL], student[REAL])
    assert metrics.fit_temperature(labels, masked(student)) == pytest.approx(want)
    real = [side[REAL] for side in (labels, teacher, student)]
    want = metrics.augmentation_affinity(*real)
    found = metrics.augmentation_affinity(labels, masked(teacher), masked(student))
    assert_allclose(found, want, rtol=1e-5)


def test_a_model_that_masks_passes_its_mask_on():
    tokens = np.array([[3, 1, 2, 0, 0], [4, 0, 0, 0, 0], [1, 2, 3, 4, 0]])

    def tagger(seed):
        keras.utils.set_random_seed(seed)
        embed = keras.layers.Embedding(6, 4, mask_zero=True)
        return keras.Sequential([keras.Input((5,)), embed, keras.layers.Dense(3)])

    teacher, student = (tagger(seed)(tokens) for seed in (0, 1))
    found = metrics.predictive_kl(teacher, student)
    real = [np.asarray(side)[tokens > 0] for side in (teacher, student)]
    assert_allclose(found, metrics.predictive_kl(*real), rtol=1e-6)
