"""Hessians against closed forms and against finite differences of NumPy losses."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import log_softmax, softmax
from small_models import digest, mlp, scattered, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.losses import KnowledgeDistillation
from keras_kd.probes import LossHessian, hessian_trace, top_eigenvalues


def materialised(hessian):
    return np.stack([hessian.matvec(row) for row in np.eye(hessian.size)])


def linear_problem():
    generator = np.random.default_rng(0)
    layers = [keras.Input((5,)), keras.layers.Dense(2, use_bias=False)]
    x = generator.normal(size=(23, 5)).astype("float32")
    y = generator.normal(size=(23, 2)).astype("float32")
    # Mean over outputs and examples of (xW - y)^2, W flattened row by row.
    want = np.kron(x.T.astype("float64") @ x, np.eye(2)) * 2 / (23 * 2)
    return keras.Sequential(layers), x, y, want


def test_eigenvalues_and_trace_of_a_linear_model_are_numpys():
    model, x, y, want = linear_problem()
    hessian = LossHessian(model, x, y, loss="mse", batch_size=10)
    assert_allclose(materialised(hessian), want, atol=1e-6)
    found = top_eigenvalues(hessian, 4, verbose=0)
    assert_allclose(found.values, np.linalg.eigvalsh(want)[::-1][:4], rtol=1e-4)
    trace = hessian_trace(hessian, hessian.size, verbose=0)
    assert_allclose(trace.value, np.trace(want), rtol=1e-4)
    estimate = hessian_trace(hessian, 9, verbose=0)
    assert abs(estimate.value - np.trace(want)) < 3 * estimate.standard_error


@pytest.mark.parametrize("batch_size", [23, 22, 7])
def test_a_short_last_batch_counts_by_its_examples(batch_size):
    model, x, y, want = linear_problem()
    hessian = LossHessian(model, x, y, loss="mse", batch_size=batch_size)
    vector = np.arange(10.0)
    assert_allclose(hessian.matvec(vector), want @ vector, rtol=1e-5)


def numpy_loss(vector, x, y):
    """Cross-entropy of `mlp(units=3)`, in float64."""
    w1, b1, w2, b2 = np.split(vector, np.cumsum([12, 3, 9]))
    hidden = np.tanh(x @ w1.reshape(4, 3) + b1)
    log_probs = log_softmax(hidden @ w2.reshape(3, 3) + b2, axis=-1)
    return -log_probs[np.arange(len(y)), y].mean()


def numpy_hessian(vector, x, y, step=1e-4):
    size = len(vector)
    basis = step * np.eye(size)
    corners = {
        (a, b): np.array(
            [[numpy_loss(vector + a * i + b * j, x, y) for j in basis] for i in basis]
        )
        for a in (-1, 1)
        for b in (-1, 1)
    }
    total = corners[1, 1] + corners[-1, -1] - corners[1, -1] - corners[-1, 1]
    return total / (4 * step**2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_of_a_softmax_network_it_is_that_of_finite_differences(dtype):
    model = scattered(mlp("m", units=3, dtype=dtype))
    x, y = toy_data(11)
    vector = np.concatenate([np.ravel(w) for w in model.get_weights()])
    want = numpy_hessian(vector.astype("float64"), x.astype("float64"), y)
    hessian = LossHessian(model, x.astype(dtype), y, batch_size=4)
    assert hessian.size == len(vector) == 27
    assert_allclose(materialised(hessian), want, atol=1e-6)
    found = top_eigenvalues(hessian, 3, which="magnitude", verbose=0)
    values = np.linalg.eigvalsh(want)
    values = values[np.argsort(-np.abs(values))][:3]
    assert_allclose(found.values, values, rtol=1e-4)
    trace = hessian_trace(hessian, hessian.size, verbose=0)
    assert_allclose(trace.value, np.trace(want), rtol=1e-4)


def test_the_gradient_is_that_of_finite_differences():
    model = scattered(mlp("m", units=3))
    x, y = toy_data(11)
    vector = np.concatenate([np.ravel(w) for w in model.get_weights()])
    vector = vector.astype("float64")
    want = [
        (numpy_loss(vector + step, x, y) - numpy_loss(vector - step, x, y)) / 2e-5
        for step in 1e-5 * np.eye(len(vector))
    ]
    hessian = LossHessian(model, x, y, loss=sparse_cross_entropy(), batch_size=4)
    assert_allclose(hessian.gradient(), want, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_of_distillation_in_a_linear_model_it_has_its_closed_form(temperature):
    """x x' (x) (diag p - p p'), p at the temperature; T^2 of the loss cancels 1/T^2."""
    layers = [keras.Input((4,)), keras.layers.Dense(3, use_bias=False)]
    student = keras.Sequential(layers)
    x, _ = toy_data(9)
    hessian = LossHessian(
        student, x, loss=KnowledgeDistillation(temperature), teacher=mlp("t"),
        batch_size=4,
    )  # fmt: skip
    probs = softmax(np.asarray(student(x), "float64") / temperature, axis=-1)
    want = sum(
        np.kron(np.outer(row, row), np.diag(p) - np.outer(p, p))
        for row, p in zip(x.astype("float64"), probs, strict=True)
    )
    assert_allclose(materialised(hessian), want / len(x), atol=1e-6)


def test_examples_without_a_label_do_not_count():
    model = scattered(mlp("m"))
    x, y = toy_data(12)
    some = np.where(np.arange(12) < 7, y, keras_kd.UNLABELED)
    vector = np.random.default_rng(1).normal(size=LossHessian(model, x, y).size)
    found = LossHessian(model, x, some).matvec(vector)
    assert_allclose(found, LossHessian(model, x[:7], y[:7]).matvec(vector), rtol=1e-4)


def test_batch_normalization_runs_with_its_statistics_and_stays():
    model = scattered(mlp("m", norm="batch"))
    x, y = toy_data(12)
    before = digest(model)
    hessian = LossHessian(model, x, y)
    vector = np.random.default_rng(0).normal(size=hessian.size)
    whole = hessian.matvec(vector)
    split = LossHessian(model, x, y, batch_size=5).matvec(vector)
    assert_allclose(split, whole, rtol=1e-3, atol=1e-5)
    assert digest(model) == before
    assert hessian.size == sum(int(np.prod(v.shape)) for v in model.trainable_weights)


def test_rows_of_an_embedding_are_parameters_too():
    layers = [
        keras.Input((2,), dtype="int32"),
        keras.layers.Embedding(4, 3),
        keras.layers.Flatten(),
        keras.layers.Dense(3),
    ]
    model = scattered(keras.Sequential(layers))
    x, y = np.array([[0, 1], [2, 2], [1, 0]]), np.array([0, 1, 2])
    matrix = materialised(LossHessian(model, x, y))
    assert_allclose(matrix, matrix.T, atol=1e-5)
    assert not matrix[9:12].any()  # no example holds the last token
