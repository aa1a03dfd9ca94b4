"""CKA against its definition in NumPy, published values, and what it must ignore."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_allclose
from oracles import reference
from oracles import representation as oracles
from two_devices import on_two_devices

from keras_kd import metrics

both_estimates = pytest.mark.parametrize("debiased", [True, False])


def features(n=60, widths=(7, 5), seed=0):
    """Two sides that have something in common."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 3))
    return [
        common @ rng.normal(size=(3, d)) + rng.normal(size=(n, d)) + 1 for d in widths
    ]


def oracle(teacher, student, debiased=True):
    kernels = oracles.linear_kernel(teacher), oracles.linear_kernel(student)
    return oracles.cka(*kernels, debiased)


def streamed(teacher, student, sizes, **arguments):
    metric = metrics.LinearCKA(dtype="float64", **arguments)
    for part in np.split(np.arange(len(teacher)), np.cumsum(sizes)[:-1]):
        metric.update_state(teacher[part], student[part])
    return float(metric.result())


def rotation(d, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


@both_estimates
@pytest.mark.parametrize("widths", [(7, 5), (3, 40), (300, 200)], ids=str)
def test_equals_the_definition(widths, debiased):
    """The widest pair is computed from similarities of examples, not of features."""
    teacher, student = features(widths=widths)
    want = oracle(teacher, student, debiased)
    assert_allclose(metrics.linear_cka(teacher, student, debiased), want, rtol=1e-10)
    sizes = [1, 20, 39]
    found = streamed(teacher, student, sizes, debiased=debiased)
    assert_allclose(found, want, rtol=1e-9)


def test_equals_published_values():
    sides = reference.TEACHER_EMBEDDINGS, reference.STUDENT_EMBEDDINGS
    found = metrics.linear_cka(*sides, debiased=False)
    assert_allclose(found, reference.BIASED_LINEAR_CKA, rtol=1e-7)
    hsic = reference.HSIC_1
    want = hsic["st"] / np.sqrt(hsic["ss"] * hsic["tt"])
    assert_allclose(metrics.linear_cka(*sides), want, rtol=1e-6)
    kernels = {"s": sides[1], "t": sides[0]}
    kernels = {key: oracles.linear_kernel(x) for key, x in kernels.items()}
    for (first, second), value in hsic.items():  # the oracle is right as well
        found = oracles.hsic_1(kernels[first], kernels[second])
        assert_allclose(found, value, rtol=1e-7)


def test_of_10_000_examples_in_uneven_batches_equals_the_whole_set():
    rng = np.random.default_rng(0)
    teacher = np.maximum(rng.normal(size=(10_000, 24)), 0).astype("float32")
    student = (teacher[:, :16] ** 2 + rng.normal(size=(10_000, 16))).astype("float32")
    x, y = (side.astype("float64") for side in (teacher, student))
    kernels = [a - a.mean(axis=0) for a in (x, y)]
    # HSIC_1 by its definition, with row sums in place of n x n matrices.
    norms = [np.sum(a * a, axis=1) for a in kernels]

    def hsic(i, j):
        n, a, b = len(x), kernels[i], kernels[j]
        rows = [k @ k.sum(axis=0) - k2 for k, k2 in ((a, norms[i]), (b, norms[j]))]
        product = np.sum((a.T @ b) ** 2) - norms[i] @ norms[j]
        total = rows[0].sum() * rows[1].sum() / ((n - 1) * (n - 2))
        return product + total - 2 / (n - 2) * rows[0] @ rows[1]

    want = hsic(0, 1) / np.sqrt(hsic(0, 0) * hsic(1, 1))
    few = slice(0, 500)
    assert_allclose(metrics.linear_cka(x[few], y[few]), oracle(x[few], y[few]))
    found = streamed(teacher, student, [1, 2999, 128, 4000, 2871, 1])
    assert_allclose(found, want, rtol=1e-9)
    assert_allclose(metrics.linear_cka(teacher, student), want, rtol=1e-9)


@both_estimates
def test_of_rotated_moved_and_scaled_features_is_one(debiased):
    teacher, _ = features(n=200, widths=(12, 1))
    for student in (teacher, 1e3 * teacher @ rotation(12) - 5.0):
        found = metrics.linear_cka(teacher, student, debiased)
        assert_allclose(found, 1.0, rtol=1e-12)
        found = streamed(teacher, student, [63, 137], debiased=debiased)
        assert_allclose(found, 1.0, rtol=1e-9)


def test_of_independent_noise_is_near_zero_and_the_biased_one_is_not():
    found, biased = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        sides = rng.normal(size=(128, 64)), rng.normal(size=(128, 512))
        found.append(float(metrics.linear_cka(*sides)))
        biased.append(float(metrics.linear_cka(*sides, debiased=False)))
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(10) + 1e-3
    assert np.max(np.abs(found)) < 0.03
    assert np.min(biased) > 0.4


def test_is_symmetric_and_ignores_the_order_of_examples():
    teacher, student = features()
    order = np.random.default_rng(1).permutation(60)
    want = metrics.linear_cka(teacher, student)
    assert_allclose(metrics.linear_cka(student, teacher), want, rtol=1e-12)
    found = metrics.linear_cka(teacher[order], student[order])
    assert_allclose(found, want, rtol=1e-12)


@both_estimates
def test_a_weight_counts_as_so_many_examples(debiased):
    for widths in ((7, 5), (300, 200)):
        teacher, student = features(widths=widths)
        weights = np.arange(60) % 3
        repeated = [np.repeat(side, weights, axis=0) for side in (teacher, student)]
        want = oracle(*repeated, debiased)
        teacher[weights == 0] = np.nan
        found = metrics.linear_cka(teacher, student, debiased, sample_weight=weights)
        assert_allclose(found, want, rtol=1e-10)


def far_features(offset, n=200):
    """Layers whose means are that many standard deviations from zero."""
    teacher, student = features(n=n, widths=(64, 32))
    return teacher + offset * teacher.std(), student - 2 * offset * student.std()


BATCHINGS = {
    "one example first": [1, 60, 139],
    "empty first": [0, 128, 72],
    "whole": [200],
}


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e4])
def test_means_far_from_zero_cost_no_digits(offset):
    teacher, student = far_features(offset)
    want = oracle(teacher - teacher.mean(axis=0), student - student.mean(axis=0))
    assert_allclose(metrics.linear_cka(teacher, student), want, rtol=1e-8)
    for sizes in BATCHINGS.values():
        assert_allclose(streamed(teacher, student, sizes), want, rtol=1e-8)
    metric = metrics.LinearCKA()  # whose result is float32
    metric.update_state(teacher, student)
    assert_allclose(metric.result(), want, rtol=2e-7)
    rounded = teacher.astype("float32"), student.astype("float32")
    want = metrics.linear_cka(*rounded)  # of what the features are after rounding
    assert_allclose(streamed(*rounded, [1, 199]), want, rtol=1e-8)


@both_estimates
def test_means_far_from_zero_cost_no_digits_in_a_graph(debiased):
    teacher, student = far_features(1e4)
    metric = metrics.CKAMatrix(debiased, dtype="float64")
    metric.build([64, 32], [32])

    @tf.function(reduce_retracing=True)
    def step(teacher, student, weight):
        metric.update_state([teacher, student], [student], weight)

    weight = np.arange(200) % 3 + 0.0
    weight[:60] = 0.0  # the first batch does not count
    for start in range(0, 200, 60):
        part = slice(start, start + 60)
        step(teacher[part], student[part], weight[part])
    want = metrics.cka_matrix(
        [teacher, student], [student], debiased, sample_weight=weight
    )
    assert_allclose(metric.result(), want, rtol=1e-8)


def test_a_first_batch_far_from_all_others_costs_no_digits():
    teacher, student = far_features(1e4)
    weight = np.ones(200)
    teacher[0], student[0], weight[0] = 0.0, 0.0, 1e-10
    metric = metrics.LinearCKA(dtype="float64")
    for part in (slice(0, 1), slice(1, 80), slice(80, 200)):
        metric.update_state(teacher[part], student[part], weight[part])
    want = metrics.linear_cka(teacher, student, sample_weight=weight)
    assert_allclose(metric.result(), want, rtol=1e-8)


def test_weights_of_other_examples_are_refused():
    teacher, student = features()
    for weight in (np.ones(1), np.ones(59)):
        with pytest.raises(ValueError, match="one weight an example.*for 60 examples"):
            metrics.linear_cka(teacher, student, sample_weight=weight)


def test_of_a_layer_that_does_not_vary_is_nan():
    teacher, student = features()
    still = np.full((60, 4), 0.1)
    for found in (
        metrics.linear_cka(teacher, still),
        metrics.linear_cka(still, student, debiased=False),
        streamed(teacher, still, [30, 30]),
        metrics.rbf_cka(teacher, still),
    ):
        assert np.isnan(found)


def test_the_debiased_one_needs_four_examples():
    teacher, student = features(n=4)
    assert np.isfinite(metrics.linear_cka(teacher, student))
    assert np.isfinite(metrics.rbf_cka(teacher, student))
    assert np.isnan(metrics.linear_cka(teacher[:3], student[:3]))
    assert np.isnan(metrics.rbf_cka(teacher[:3], student[:3]))
    assert np.isfinite(metrics.linear_cka(teacher[:3], student[:3], debiased=False))


def test_positions_are_averaged_or_become_features():
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(50, 4, 3, 6)), rng.normal(size=(50, 8, 5))
    means = teacher.mean(axis=(1, 2)), student.mean(axis=1)
    assert_allclose(metrics.linear_cka(teacher, student), oracle(*means), rtol=1e-9)
    flat = teacher.reshape(50, -1), student.reshape(50, -1)
    found = metrics.linear_cka(teacher, student, spatial="flatten")
    assert_allclose(found, oracle(*flat), rtol=1e-9)
    found = streamed(teacher, student, [20, 30], spatial="flatten")
    assert_allclose(found, oracle(*flat), rtol=1e-9)


def layers_of_both(n=80):
    rng = np.random.default_rng(3)
    teachers = {"a": rng.normal(size=(n, 6)), "b": rng.normal(size=(n, 2, 2, 3))}
    students = [teachers["a"] ** 2, teachers["a"][:, :2], rng.normal(size=(n, 9))]
    return teachers, students


@both_estimates
def test_a_matrix_holds_every_pair(debiased):
    teachers, students = layers_of_both()
    want = [
        [metrics.linear_cka(t, s, debiased) for s in students]
        for t in teachers.values()
    ]
    found = metrics.cka_matrix(teachers, students, debiased)
    assert_allclose(found, want, rtol=1e-12)
    metric = metrics.CKAMatrix(debiased, dtype="float64")
    for part in (slice(0, 3), slice(3, 50), slice(50, 80)):
        batch = {name: x[part] for name, x in teachers.items()}
        metric.update_state(batch, [s[part] for s in students])
    assert_allclose(metric.result(), want, rtol=1e-9)
    metric.reset_state()
    assert np.isnan(metric.result()).all()


def test_a_matrix_has_rows_for_the_teacher():
    teachers, students = layers_of_both()
    assert metrics.cka_matrix(teachers, students).shape == (2, 3)
    assert metrics.cka_matrix(students[0], teachers).shape == (1, 2)


@pytest.mark.distributed
def test_sums_are_added_up_over_replicas():
    """The first batch, of one example, leaves the second replica without any."""
    teacher, student = far_features(1e4, n=65)
    want = metrics.linear_cka(teacher, student)
    strategy = on_two_devices()
    with strategy.scope():
        metric = metrics.LinearCKA(dtype="float64")
        metric.build([64], [32])
    rows = tf.data.Dataset.from_tensor_slices((teacher, student))
    dataset = rows.take(1).batch(1).concatenate(rows.skip(1).batch(24))

    @tf.function(reduce_retracing=True)
    def step(batch):
        strategy.run(metric.update_state, args=batch)

    for batch in strategy.experimental_distribute_dataset(dataset):
        step(batch)
    assert_allclose(metric.result(), want, rtol=1e-8)
    for part in (slice(0, 20), slice(20, 65)):  # outside of the replicas
        if not part.start:
            metric.reset_state()
        with strategy.scope():
            metric.update_state(teacher[part], student[part])
    assert_allclose(metric.result(), want, rtol=1e-8)


def test_half_precision_features_are_summed_in_float64():
    teacher, student = (ops.cast(x, "bfloat16") for x in features(n=400))
    exact = [np.asarray(ops.cast(x, "float64")) for x in (teacher, student)]
    found = metrics.linear_cka(teacher, student)
    assert found.dtype == "float64"
    assert_allclose(found, oracle(*exact), rtol=1e-10)
    metric = metrics.LinearCKA()
    metric.update_state(teacher, student)
    assert keras.backend.standardize_dtype(metric.result().dtype) == "float32"
    assert {v.dtype for v in metric.variables} == {"float64"}
