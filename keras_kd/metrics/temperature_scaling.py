"""The temperature that calibrates a trained classifier."""

import numpy as np
from keras import ops

from keras_kd._common.examples import examples_of, weigh

_RELATIVE_ERROR = 1e-10


def fit_temperature(labels, logits, *, sample_weight=None):
    """Temperature T that makes softmax(logits / T) fit the labels best.

    It minimises `negative_log_likelihood(labels, logits / T)`, which is convex in 1/T:
    there is one answer, found by Newton's method in float64. Above 1, the model was too
    sure. Predicted classes stay as they are. Fit it on a held-out set and use it on
    another one.

    Args:
        labels: Class indices `(n, ...)`, or one-hot rows `(n, ..., classes)`. Rows
            labelled `keras_kd.UNLABELED` (-1) and all-zero rows do not count.
        logits: `(n, ..., classes)`, finite.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Float > 0.

    Raises:
        ValueError: Where no finite temperature above 0 is best: all predictions are
            right, or the logits say less of the labels than equal ones.

    Example:

    >>> logits = 2.0 * np.array([[1.0, 0], [1, 0], [1, 0], [1, 0]])
    >>> T = keras_kd.metrics.fit_temperature([0, 0, 0, 1], logits)
    >>> round(2 / T, 6), round(float(np.log(3)), 6)  # so that p = 3/4
    (1.098612, 1.098612)

    Reference: Guo et al. 2017, On Calibration of Modern Neural Networks, section 4.2.
    """
    above_label, weight = _above_label(labels, logits, sample_weight)
    if not weight.size:
        raise ValueError(
            "No example has a label and a weight, so there is nothing to fit a "
            "temperature to. Give a held-out set with labels."
        )
    if above_label.max() <= 0:
        raise ValueError(
            f"All {len(weight)} predictions are right: the lower the temperature, the "
            "better they fit, down to 0. Fit on a larger held-out set that the model "
            "was not trained on."
        )
    if _slope(0.0, above_label, weight)[0] >= 0:
        raise ValueError(
            "The logits fit the labels no better than equal logits at any temperature. "
            "Check that labels and logits belong together, in one order and with the "
            "same classes."
        )
    return float(1.0 / _root(above_label, weight))


def _above_label(labels, logits, sample_weight):
    """Logits less that of the label, `(rows, classes)`, and weights that sum to 1."""
    examples = examples_of(None, logits, labels, sample_weight)
    logits, labels = examples.student, examples.classes
    weight = weigh(ops.ones_like(logits[..., 0]), examples, of_labels=True).weight
    weight = np.ravel(ops.convert_to_numpy(weight)).astype("float64")
    counts = weight != 0
    logits = np.reshape(ops.convert_to_numpy(logits), (-1, logits.shape[-1]))[counts]
    labels = np.ravel(ops.convert_to_numpy(labels))[counts]
    if not np.isfinite(logits).all():
        raise ValueError(
            "`logits` must be finite to fit a temperature. Received some that are "
            "infinite or NaN: leave out classes that no example can have, and give "
            "examples without a prediction the weight 0."
        )
    logits = logits.astype("float64")
    picked = np.take_along_axis(logits, labels[:, None], axis=-1)
    return logits - picked, weight[counts] / weight.sum()


def _slope(inverse, above_label, weight):
    """First and second derivative of the NLL by 1/T."""
    scaled = inverse * above_label
    probs = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probs /= probs.sum(axis=-1, keepdims=True)
    mean = np.sum(probs * above_label, axis=-1)
    spread = np.sum(probs * (above_label - mean[:, None]) ** 2, axis=-1)
    return weight @ mean, weight @ spread


def _root(above_label, weight):
    """Where the slope crosses 0: Newton, kept within a bracket by bisection."""
    low = high = 1.0
    while _slope(high, above_label, weight)[0] < 0:
        low, high = high, 2 * high
    while _slope(low, above_label, weight)[0] > 0:
        low, high = low / 2, low
    inverse = np.sqrt(low * high)
    while high - low > _RELATIVE_ERROR * low:
        first, second = _slope(inverse, above_label, weight)
        low, high = (inverse, high) if first < 0 else (low, inverse)
        before = inverse
        inverse = before - first / second if second > 0 else low
        if not low < inverse < high:
            inverse = np.sqrt(low * high)
        if abs(inverse - before) <= _RELATIVE_ERROR * before:
            break
    return inverse
