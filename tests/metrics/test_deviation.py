"""Log-odds and their line against extended precision, SciPy and published values."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_allclose, assert_array_equal
from oracles import deviation as oracles
from oracles import reference
from scipy.stats import beta, linregress

from keras_kd import metrics


def sides(size=400, classes=10, seed=0):
    rng = np.random.default_rng(seed)
    teacher = 3 * rng.normal(size=(size, classes))
    return teacher, 1.2 * teacher + rng.normal(size=(size, classes))


def planted(slope, seed, size=200, intercept=0.3):
    """Two classes, so that the log-odds are the margins; noise in the student only."""
    rng = np.random.default_rng(seed)
    teacher = rng.uniform(0.1, 6.0, size)
    student = intercept + slope * teacher + rng.normal(size=size)
    return (np.stack([phi, np.zeros(size)], axis=-1) for phi in (teacher, student))


def test_equals_published_values():
    sides = reference.TEACHER_LOGITS, reference.STUDENT_LOGITS
    result = metrics.confidence_exaggeration(*sides)
    order = np.argsort(reference.TEACHER_PHI)
    assert_allclose(result.teacher_phi, reference.TEACHER_PHI[order], atol=6e-7)
    assert_allclose(result.student_phi, reference.STUDENT_PHI[order], atol=6e-7)
    assert_allclose(result.whole.slope, reference.PHI_SLOPE, rtol=1e-7)
    assert_allclose(result.whole.intercept, reference.PHI_INTERCEPT, rtol=1e-7)
    assert result.whole.below_diagonal == 1
    assert (result.whole.num_examples, result.low_confidence.num_examples) == (4, 2)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_points_and_lines_equal_oracle(classes):
    teacher, student = sides(classes=classes)
    result = metrics.confidence_exaggeration(teacher, student, num_resamples=2)
    x, y = oracles.points(teacher, student)
    order = np.argsort(x)
    assert_allclose(result.teacher_phi, x[order], rtol=1e-9, atol=1e-12)
    assert_allclose(result.student_phi, y[order], rtol=1e-9, atol=1e-12)
    parts = (result.whole, x < np.inf), (result.low_confidence, oracles.low_half(x))
    for fit, part in parts:
        want = linregress(x[part], y[part])
        assert_allclose(fit.slope, want.slope, rtol=1e-6)
        assert_allclose(fit.intercept, want.intercept, rtol=1e-6, atol=1e-9)
        assert_allclose(fit.below_diagonal, np.mean(y[part] < x[part]))
        assert fit.num_examples == part.sum()


def test_log_odds_are_exact_where_probabilities_round_to_one():
    teacher = np.array([[60.0, 0, -1], [500.0, 1, 2], [5.0, 1, 2]], "float32")
    result = metrics.confidence_exaggeration(teacher, teacher)
    rest = np.log(np.exp([[0.0, -1], [1, 2], [1, 2]]).sum(axis=-1))
    want = np.array([60.0, 500, 5]) - rest
    assert_allclose(result.teacher_phi, np.sort(want), rtol=1e-12)
    assert_allclose(result.whole.slope, 1, rtol=1e-12)
    assert_allclose(result.whole.intercept, 0, atol=1e-12)


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_a_planted_slope_is_within_its_interval_in_90_of_100_draws(slope):
    inside = 0
    for seed in range(100):
        result = metrics.confidence_exaggeration(
            *planted(slope, seed), num_resamples=400, seed=seed
        )
        low, high = result.whole.slope_interval
        assert low <= result.whole.slope <= high
        inside += low <= slope <= high
    assert inside >= 90


def test_intervals_have_the_width_of_the_standard_errors():
    """Of the textbook, as the planted noise is even: within a tenth or so."""
    teacher, student = planted(1.5, seed=0, size=2000)
    result = metrics.confidence_exaggeration(teacher, student)
    line = linregress(teacher[:, 0], student[:, 0])
    for interval, error in (
        (result.whole.slope_interval, line.stderr),
        (result.whole.intercept_interval, line.intercept_stderr),
    ):
        assert_allclose(np.diff(interval), 2 * 1.96 * error, rtol=0.15)
    share = result.whole.below_diagonal
    error = np.sqrt(share * (1 - share) / 2000)
    width = np.diff(result.whole.below_diagonal_interval)
    assert_allclose(width, 2 * 1.96 * error, rtol=0.15)


def test_a_lower_level_gives_a_narrower_interval():
    data = sides()
    widths = [
        np.diff(metrics.confidence_exaggeration(*data, level=v).whole.slope_interval)
        for v in (0.5, 0.9, 0.99)
    ]
    assert widths == sorted(widths)


def test_whole_weights_count_as_so_many_examples():
    teacher, student = sides()
    weights = np.arange(400) % 3
    repeated = (np.repeat(s, weights, axis=0) for s in (teacher, student))
    want = metrics.confidence_exaggeration(*repeated, num_resamples=2)
    found = metrics.confidence_exaggeration(
        teacher, student, sample_weight=weights, num_resamples=2
    )
    for part in ("whole", "low_confidence"):
        ours, theirs = getattr(found, part), getattr(want, part)
        assert_allclose(ours.slope, theirs.slope, rtol=1e-9)
        assert_allclose(ours.intercept, theirs.intercept, rtol=1e-9)
        assert_allclose(ours.below_diagonal, theirs.below_diagonal, rtol=1e-9)


def test_any_order_and_batching_gives_the_same_intervals():
    teacher, student = sides()
    want = metrics.confidence_exaggeration(teacher, student)
    order = np.random.default_rng(1).permutation(400)
    metric = metrics.ConfidenceExaggeration()
    for part in np.array_split(order, 9):
        metric.update_state(teacher[part], student[part])
    found = metric.details()
    assert (found.whole, found.low_confidence) == (want.whole, want.low_confidence)
    assert_array_equal(found.teacher_phi, want.teacher_phi)
    assert metric.result()["slope"] == want.whole.slope
    assert metric.result()["low_confidence_slope"] == want.low_confidence.slope


def test_a_copy_of_the_teacher_is_faithful():
    teacher, _ = sides()
    result = metrics.confidence_exaggeration(teacher, teacher)
    assert_allclose(result.whole.slope_interval, 1, rtol=1e-9)
    assert result.whole.below_diagonal == 0


def test_teachers_that_are_always_as_sure_have_no_slope():
    teacher, student = np.tile([1.0, 0.0], (5, 1)), np.eye(2)[[0, 1, 0, 1, 0]]
    fit = metrics.confidence_exaggeration(teacher, student).whole
    assert np.isnan([fit.slope, fit.intercept, *fit.slope_interval]).all()
    assert_allclose(fit.below_diagonal, 0.4)


def test_an_empty_set_gives_nan():
    result = metrics.confidence_exaggeration(np.zeros((0, 3)), np.zeros((0, 3)))
    values = [result.whole.slope, result.whole.below_diagonal]
    assert np.isnan([*values, *result.low_confidence.slope_interval]).all()
    assert result.whole.num_examples == 0


def test_tokens_and_half_precision():
    teacher, student = (ops.cast(s, "bfloat16") for s in sides())
    exact = [ops.convert_to_numpy(ops.cast(s, "float64")) for s in (teacher, student)]
    want = metrics.confidence_exaggeration(*exact).whole
    tokens = (ops.reshape(s, (50, 8, 10)) for s in (teacher, student))
    assert metrics.confidence_exaggeration(*tokens).whole == want


def test_infinite_log_odds_are_refused():
    with pytest.raises(ValueError, match="not finite in 1 of 2 rows"):
        metrics.confidence_exaggeration(
            np.array([[1.0, 0.0], [0.0, -np.inf]]), np.zeros((2, 2))
        )


def test_a_compiled_step_is_told_that_it_cannot():
    metric = metrics.ConfidenceExaggeration()
    with pytest.raises(RuntimeError, match="outside of tf.function"):
        tf.function(metric.update_state, autograph=False)(*map(tf.constant, sides()))


def test_a_share_below_the_diagonal_at_an_end_has_an_interval():
    teacher, _ = sides(50)
    low, high = metrics.confidence_exaggeration(
        teacher, teacher
    ).whole.below_diagonal_interval
    assert low == 0.0
    assert_allclose(high, beta.ppf(0.975, 0.5, 50.5), atol=0.015)


def test_a_picture_has_points_diagonal_and_line():
    result = metrics.confidence_exaggeration(*sides(), num_resamples=10)
    axes = plt.subplots()[1]
    assert result.plot(axes, max_points=70, color="red") is axes
    points, diagonal, line = axes.lines
    assert len(points.get_xdata()) == 70
    assert np.isin(points.get_ydata(), result.student_phi).all()
    assert_allclose(*diagonal.get_data())
    x, y = line.get_data()
    assert_allclose(y, result.whole.slope * x + result.whole.intercept)
    nothing = metrics.confidence_exaggeration(np.zeros((0, 3)), np.zeros((0, 3)))
    assert nothing.plot().get_ylabel() == "φ of the student"
    plt.close("all")


def test_a_result_is_a_table():
    result = metrics.confidence_exaggeration(*sides(), num_resamples=10)
    assert f"{result.whole.slope:.3f} (" in repr(result)
    assert result._repr_html_().count("<tr>") == 3
    assert "slope_interval" in result.whole._repr_html_()
