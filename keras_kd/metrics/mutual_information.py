"""How much a student's predicted classes tell of its teacher's."""

import keras
from keras import ops

from keras_kd._common.checks import check_choice, check_whole_number
from keras_kd._common.examples import examples_of, weigh
from keras_kd.metrics._segment_sums import SegmentSums, segment_sums

_ESTIMATORS = ("plug_in", "miller_madow")


def mutual_information(teacher, student, estimator="plug_in", *, sample_weight=None):
    """Mutual information of the predicted classes, in nats. Higher is closer.

    From the table of how often the teacher predicts i and the student j. It says how
    far one prediction tells the other, not that they agree: a student that swaps two
    classes everywhere loses nothing.

    The plug-in estimate is too high where examples are few for the classes: 3.5 nats
    for independent predictions of 100 classes on 128 examples. Give it a whole set.
    Miller-Madow takes off the first term of that bias,
    (cells + 1 - rows - columns) / 2n of those that are not empty, and may come out
    slightly below 0.

    Args:
        teacher: Logits or probabilities, `(n, ..., classes)`.
        student: Same shape.
        estimator: `"plug_in"` or `"miller_madow"`. Defaults to `"plug_in"`.
        sample_weight: `(n,)`, weights >= 0; Miller-Madow takes their sum for n.
            Defaults to equal weights.

    Returns:
        Scalar; at least 0 and at most log(classes) for the plug-in. NaN for an empty
        set.

    Example:

    >>> teacher, student = np.eye(2)[[0, 0, 1, 1]], np.eye(2)[[1, 1, 0, 0]]
    >>> mi = keras_kd.metrics.mutual_information(teacher, student)
    >>> round(float(mi), 4)  # log 2
    0.6931

    References: Miller 1955, Note on the bias of information estimates; Guo et al. 2024,
    arXiv 2405.00739 (who average the plug-in estimate over small batches).
    """
    check_choice("estimator", estimator, _ESTIMATORS)
    found = _information(_contingencies(teacher, student, sample_weight), estimator)
    return ops.cast(found, keras.config.floatx())


def normalized_mutual_information(teacher, student, *, sample_weight=None):
    """Mutual information over the mean of the two entropies. Higher is closer.

    1 where each prediction determines the other, 0 for independent ones. From the
    plug-in estimates.

    Args:
        teacher: Logits or probabilities, `(n, ..., classes)`.
        student: Same shape.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Scalar in [0, 1]; 1 where both predict one class only, as scikit-learn says.
        NaN for an empty set.

    Example:

    >>> teacher, student = np.eye(2)[[0, 0, 1, 1]], np.eye(2)[[1, 1, 0, 0]]
    >>> nmi = keras_kd.metrics.normalized_mutual_information(teacher, student)
    >>> round(float(nmi), 4)
    1.0
    """
    found = _normalized_information(_contingencies(teacher, student, sample_weight))
    return ops.cast(found, keras.config.floatx())


def _contingencies(teacher, student, sample_weight):
    """Weights of examples, `(teacher's class, student's class)`, float64."""
    examples = examples_of(teacher, student, sample_weight=sample_weight)
    sides = examples.teacher, examples.student
    said = [ops.cast(ops.argmax(side, axis=-1), "int32") for side in sides]
    classes = examples.student.shape[-1]
    of_each = weigh(ops.ones_like(examples.student[..., 0]), examples)
    cells = said[0] * classes + said[1]
    table = segment_sums(classes**2, cells, of_each.weight)
    return ops.reshape(table, (classes, classes))


def _information(table, estimator):
    """Mutual information in nats, of a table of weights; NaN where all are 0."""
    teacher, student, joint = _entropies(table)
    found = ops.maximum(teacher + student - joint, 0.0)
    if estimator == "miller_madow":
        cells = [ops.sum(table, axis=1), ops.sum(table, axis=0), table]
        rows, columns, both = (ops.sum(ops.cast(c > 0, table.dtype)) for c in cells)
        total = ops.sum(table)
        bias = (both + 1 - rows - columns) / ops.where(total == 0, 1.0, 2 * total)
        found = found - bias
    return found


def _normalized_information(table):
    teacher, student, joint = _entropies(table)
    shared = ops.maximum(teacher + student - joint, 0.0)
    mean = (teacher + student) / 2
    one_class_each = mean == 0
    found = shared / ops.where(one_class_each, 1.0, mean)
    return ops.where(one_class_each, 1.0, found)


def _entropies(table):
    """Of the teacher, of the student and of both together; NaN before any."""
    total = ops.sum(table)
    joint = table / ops.where(total == 0, float("nan"), total)
    shares = ops.sum(joint, axis=1), ops.sum(joint, axis=0), joint
    return [_entropy(s) for s in shares]


def _entropy(probs):
    log_probs = ops.log(ops.where(probs > 0, probs, 1.0))
    return ops.where(
        ops.isnan(ops.sum(probs)), float("nan"), -ops.sum(probs * log_probs)
    )


class _ContingencyTable(SegmentSums):
    """Weights of examples by the class that the teacher and the student predict."""

    takes = ("teacher", "student")
    _direction = "up"

    def __init__(self, num_classes, name, dtype=None):
        self.num_classes = check_whole_number("num_classes", num_classes, at_least=2)
        super().__init__(num_classes**2, name=name, dtype=dtype)

    def update_state(self, teacher, student, sample_weight=None):
        """Take in a batch of `(batch, ..., classes)`, teacher first."""
        table = _contingencies(teacher, student, sample_weight)
        classes = table.shape[0]
        if classes != self.num_classes:
            raise ValueError(
                f"{type(self).__name__} was made for {self.num_classes} classes. "
                f"Received: logits of {classes}. Set num_classes={classes}."
            )
        self.add_table(ops.reshape(table, (-1, 1)))

    def table(self):
        """Weights so far, `(teacher's class, student's class)`, float64."""
        return ops.reshape(self.totals(), (self.num_classes, self.num_classes))

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}


@keras.saving.register_keras_serializable(package="keras_kd")
class MutualInformation(_ContingencyTable):
    """Streaming `mutual_information`: exact on any batching. Higher is closer.

    Args:
        num_classes: Classes of both models, at least 2.
        estimator: `"plug_in"` or `"miller_madow"`. Defaults to `"plug_in"`.
        name: Defaults to `"mutual_information"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.MutualInformation(num_classes=2)
    >>> metric.update_state(np.eye(2)[[0, 0]], np.eye(2)[[1, 1]])
    >>> metric.update_state(np.eye(2)[[1, 1]], np.eye(2)[[0, 0]])
    >>> round(float(metric.result()), 4)
    0.6931

    Reference: Miller 1955, Note on the bias of information estimates.
    """

    def __init__(
        self, num_classes, estimator="plug_in", name="mutual_information", dtype=None
    ):
        self.estimator = check_choice("estimator", estimator, _ESTIMATORS)
        super().__init__(num_classes, name, dtype)

    def result(self):
        return ops.cast(_information(self.table(), self.estimator), self.dtype)

    def get_config(self):
        return {**super().get_config(), "estimator": self.estimator}


@keras.saving.register_keras_serializable(package="keras_kd")
class NormalizedMutualInformation(_ContingencyTable):
    """Streaming `normalized_mutual_information`: exact on any batching.

    Higher is closer.

    Args:
        num_classes: Classes of both models, at least 2.
        name: Defaults to `"normalized_mutual_information"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.NormalizedMutualInformation(num_classes=2)
    >>> metric.update_state(np.eye(2)[[0, 0]], np.eye(2)[[1, 1]])
    >>> metric.update_state(np.eye(2)[[1, 1]], np.eye(2)[[0, 0]])
    >>> round(float(metric.result()), 4)
    1.0
    """

    def __init__(self, num_classes, name="normalized_mutual_information", dtype=None):
        super().__init__(num_classes, name, dtype)

    def result(self):
        return ops.cast(_normalized_information(self.table()), self.dtype)
