"""The fitted temperature against SciPy's minimiser, closed forms and a planted one."""

import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose
from oracles import calibration as oracles
from scipy.optimize import minimize_scalar

from keras_kd import UNLABELED, metrics


def labelled(temperature=1.0, size=1000, classes=10, seed=0):
    """Labels drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(size, classes))
    return np.argmax(logits + rng.gumbel(size=logits.shape), axis=-1), (
        temperature * logits
    )


def best_by_scipy(labels, logits, weights=None):
    def nll(log_temperature):
        scaled = logits / np.exp(log_temperature)
        return oracles.negative_log_likelihood(labels, scaled, weights)

    found = minimize_scalar(nll, bracket=(-1, 1), options={"xtol": 1e-12})
    return np.exp(found.x)


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("scale", [1e-3, 0.3, 1.0, 4.0, 1e4])
def test_equals_scipy(scale, classes):
    labels, logits = labelled(1.0, classes=classes)
    want = best_by_scipy(labels, logits)  # whose minimum is flat to 1e-8
    assert_allclose(metrics.fit_temperature(labels, scale * logits), scale * want, 1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_gradient_is_zero_there(scale):
    """Mean of E_p[z] - z_y at softmax(z / T), to nine digits of its size."""
    labels, logits = labelled(scale)
    scaled = logits / metrics.fit_temperature(labels, logits)
    probs = np.exp(oracles.log_softmax(scaled))
    expected, picked = (probs * scaled).sum(axis=-1), scaled[np.arange(1000), labels]
    assert abs(np.mean(expected - picked)) < 1e-9 * np.mean(np.abs(picked))


def test_of_two_classes_and_one_margin_is_a_closed_form():
    """p = 1 / (1 + exp(-m / T)) must be the share that is right."""
    for margin, right in ((2.0, 30), (0.1, 26), (40.0, 49)):
        labels = np.repeat([0, 1], [right, 50 - right])
        logits = np.tile([margin, 0.0], (50, 1))
        want = margin / np.log(right / (50 - right))
        assert_allclose(metrics.fit_temperature(labels, logits), want, rtol=1e-9)


def test_recovers_a_planted_temperature():
    found = [metrics.fit_temperature(*labelled(2.5, seed=s)) for s in range(20)]
    standard_error = np.std(found, ddof=1) / np.sqrt(20)
    assert abs(np.mean(found) - 2.5) < 3 * standard_error
    assert standard_error < 0.05


def test_lowers_the_nll_and_calibrates():
    labels, logits = labelled(3.0)
    scaled = logits / metrics.fit_temperature(labels, logits)
    for metric in (metrics.negative_log_likelihood, metrics.expected_calibration_error):
        assert metric(labels, scaled) < metric(labels, logits) / 1.2


def test_weights_missing_labels_tokens_and_one_hot_rows():
    labels, logits = labelled()
    weights = np.random.default_rng(1).integers(0, 3, size=1000)
    want = metrics.fit_temperature(
        np.repeat(labels, weights), np.repeat(logits, weights, axis=0)
    )
    logits[weights == 0] = np.nan
    forms = [(labels, weights), (np.where(weights, labels, UNLABELED), weights)]
    for given, weight in forms:
        found = metrics.fit_temperature(given, logits, sample_weight=weight)
        assert_allclose(found, want, rtol=1e-9)
    one_hot, tokens = np.eye(10)[labels], (100, 10)
    found = metrics.fit_temperature(
        one_hot.reshape(*tokens, 10),
        logits.reshape(*tokens, 10),
        sample_weight=weights.reshape(tokens),
    )
    assert_allclose(found, want, rtol=1e-9)


def test_shifting_or_permuting_changes_nothing():
    labels, logits = labelled()
    want = metrics.fit_temperature(labels, logits)
    order = np.random.default_rng(1).permutation(1000)
    shifted = logits + np.arange(1000.0)[:, None]
    assert_allclose(metrics.fit_temperature(labels[order], logits[order]), want)
    assert_allclose(metrics.fit_temperature(labels, shifted), want, rtol=1e-9)


def test_half_precision_is_fitted_in_float64():
    labels, logits = labelled()
    half = ops.cast(logits, "bfloat16")
    exact = ops.convert_to_numpy(ops.cast(half, "float64"))
    assert_allclose(
        metrics.fit_temperature(labels, half), metrics.fit_temperature(labels, exact)
    )


@pytest.mark.parametrize(
    ("labels", "logits", "says"),
    [
        ([0, 1], [[2.0, 0.0], [0.0, 1.0]], "All 2 predictions are right"),
        ([1, 0], [[2.0, 0.0], [0.0, 1.0]], "no better than equal logits"),
        ([-1, -1], [[2.0, 0.0], [0.0, 1.0]], "No example has a label"),
        ([0, 1], [[2.0, 0.0], [-np.inf, 1.0]], "must be finite"),
    ],
    ids=["all right", "misleading", "unlabelled", "infinite"],
)
def test_where_there_is_no_best_temperature_it_says_so(labels, logits, says):
    with pytest.raises(ValueError, match=says):
        metrics.fit_temperature(labels, np.array(logits))
