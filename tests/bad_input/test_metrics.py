"""One row for each mistake that a user can make with predictions to be compared."""

import numpy as np
import pytest
import tensorflow as tf

from bad_input import Row, check
from keras_kd import metrics

THREE, FOUR = np.zeros((2, 3)), np.zeros((2, 4))
ONE_CLASS = np.zeros((2, 1))

ROWS = [
    Row(
        "kinds of disagreement over different classes",
        lambda: metrics.disagreement_kinds([0, 0], THREE, FOUR),
        ValueError,
        ["same rank and number of classes", r"teacher \(2, 3\)", r"student \(2, 4\)"],
    ),
    Row(
        "log-odds of different classes",
        lambda: metrics.confidence_exaggeration(THREE, FOUR),
        ValueError,
        ["same rank and number of classes", "common set of classes"],
    ),
    Row(
        "softmax over one class",
        lambda: metrics.jensen_shannon(ONE_CLASS, ONE_CLASS),
        ValueError,
        ["at least 2 classes", "two logits"],
    ),
    Row(
        "mutual information of one class",
        lambda: metrics.mutual_information(ONE_CLASS, ONE_CLASS),
        ValueError,
        ["at least 2 classes", "two logits"],
    ),
    Row(
        "table of other classes",
        lambda: metrics.MutualInformation(3).update_state(FOUR, FOUR),
        ValueError,
        ["made for 3 classes", "logits of 4", "Set num_classes=4"],
    ),
    Row(
        "unknown estimator",
        lambda: metrics.mutual_information(THREE, THREE, "miler_madow"),
        ValueError,
        ["estimator='miler_madow'", "Did you mean 'miller_madow'"],
    ),
    Row(
        "unknown binning",
        lambda: metrics.reliability_bins([0, 0], THREE, binning="mass"),
        ValueError,
        ["binning='mass'", r"\['equal_width', 'equal_mass'\]"],
    ),
    Row(
        "no bins",
        lambda: metrics.agreement_by_confidence(THREE, THREE, num_bins=0),
        ValueError,
        ["`num_bins`", "at least 1", "num_bins=0"],
    ),
    Row(
        "bins of a fraction",
        lambda: metrics.EqualMassCalibrationError(num_bins=1.5),
        TypeError,
        ["`num_bins`", "whole number", "num_bins=1.5"],
    ),
    Row(
        "labels beyond the classes",
        lambda: metrics.brier_score([0, 3], THREE),
        tf.errors.InvalidArgumentError,
        [r"\[0, 3\)", "UNLABELED"],
    ),
    Row(
        "temperature where all predictions are right",
        lambda: metrics.fit_temperature([0, 1], np.eye(2)),
        ValueError,
        ["All 2 predictions are right", "held-out set"],
    ),
    Row(
        "temperature of logits that belong to other labels",
        lambda: metrics.fit_temperature([1, 0], np.eye(2)),
        ValueError,
        ["no better than equal logits", "belong together"],
    ),
    Row(
        "temperature without labels",
        lambda: metrics.fit_temperature([-1, -1], np.eye(2)),
        ValueError,
        ["No example has a label", "held-out set"],
    ),
    Row(
        "temperature of infinite logits",
        lambda: metrics.fit_temperature([0, 1], np.array([[0, -np.inf], [1, 0]])),
        ValueError,
        ["must be finite", "infinite or NaN", "weight 0"],
    ),
    Row(
        "log-odds of rounded probabilities",
        lambda: metrics.confidence_exaggeration(
            np.array([[0.0, -np.inf]]), np.zeros((1, 2))
        ),
        ValueError,
        ["not finite in 1 of 1 rows", "Give finite logits"],
    ),
    Row(
        "level in percent",
        lambda: metrics.ConfidenceExaggeration(level=95),
        ValueError,
        ["below 1", "level=95", "write 0.95"],
    ),
    Row(
        "examples kept in a compiled step",
        lambda: tf.function(metrics.ConfidenceExaggeration().update_state)(
            tf.zeros((2, 3)), tf.zeros((2, 3))
        ),
        RuntimeError,
        ["keeps numbers of every example", "run_eagerly=True"],
    ),
    Row(
        "an ensemble of one",
        lambda: metrics.ensemble_diversity([THREE]),
        ValueError,
        ["at least 2 arrays", r"\(2, 3\)"],
    ),
    Row(
        "members of different classes",
        lambda: metrics.ensemble_diversity([THREE, FOUR]),
        ValueError,
        ["of one shape", r"\(2, 3\), \(2, 4\)"],
    ),
    Row(
        "k of 0",
        lambda: metrics.Agreement(k=0),
        ValueError,
        ["k=0", "at least 1"],
    ),
    Row(
        "half a bin",
        lambda: metrics.ExpectedCalibrationError(num_bins=0.5),
        TypeError,
        ["num_bins=0.5", "whole number"],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_mistake_is_answered_at_the_call(row):
    check(row)
