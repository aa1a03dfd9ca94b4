"""The one list of scores: function, class and streaming mean give the oracle's number.

The oracles are averages in float64 over the rows that count, picked here by hand.
"""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from oracles import agreement as agreement_oracles
from oracles import calibration, divergence
from oracles import logits as oracles
from two_devices import on_two_devices

from keras_kd import UNLABELED, metrics
from keras_kd._common.examples import examples_of
from keras_kd.metrics import scores
from keras_kd.metrics.scores import SCORES, ScoreMeans, score_values

ORACLES = {  # of labels and both sides, `(rows, ...)`, and weights `(rows,)`
    "accuracy": lambda y, t, s, w: np.average(s.argmax(axis=-1) == y, weights=w),
    "nll": lambda y, t, s, w: calibration.negative_log_likelihood(y, s, w),
    "brier": lambda y, t, s, w: calibration.brier_score(y, s, w),
    "ece": lambda y, t, s, w: calibration.expected_calibration_error(y, s, 15, w),
    "agreement": lambda y, t, s, w: np.average(
        agreement_oracles.agrees(t, s), weights=w
    ),
    "agreement_top5": lambda y, t, s, w: np.average(
        agreement_oracles.agrees(t, s, 5), weights=w
    ),
    "kl": lambda y, t, s, w: np.average(oracles.kl_divergence(t, s), weights=w),
    "reverse_kl": lambda y, t, s, w: np.average(oracles.kl_divergence(s, t), weights=w),
    "jensen_shannon": lambda y, t, s, w: np.average(
        divergence.jensen_shannon(t, s), weights=w
    ),
    "total_variation": lambda y, t, s, w: np.average(
        divergence.total_variation(t, s), weights=w
    ),
}
FUNCTIONS = {  # accuracy has neither: Keras has it
    "nll": (metrics.negative_log_likelihood, metrics.NegativeLogLikelihood),
    "brier": (metrics.brier_score, metrics.BrierScore),
    "ece": (metrics.expected_calibration_error, metrics.ExpectedCalibrationError),
    "agreement": (metrics.agreement, metrics.Agreement),
    "agreement_top5": (
        lambda *sides, **weight: metrics.agreement(*sides, k=5, **weight),
        lambda **dtype: metrics.Agreement(k=5, **dtype),
    ),
    "kl": (metrics.predictive_kl, metrics.PredictiveKL),
    "reverse_kl": (metrics.reverse_kl, metrics.ReverseKL),
    "jensen_shannon": (metrics.jensen_shannon, metrics.JensenShannon),
    "total_variation": (metrics.total_variation, metrics.TotalVariation),
}
SIZE, LENGTH, CLASSES = 60, 4, 8


@dataclasses.dataclass
class Case:
    """A set, as a user gives it, and which of its positions count, by how much."""

    labels: np.ndarray
    teacher: np.ndarray
    student: np.ndarray
    counts: np.ndarray  # of both sides
    labelled: np.ndarray  # bool
    weight: np.ndarray | None = None
    mask: np.ndarray | None = None
    true_labels: np.ndarray | None = None


def plain(shape=(SIZE,), dtype="float32"):
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, *shape, CLASSES)).astype(dtype)
    labels = (teacher + rng.gumbel(size=teacher.shape)).argmax(axis=-1)
    everywhere = np.ones(shape)
    return Case(labels, 2 * teacher, student, everywhere, everywhere > 0)


def float64():
    return plain(dtype="float64")


def ties():
    case = plain()
    whole = (np.round(side) + 0.0 for side in (case.teacher, case.student))
    case.teacher, case.student = whole  # of tied classes the first one wins
    case.student[::3] = 0.0  # says nothing: all classes tie
    return case


def zero_weights():
    case = plain()
    case.weight = np.random.default_rng(1).integers(0, 4, SIZE).astype("float32")
    case.counts = case.weight.astype("float64")
    case.student[case.weight == 0] = np.nan
    case.teacher[case.weight == 0] = np.inf
    return case


def masked():
    """Positions, of which one weight an example, and a mask on the student's."""
    case = plain((SIZE, LENGTH))
    case.mask = np.arange(LENGTH) < np.arange(SIZE)[:, None] % 5  # some have none
    case.weight = np.random.default_rng(1).uniform(size=SIZE).astype("float32")
    case.counts = case.mask * case.weight[:, None].astype("float64")
    case.student[~case.mask] = np.nan
    return case


def missing_indices():
    case = plain()
    case.true_labels, case.labelled = case.labels, np.arange(SIZE) % 3 > 0
    case.labels = np.where(case.labelled, case.labels, UNLABELED)[:, None]
    return case


def missing_rows():
    case = missing_indices()
    case.labels = np.eye(CLASSES)[case.true_labels] * case.labelled[:, None]
    return case


def nothing():
    case = plain()
    case.weight = np.zeros(SIZE)
    case.counts = np.zeros(SIZE)
    return case


def no_labels():
    case = plain()
    case.labels = np.full(SIZE, UNLABELED)
    case.true_labels, case.labelled = case.labels, np.zeros(SIZE, bool)
    return case


def want(score, case):
    """The oracle's number, of the rows that count."""
    weight = case.counts * case.labelled if score.needs_labels else case.counts
    kept = weight > 0
    if not kept.any():
        return np.nan
    labels = case.labels if case.true_labels is None else case.true_labels
    sides = (side[kept].astype("float64") for side in (case.teacher, case.student))
    return ORACLES[score.name](labels[kept], *sides, weight[kept])


def tensors(case, part):
    """Labels and both sides of some examples; the student's carries the mask."""
    student = keras.ops.convert_to_tensor(case.student[part])
    if case.mask is not None:
        student._keras_mask = keras.ops.convert_to_tensor(case.mask[part])
    weight = None if case.weight is None else case.weight[part]
    return case.labels[part], case.teacher[part], student, weight


def three_numbers(score, case):
    """Of the function, of the class and of the mean that all readers use."""
    means, of_class = ScoreMeans([score]), None
    if score.name in FUNCTIONS:
        function, cls = FUNCTIONS[score.name]
        labels, teacher, student, weight = tensors(case, slice(None))
        first = labels if score.needs_labels else teacher
        yield function(first, student, sample_weight=weight)
        of_class = cls(dtype=case.student.dtype.name)
    for part in np.array_split(np.arange(SIZE), 7):
        labels, teacher, student, weight = tensors(case, part)
        means.update(examples_of(teacher, student, labels, weight))
        first = labels if score.needs_labels else teacher
        if of_class is not None:
            of_class.update_state(first, student, sample_weight=weight)
    yield means.result()[score.name]
    if of_class is not None:
        yield of_class.result()


@pytest.mark.parametrize(
    "make",
    [
        plain,
        float64,
        ties,
        zero_weights,
        masked,
        missing_indices,
        missing_rows,
        nothing,
        no_labels,
    ],
)
def test_all_three_give_the_oracles_number(make):
    case = make()
    rtol = 1e-12 if make is float64 else 2e-6
    for score in SCORES:
        for found in three_numbers(score, case):
            message = f"{score.name}, {make.__name__}"
            assert_allclose(found, want(score, case), rtol=rtol, err_msg=message)


def test_the_list_is_complete():
    assert [score.name for score in SCORES] == list(ORACLES)
    for score in SCORES:
        assert score.direction in ("up", "down")
        if score.name in FUNCTIONS:
            assert FUNCTIONS[score.name][1]()._direction == score.direction


def test_values_say_what_each_weighs_and_how_many_count():
    case = missing_indices()
    case.weight = np.arange(SIZE) % 2.0
    examples = examples_of(case.teacher, case.student, case.labels, case.weight)
    for score in SCORES:
        found = score_values(score, examples)
        counts = case.labelled if score.needs_labels else np.ones(SIZE)
        assert found.size == counts.sum()
        assert found.values.shape == found.weight.shape
        assert found.values.shape[1:] == (score.columns,) * bool(score.columns)
        weights = np.reshape(found.weight, (SIZE, -1))
        assert_allclose(weights, (counts * case.weight)[:, None] + 0 * weights)


def test_a_summary_takes_rows_of_means_as_a_bootstrap_has_them():
    case = float64()
    ece = next(score for score in SCORES if score.summary)
    examples = examples_of(case.teacher, case.student, case.labels)
    values = np.asarray(score_values(ece, examples).values)
    draws = np.random.default_rng(1).integers(0, SIZE, (20, SIZE))
    found = ece.summary(values[draws].mean(axis=1))
    assert isinstance(found, np.ndarray)
    wanted = [
        calibration.expected_calibration_error(case.labels[d], case.student[d], 15)
        for d in draws
    ]
    assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("num_bins", [1, 10])
def test_a_calibration_error_of_other_bins(num_bins):
    case = float64()
    means = ScoreMeans([scores.calibration_score(num_bins)])
    means.update(examples_of(case.teacher, case.student, case.labels))
    wanted = calibration.expected_calibration_error(case.labels, case.student, num_bins)
    assert_allclose(means.result()["ece"], wanted, rtol=1e-12)


def test_a_score_applies_from_its_least_classes_on_and_with_labels():
    def names(*arguments, **labelled):
        return {score.name for score in scores.scores_for(*arguments, **labelled)}

    assert names(6, labelled=True) == set(ORACLES)
    assert names(5, labelled=True) == set(ORACLES) - {"agreement_top5"}
    of_labels = {"accuracy", "nll", "brier", "ece"}
    assert names(6, labelled=False) == set(ORACLES) - of_labels


def test_one_changed_entry_is_what_readers_find(monkeypatch):
    changed = [
        dataclasses.replace(score, values=lambda e: 7.0 + 0 * e.student[..., 0])
        if score.name == "kl"
        else score
        for score in SCORES
    ]
    monkeypatch.setattr(scores, "SCORES", tuple(changed))
    case = plain()
    means = ScoreMeans(scores.scores_for(CLASSES, labelled=False))
    means.update(examples_of(case.teacher, case.student))
    found = means.result()
    assert found["kl"] == 7.0
    assert 0 < found["agreement"] < 1


def test_labels_are_asked_for_where_a_score_needs_them():
    case = plain()
    with pytest.raises(ValueError, match=r"NLL .* needs class labels"):
        score_values(SCORES[1], examples_of(case.teacher, case.student))


@pytest.mark.distributed
def test_two_replicas_in_a_graph_give_the_number_of_one():
    case = missing_indices()
    strategy = on_two_devices()
    with strategy.scope():
        means = ScoreMeans(SCORES)

    @tf.function(autograph=False)
    def step(labels, teacher, student):
        means.update(examples_of(teacher, student, labels))

    data = tf.data.Dataset.from_tensor_slices((case.labels, case.teacher, case.student))
    for batch in strategy.experimental_distribute_dataset(data.batch(16)):
        strategy.run(step, args=batch)
    found = means.result()
    for score in SCORES:
        assert_allclose(found[score.name], want(score, case), rtol=2e-6)


@pytest.mark.parametrize("make", [masked, missing_indices, zero_weights, nothing])
def test_side_by_side_each_score_keeps_its_own_number(make):
    case = make()
    means = ScoreMeans(SCORES[::-1])
    for part in np.array_split(np.arange(SIZE), 3):
        labels, teacher, student, weight = tensors(case, part)
        means.update(examples_of(teacher, student, labels, weight))
    found = means.result()
    assert list(found) == [score.name for score in SCORES[::-1]]
    for score in SCORES:
        assert_allclose(found[score.name], want(score, case), rtol=2e-6)


def test_scores_that_mean_nothing_of_the_examples_are_left_out():
    case = plain()
    teacher, student = case.teacher[:, :5], case.student[:, :5]
    means = ScoreMeans(SCORES)
    means.update(examples_of(teacher, student))
    case.teacher, case.student = teacher, student
    compared = {"agreement", "kl", "reverse_kl", "jensen_shannon", "total_variation"}
    assert set(means.result()) == compared
    for score in SCORES:
        if score.name in compared:
            found = means.result()[score.name]
            assert_allclose(found, want(score, case), rtol=2e-6)
