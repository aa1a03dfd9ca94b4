"""Lines and planes through networks, against Gram-Schmidt in NumPy."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small_models import mlp, scattered

from keras_kd.probes import line_through, plane_through, random_line, random_plane


def three(norm="batch"):
    return [scattered(mlp(n, norm=norm), seed=i) for i, n in enumerate("tsi")]


def parameters(weights, model):
    """One vector of the kernels, biases, scales and offsets."""
    kept = [w for w, v in zip(weights, model.weights, strict=True) if v.trainable]
    return np.concatenate([np.ravel(w) for w in kept]).astype("float64")


@pytest.mark.parametrize("index", [0, 1, 2])
def test_at_an_anchor_the_weights_are_those_of_the_network_to_the_bit(index):
    models = three()
    plane = plane_through(*models)
    place = list(plane.anchors.values())[index][0]
    nearly = np.asarray(place) + 1e-13
    for point in (place, nearly):
        found = plane.weights_at(point)
        for a, b in zip(found, models[index].get_weights(), strict=True):
            assert_array_equal(a, b)


def test_the_frame_is_orthonormal_in_the_parameters():
    models = three()
    plane = plane_through(*models)
    origin, right, up = (
        parameters(plane.weights_at(p), models[0]) for p in [(0, 0), (1, 0), (0, 1)]
    )
    axes = np.stack([right - origin, up - origin])
    assert_allclose(axes @ axes.T, np.eye(2), atol=1e-5)


def test_anchors_are_at_the_coordinates_of_gram_schmidt():
    models = three()
    t, s, i = (parameters(m.get_weights(), m) for m in models)
    e1 = (s - t) / np.linalg.norm(s - t)
    u = i - t - ((i - t) @ e1) * e1
    anchors = plane_through(*models).anchors
    assert_allclose(anchors["teacher"][0], [0, 0])
    assert_allclose(anchors["student"][0], [np.linalg.norm(s - t), 0], rtol=1e-10)
    assert_allclose(
        anchors["initial"][0], [(i - t) @ e1, np.linalg.norm(u)], rtol=1e-10
    )


def test_statistics_go_along_in_proportion():
    teacher, student, _ = three()
    line = line_through(teacher, student)
    half = line.weights_at([line.anchors["student"][0][0] / 2])
    want = [
        (a + b) / 2
        for a, b in zip(teacher.get_weights(), student.get_weights(), strict=True)
    ]
    for a, b in zip(half, want, strict=True):
        assert_allclose(a, b, rtol=1e-5)


def test_a_frozen_network_has_the_same_plane():
    models = three()
    want = plane_through(*models).anchors["initial"][0]
    models[0].trainable = False
    assert plane_through(*models).anchors["initial"][0] == want


def test_limits_are_the_box_of_the_anchors_and_a_quarter():
    plane = plane_through(*three())
    places = np.array([place for place, _ in plane.anchors.values()])
    low, high = places.min(axis=0), places.max(axis=0)
    size = high - low
    assert_allclose(np.transpose(plane.limits), [low - size / 4, high + size / 4])


def test_a_random_direction_is_a_step_as_long_as_each_filter():
    model = mlp("s")
    line, plane = random_line(model, seed=3), random_plane(model, seed=3)
    assert_array_equal(line.weights_at([0.0])[0], model.get_weights()[0])
    step = line.weights_at([1.0])[0] - model.get_weights()[0]
    norms = [np.linalg.norm(w, axis=0) for w in (step, model.get_weights()[0])]
    assert_allclose(*norms, rtol=1e-4)
    assert_array_equal(line.states[1][0], plane.states[1][0])
    assert not np.allclose(plane.states[1][0], plane.states[2][0])
    assert plane.limits == ((-1.0, 1.0),) * 2


def test_networks_that_do_not_span_a_plane_are_refused():
    teacher, student, _ = three()
    with pytest.raises(ValueError, match="equal parameters"):
        line_through(teacher, teacher.get_weights())
    between = line_through(teacher, student).weights_at([0.5])
    with pytest.raises(ValueError, match="on the line"):
        plane_through(teacher, student, between)
