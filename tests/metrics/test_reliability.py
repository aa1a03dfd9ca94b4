"""Reliability bins and equal-mass calibration error against sorted arrays."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose
from oracles import calibration as oracles
from oracles.logits import softmax
from sklearn.calibration import calibration_curve

from keras_kd import UNLABELED, metrics


def labelled(size=600, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(size, classes))
    return np.argmax(logits + rng.gumbel(size=logits.shape), axis=-1), 3 * logits


@pytest.mark.parametrize("num_bins", [1, 7, 15])
def test_equal_width_bins_equal_oracle(num_bins):
    labels, logits = labelled()
    bins = metrics.reliability_bins(labels, logits, num_bins)
    want = oracles.bins(labels, logits, num_bins)
    assert_allclose(bins.edges, np.arange(num_bins + 1) / num_bins)
    for found, value in zip(bins[1:], want, strict=True):
        assert_allclose(found, value, rtol=1e-6)


@pytest.mark.parametrize("num_bins", [1, 6, 15, 600])
def test_equal_mass_bins_equal_parts_of_the_sorted_set(num_bins):
    labels, logits = labelled()
    bins = metrics.reliability_bins(labels, logits, num_bins, "equal_mass")
    parts = oracles.equal_mass_parts(labels, logits, num_bins)
    assert_allclose(bins.weights, 600 / num_bins)
    assert_allclose(bins.accuracy, [hit.mean() for hit, _ in parts], atol=1e-9)
    assert_allclose(bins.confidence, [sure.mean() for _, sure in parts], rtol=1e-6)
    want = [parts[0][1][0], *(sure[-1] for _, sure in parts)]
    assert_allclose(bins.edges, want, rtol=1e-6)


@pytest.mark.parametrize("num_bins", [1, 6, 15])
def test_equal_mass_error_equals_oracle(num_bins):
    labels, logits = labelled()
    found = metrics.equal_mass_calibration_error(labels, logits, num_bins)
    want = oracles.equal_mass_error(labels, logits, num_bins)
    assert_allclose(found, want, rtol=1e-6)


def test_bins_equal_the_calibration_curve_of_scikit_learn():
    labels, logits = labelled()
    sure = softmax(logits).max(axis=-1)
    hit = logits.argmax(axis=-1) == labels
    names = {"equal_width": "uniform", "equal_mass": "quantile"}
    for binning, strategy in names.items():
        want = calibration_curve(hit, sure, n_bins=10, strategy=strategy)
        bins = metrics.reliability_bins(labels, logits, 10, binning)
        full = bins.weights > 0
        assert_allclose(bins.accuracy[full], want[0], rtol=1e-6)
        assert_allclose(bins.confidence[full], want[1], rtol=1e-6)


def test_examples_of_equal_confidence_are_spread_evenly():
    logits, labels = np.zeros((8, 2)), np.array([0, 0, 0, 0, 1, 1, 1, 0])
    bins = metrics.reliability_bins(labels, logits, 4, "equal_mass")
    assert_allclose(bins.accuracy, 5 / 8)
    assert_allclose(bins.confidence, 0.5)


def test_an_example_on_an_edge_belongs_to_both_sides_in_part():
    logits = np.array([[0.0, 0.1], [0.0, 0.2], [0.0, 0.3]])
    bins = metrics.reliability_bins([1, 0, 1], logits, 2, "equal_mass")
    assert_allclose(bins.weights, 1.5)
    assert_allclose(bins.accuracy, [1 / 1.5, 1 / 1.5])
    sure = softmax(logits)[:, 1]
    want = [(sure[0] + sure[1] / 2) / 1.5, (sure[1] / 2 + sure[2]) / 1.5]
    assert_allclose(bins.confidence, want, rtol=1e-6)


def test_the_error_is_that_of_the_bins():
    labels, logits = labelled()
    bins = metrics.reliability_bins(labels, logits, 12, "equal_mass")
    want = np.average(np.abs(bins.accuracy - bins.confidence), weights=bins.weights)
    found = metrics.equal_mass_calibration_error(labels, logits, 12)
    assert_allclose(found, want, rtol=1e-6)


@pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
def test_rows_without_a_label_or_weight_do_not_count(binning):
    labels, logits = labelled()
    known, weights = np.arange(600) % 3 > 0, np.arange(600) % 2
    kept = known & (weights > 0)
    want = metrics.reliability_bins(labels[kept], logits[kept], 10, binning)
    given = np.where(known, labels, UNLABELED)
    found = metrics.reliability_bins(given, logits, 10, binning, sample_weight=weights)
    for ours, theirs in zip(found, want, strict=True):
        assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
def test_bins_of_an_empty_set_are_nan(binning):
    bins = metrics.reliability_bins(np.zeros(0, int), np.zeros((0, 3)), 4, binning)
    assert bins.weights.tolist() == [0, 0, 0, 0]
    assert np.isnan([bins.accuracy, bins.confidence]).all()


def test_unknown_binning_is_refused():
    with pytest.raises(ValueError, match="Did you mean 'equal_mass'"):
        metrics.reliability_bins([0], np.zeros((1, 2)), binning="equalmass")


@pytest.mark.parametrize("binning", ["equal_width", "equal_mass"])
def test_a_diagram_has_the_points_and_shares(binning):
    bins = metrics.reliability_bins(*labelled(), 6, binning)
    axes = plt.subplots()[1]
    assert bins.plot(axes, color="red", marker="s") is axes
    diagonal, points = axes.lines
    assert_allclose(points.get_xdata(), bins.confidence)
    assert_allclose(points.get_ydata(), bins.accuracy)
    assert (points.get_color(), points.get_marker()) == ("red", "s")
    assert_allclose(diagonal.get_xydata(), [[0, 0], [1, 1]])
    heights = [[bar.get_height() for bar in of] for of in axes.containers]
    assert_allclose(heights[0], np.nan_to_num(bins.accuracy))
    assert_allclose(np.sum(heights[2]), 1)
    plt.close("all")


def test_bins_are_a_table_in_a_notebook():
    bins = metrics.reliability_bins(*labelled(), 4)
    assert len(repr(bins).splitlines()) == 6
    assert bins._repr_html_().count("<tr>") == 5
