"""Nagarajan et al.: components along eigenvectors, one-hot against distillation."""

import matplotlib
import numpy as np
import pytest
from numpy.testing import assert_allclose

from keras_kd.probes import EigenspaceTrajectory, eigenspace_trajectory

EIGENVALUES = np.array([1.0, 0.2])


def rotated_regression():
    """Two examples with X'X of these eigenvalues, and y whose full solution is 1, 1."""
    angle = 0.7
    axes = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.diag(np.sqrt(EIGENVALUES)) @ axes.T, np.sqrt(EIGENVALUES), axes


def gradient_descent(x, y, time, step=1e-3):
    """Weights along gradient flow on |Xb - y|^2 / 2 from 0, in small Euler steps."""
    weights, kept = np.zeros(2), []
    for _ in range(round(time / step)):
        kept.append(weights)
        weights = weights - step * x.T @ (x @ weights - y)
    return [*kept, weights]


@pytest.mark.parametrize(
    ("share", "stop", "student_low", "teacher_low"),
    [
        (0.9, 1, 0.0669, 0.1549),
        (0.9, 2, 0.1217, 0.2601),
        (0.9, 5, 0.2333, 0.3616),
        (0.5, 1, 0.0235, 0.0732),
        (0.5, 2, 0.0427, 0.1071),
        (0.5, 5, 0.0818, 0.1283),
    ],
)
def test_a_distilled_student_lags_along_the_low_direction(
    share, stop, student_low, teacher_low
):
    """Values of papers.md 2.1 at a matched component along the top direction."""
    x, y, axes = rotated_regression()
    teacher = gradient_descent(x, y, stop)
    student = gradient_descent(x, x @ teacher[-1], 4)
    one_hot, distilled = (
        eigenspace_trajectory(snapshots, x, center=False)
        for snapshots in (teacher, student)
    )
    assert_allclose(distilled.eigenvalues, EIGENVALUES / 2)
    assert_allclose(np.abs(distilled.eigenvectors.T @ axes), np.eye(2), atol=1e-12)
    top = share * one_hot.components[-1, 0]
    assert_allclose(distilled.at_matched(0, top)[1], student_low, atol=1.5e-4)
    assert_allclose(one_hot.at_matched(0, top)[1], teacher_low, atol=1.5e-4)


def test_components_are_lengths_on_the_eigenvectors_of_the_covariance():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(40, 3, 2)) + 5
    kernels = [generator.normal(size=(6, 4)) for _ in range(3)]
    found = eigenspace_trajectory(kernels, x, directions=2)
    covariance = np.cov(x.reshape(40, 6).T, bias=True)
    values, vectors = np.linalg.eigh(covariance)
    assert_allclose(found.eigenvalues, values[::-1][:2])
    for row, kernel in zip(found.components, kernels, strict=True):
        want = [np.linalg.norm(kernel.T @ vectors[:, -k]) for k in (1, 2)]
        assert_allclose(row, want)


def test_all_components_together_are_the_norm_of_the_kernel():
    generator = np.random.default_rng(0)
    x, kernel = generator.normal(size=(9, 6)), generator.normal(size=(6, 4))
    snapshots = [[np.zeros(3), kernel]]
    found = eigenspace_trajectory(snapshots, x, index=1)
    assert_allclose(np.linalg.norm(found.components), np.linalg.norm(kernel))


def test_of_a_convolution_the_inputs_are_patches():
    generator = np.random.default_rng(0)
    images = generator.normal(size=(4, 5, 6, 2))
    kernel = generator.normal(size=(3, 2, 2, 7))
    patches = [
        image[i : i + 3, j : j + 2].ravel()
        for image in images
        for i in range(3)
        for j in range(5)
    ]
    found = eigenspace_trajectory([kernel], images)
    want = eigenspace_trajectory([kernel.reshape(12, 7)], patches)
    assert_allclose(found.eigenvalues, want.eigenvalues, atol=1e-12)
    assert_allclose(found.components, want.components)


def test_what_is_never_reached_is_nan():
    found = EigenspaceTrajectory(np.array([[0.1, 0.0], [0.5, 0.2]]), *np.eye(2)[:2])
    assert np.isnan(found.at_matched(0, 0.6)).all()
    assert_allclose(found.at_matched(0, 0.3), [0.3, 0.1])
    assert_allclose(found.at_matched(0, 0.05), [0.1, 0.0])


def test_kernels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="`index` says"):
        eigenspace_trajectory([np.zeros((5, 2))], np.zeros((3, 4)))
    with pytest.raises(ValueError, match="`snapshots` is empty"):
        eigenspace_trajectory([], np.zeros((3, 4)))


def test_trajectories_share_axes():
    found = EigenspaceTrajectory(np.eye(2), np.array([2.0, 1.0]), np.eye(2))
    axes = found.plot(label="one-hot")
    assert found.plot(axes, label="distilled") is axes
    assert len(axes.lines) == 2
    assert axes.get_ylabel() == "along eigenvector 2 (eigenvalue 1)"
    matplotlib.pyplot.close("all")
