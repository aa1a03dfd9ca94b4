"""NLL and calibration errors against float64 NumPy, scikit-learn, published values."""

import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose, assert_array_equal
from oracles import calibration as oracles
from oracles import logits as logit_oracles
from oracles import reference
from sklearn.metrics import log_loss

from keras_kd import UNLABELED, metrics

METRICS = {
    "nll": (metrics.negative_log_likelihood, oracles.negative_log_likelihood),
    "ece": (
        metrics.expected_calibration_error,
        lambda *args, **kwargs: oracles.expected_calibration_error(
            *args, num_bins=15, **kwargs
        ),
    ),
    "mce": (
        metrics.maximum_calibration_error,
        lambda *args, **kwargs: oracles.gaps(*args, num_bins=15, **kwargs).max(),
    ),
    "unweighted": (
        metrics.unweighted_calibration_error,
        lambda *args, **kwargs: oracles.gaps(*args, num_bins=10, **kwargs).mean(),
    ),
}
each_metric = pytest.mark.parametrize(
    ("metric", "oracle"), METRICS.values(), ids=METRICS
)


def labelled(shape=(1500, 10), scale=3.0, seed=0):
    """Labels that the logits predict, though overconfidently."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=shape)
    labels = np.argmax(logits + rng.gumbel(size=shape), axis=-1)
    return labels, scale * logits


@each_metric
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1500, 2), (1500, 100), (200, 7, 10)], ids=str)
def test_equals_oracle(metric, oracle, shape, dtype):
    labels, logits = labelled(shape)
    given = ops.cast(logits, dtype)
    exact = ops.convert_to_numpy(ops.cast(given, "float64"))
    assert_allclose(metric(labels, given), oracle(labels, exact), rtol=1e-6)


@each_metric
def test_weights_are_those_of_a_mean(metric, oracle):
    labels, logits = labelled()
    weights = np.random.default_rng(1).uniform(size=len(labels))
    want = oracle(labels, logits, weights=weights)
    assert_allclose(metric(labels, logits, sample_weight=weights), want, rtol=1e-6)


def test_nll_equals_log_loss_of_scikit_learn():
    labels, logits = labelled()
    want = log_loss(labels, logit_oracles.softmax(logits))
    assert_allclose(metrics.negative_log_likelihood(labels, logits), want, rtol=1e-6)


def test_equal_published_values():
    logits = reference.STUDENT_LOGITS
    nll, ece = metrics.negative_log_likelihood, metrics.expected_calibration_error
    assert_allclose(nll(reference.LABELS, logits), reference.NLL, rtol=1e-7)
    teacher_classes = reference.TEACHER_LOGITS.argmax(axis=-1)
    want = reference.NLL_OF_TEACHER_CLASSES
    assert_allclose(nll(teacher_classes, logits), want, rtol=1e-7)
    for form in (ece, oracles.expected_calibration_error):
        found = form(reference.LABELS, logits, num_bins=10)
        assert_allclose(found, reference.ECE_OF_10_BINS, rtol=1e-6)
    found = metrics.unweighted_calibration_error(reference.LABELS, logits)
    assert_allclose(found, reference.ECE_OF_10_BINS_UNWEIGHTED, rtol=1e-6)


@pytest.mark.parametrize("num_bins", [1, 7, 15, 100])
def test_bins_equal_oracle(num_bins):
    labels, logits = labelled(scale=1.0)
    metric = metrics.ExpectedCalibrationError(num_bins)
    for part in np.array_split(np.arange(len(labels)), 9):
        metric.update_state(labels[part], logits[part])
    found, want = metric.bins(), oracles.bins(labels, logits, num_bins)
    for name, ours, theirs in zip(("weight", "hit", "sure"), found, want, strict=True):
        assert_allclose(ours, theirs, rtol=1e-6, err_msg=name)
    want = oracles.expected_calibration_error(labels, logits, num_bins)
    assert_allclose(metric.result(), want, rtol=1e-6)


@pytest.mark.parametrize(("classes", "bin_index"), [(2, 3), (4, 1), (8, 0)])
def test_a_confidence_on_an_edge_is_in_the_bin_below(classes, bin_index):
    metric = metrics.ExpectedCalibrationError(num_bins=8)
    metric.update_state([0], np.zeros((1, classes)))  # confidence 1 / classes
    weights, _, confidences = metric.bins()
    assert_array_equal(np.flatnonzero(weights), [bin_index])
    assert confidences[bin_index] == 1 / classes


def test_full_confidence_is_in_the_last_bin():
    metric = metrics.ExpectedCalibrationError(num_bins=15)
    metric.update_state([0], np.array([[1e4, -1e4]]))
    assert_array_equal(np.flatnonzero(metric.bins()[0]), [14])


def test_nll_of_extreme_logits_is_their_distance():
    logits = np.array([[1e4, -1e4], [1e4, -1e4]], "float32")
    assert metrics.negative_log_likelihood([0, 0], logits) == 0
    assert metrics.negative_log_likelihood([0, 1], logits) == 1e4
    excluded = np.array([[0.0, -np.inf]])
    assert metrics.negative_log_likelihood([1], excluded) == np.inf


@each_metric
@pytest.mark.parametrize(
    "form",
    [
        lambda y: y.astype("int64"),
        lambda y: y.astype("uint8"),
        lambda y: y.astype("float32"),
        lambda y: y[:, None],
        lambda y: np.eye(10)[y],
        lambda y: np.eye(10, dtype=bool)[y],
        lambda y: y.tolist(),
    ],
    ids=["int64", "uint8", "float", "column", "one-hot", "bool one-hot", "list"],
)
def test_labels_may_have_any_form_that_keras_takes(metric, oracle, form):
    labels, logits = labelled()
    assert_allclose(metric(form(labels), logits), oracle(labels, logits), rtol=1e-6)


@each_metric
def test_rows_without_a_label_do_not_count(metric, oracle):
    labels, logits = labelled()
    known = np.random.default_rng(1).random(len(labels)) < 0.7
    want = oracle(labels[known], logits[known])
    indices = np.where(known, labels, UNLABELED)
    one_hot = np.eye(10)[labels] * known[:, None]
    assert_allclose(metric(indices, logits), want, rtol=1e-6)
    assert_allclose(metric(one_hot, logits), want, rtol=1e-6)
    logits[~known] = np.nan
    assert_allclose(metric(indices, logits), want, rtol=1e-6)


@each_metric
def test_without_any_label_is_nan(metric, oracle):
    del oracle
    assert np.isnan(metric(np.full(4, UNLABELED), np.zeros((4, 3))))
    assert np.isnan(metric(np.zeros((4, 3)), np.zeros((4, 3))))


@each_metric
def test_tokens_take_one_weight_an_example(metric, oracle):
    labels, logits = labelled((200, 7, 10))
    weights = np.random.default_rng(1).integers(0, 3, size=200)
    want = oracle(labels, logits, weights=np.repeat(weights[:, None], 7, axis=1))
    assert_allclose(metric(labels, logits, sample_weight=weights), want, rtol=1e-6)


def test_the_largest_gap_is_at_least_the_mean_one():
    labels, logits = labelled()
    values = [
        float(metric(labels, logits, num_bins=20))
        for metric in (
            metrics.expected_calibration_error,
            metrics.maximum_calibration_error,
        )
    ]
    assert 0 < values[0] <= values[1] <= 1


def test_one_bin_makes_the_three_errors_one():
    labels, logits = labelled()
    errors = ("expected", "maximum", "unweighted")
    found = [
        getattr(metrics, f"{name}_calibration_error")(labels, logits, num_bins=1)
        for name in errors
    ]
    accuracy = np.mean(logits.argmax(axis=-1) == labels)
    confidence = logit_oracles.softmax(logits).max(axis=-1).mean()
    assert_allclose(found, abs(accuracy - confidence), rtol=1e-6)


@pytest.mark.parametrize(("bad", "error"), [(0, ValueError), (2.0, TypeError)])
def test_num_bins_is_a_whole_number_above_zero(bad, error):
    with pytest.raises(error, match="`num_bins` must be a whole number"):
        metrics.ExpectedCalibrationError(bad)
