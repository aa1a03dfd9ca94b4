"""What a metric given by a user is updated with: what its class says it takes."""

import inspect

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

from keras_kd import UNLABELED, metrics
from keras_kd._common.examples import examples_of
from keras_kd._common.metric_update import needs_labels, update_of

SIZE, CLASSES = 12, 3


class Seen(keras.metrics.Metric):
    """Keeps what it was given."""

    def __init__(self, takes):
        super().__init__(name="seen")
        self.takes, self.seen = takes, None

    def update_state(self, *given, sample_weight=None):
        weight = None if sample_weight is None else np.asarray(sample_weight)
        self.seen = [*map(np.asarray, given), weight]

    def result(self):
        return 0.0


def sides(*shape):
    teacher, student = np.random.default_rng(0).normal(size=(2, *shape, CLASSES))
    return teacher.astype("float32"), student.astype("float32")


def test_both_sides_with_weight_and_mask():
    teacher, student = sides(4, 3)
    mask, weight = np.arange(3) < [[3], [2], [1], [0]], np.array([1.0, 2, 3, 4])
    metric = Seen(("teacher", "student"))
    update_of(metric)(examples_of(teacher, student, None, weight, mask=mask))
    assert_allclose(metric.seen[0], teacher)
    assert_allclose(metric.seen[1], student)
    assert_allclose(metric.seen[2], mask * weight[:, None])


def test_without_weight_or_mask_all_count():
    metric = Seen(("teacher", "student"))
    update_of(metric)(examples_of(*sides(SIZE)))
    assert_allclose(metric.seen[-1], np.ones(SIZE))


@pytest.mark.parametrize(
    "form",
    [
        lambda y: y,
        lambda y: y[:, None],
        lambda y: y.astype("float32"),
        lambda y: np.eye(CLASSES)[y] * (y >= 0)[:, None],
    ],
    ids=["indices", "column", "float", "one-hot"],
)
@pytest.mark.parametrize(
    "takes", [("labels", "logits"), ("labels", "teacher", "student")], ids=str
)
def test_labels_come_as_given_and_missing_ones_weigh_nothing(takes, form):
    teacher, student = sides(SIZE)
    known, weight = np.arange(SIZE) % 3 > 0, np.arange(SIZE) / 7
    given = form(np.where(known, np.arange(SIZE) % CLASSES, UNLABELED))
    metric = Seen(takes)
    update_of(metric)(examples_of(teacher, student, given, weight))
    labels, *logits, weights = metric.seen
    assert (labels.shape, labels.dtype) == (given.shape, given.dtype)
    assert_allclose(labels[known], given[known])
    assert (labels[~known] == 0).all()
    for found, side in zip(logits, (teacher, student)[-len(logits) :], strict=True):
        assert_allclose(found, side)
    assert_allclose(weights, weight * known, rtol=1e-6)


def test_metrics_of_labels_wait_where_there_are_none():
    metric = Seen(("labels", "logits"))
    update_of(metric)(examples_of(*sides(SIZE)))
    assert metric.seen is None


def test_a_label_metric_of_the_package_reads_the_student():
    teacher, student = sides(SIZE)
    labels = np.arange(SIZE) % CLASSES
    labels[0] = UNLABELED
    metric = metrics.BrierScore()
    update_of(metric)(examples_of(teacher, student, labels))
    want = metrics.brier_score(labels[1:], student[1:])
    assert_allclose(metric.result(), want, rtol=1e-6)


def test_what_each_metric_of_the_package_takes_is_what_it_names():
    silent = set()
    for name in metrics.__all__:
        cls = getattr(metrics, name)
        if not inspect.isclass(cls):
            continue
        if not hasattr(cls, "takes"):
            silent.add(name)
            continue
        names = list(inspect.signature(cls.update_state).parameters)[1:]
        names = [name for name in names if name != "sample_weight"]
        assert tuple(n.removesuffix("_logits") for n in names) == cls.takes
    assert silent == {"EnsembleDiversity"}  # of more than two sides
    assert needs_labels(metrics.BrierScore())
    assert not needs_labels(metrics.Agreement())


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("kl", ["must be an object of keras_kd.metrics", "'kl' of type str"]),
        (keras.metrics.Accuracy(), ["'accuracy'", "y_true, y_pred", "takes=None"]),
        (metrics.LinearCKA(), ["'linear_cka'", "teacher_features", "probes="]),
        (Seen(("student",)), ["'seen'", r"takes=('student',)"]),
    ],
)
def test_what_says_nothing_is_refused_with_how_to_say_it(bad, says):
    for ask in (update_of, needs_labels):
        with pytest.raises(TypeError) as raised:
            ask(bad)
        for text in says:
            assert text in str(raised.value)
    if isinstance(bad, keras.metrics.Metric):
        assert "`takes = ('teacher', 'student')`" in str(raised.value)
