"""Networks between two networks."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small_models import digest, mlp, scattered, sparse_cross_entropy, toy_data

from keras_kd.metrics import agreement
from keras_kd.models import PreActResNet
from keras_kd.probes import interpolate, interpolation_path, temporary_weights


def two(norm=None):
    return [scattered(mlp(n, norm=norm), seed=i) for i, n in enumerate("ts")]


def test_of_one_group_networks_lam_one_agrees_with_the_teacher():
    teacher, other = (
        PreActResNet(8, num_classes=5, normalization="layer", input_shape=(8, 8, 3))
        for _ in range(2)
    )
    x = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype("float32")
    student = interpolate(teacher, other, 1.0)
    assert agreement(teacher(x), student(x)) == 1.0
    assert_array_equal(teacher(x), student(x))
    assert digest(interpolate(teacher, other, 0)) == digest(other)


@pytest.mark.parametrize("lam", [0.0, 0.375, 1.0])
def test_the_whole_state_is_interpolated(lam):
    teacher, other = two(norm="batch")
    before = [digest(teacher), digest(other)]
    student = interpolate(teacher, other, lam)
    rows = zip(
        *(m.get_weights() for m in (student, teacher, other)),
        other.weights,
        strict=True,
    )
    for found, t, o, variable in rows:
        assert_allclose(
            found, lam * t + (1 - lam) * o, rtol=1e-6, err_msg=variable.path
        )
    assert [digest(teacher), digest(other)] == before


def test_the_teacher_may_be_the_weights_it_started_from():
    start, other = two()
    weights = [w.copy() for w in start.get_weights()]
    assert digest(interpolate(weights, other, 1)) == digest(start)


@pytest.mark.parametrize("batch_size", [50, 16])
def test_statistics_are_estimated_anew_where_inputs_are_given(batch_size):
    teacher, other = two(norm="batch")
    x, _ = toy_data(50)
    student = interpolate(teacher, other, 0.5, x=x, batch_size=batch_size)
    plain = interpolate(teacher, other, 0.5)
    hidden = plain.get_layer("hidden")
    values = x.astype("float64") @ hidden.kernel.numpy() + hidden.bias.numpy()
    norm = student.get_layer("normed")
    assert_allclose(norm.moving_mean, values.mean(axis=0), rtol=1e-4, atol=1e-6)
    assert_allclose(norm.moving_variance, values.var(axis=0), rtol=1e-4)
    assert_array_equal(norm.gamma, plain.get_layer("normed").gamma)


def test_the_copy_is_a_network_of_its_own_that_trains():
    teacher, other = two()
    student = interpolate(teacher, other, 0.5)
    x, y = toy_data(8)
    before = digest(other)
    student.compile("sgd", sparse_cross_entropy())
    student.fit(x, y, verbose=0)
    assert digest(other) == before


def test_a_path_is_the_networks_between():
    teacher, other = two()
    x, y = toy_data(40)
    path = interpolation_path(
        teacher, other, x, y, loss=sparse_cross_entropy(), points=5, batch_size=16,
        verbose=0
    )  # fmt: skip
    assert_allclose(path.lam, [0, 0.25, 0.5, 0.75, 1])
    loss = sparse_cross_entropy()
    for i, lam in enumerate(path.lam):
        with temporary_weights(other, interpolate(teacher, other, float(lam))):
            logits = other(x)
        assert_allclose(path.loss[i], float(loss(y, logits)), rtol=1e-5)
        assert_allclose(path.agreement[i], float(agreement(teacher(x), logits)))
        assert_allclose(path.accuracy[i], np.mean(np.argmax(logits, -1) == y))
    assert path.agreement[-1] == 1.0
    line = path.loss[0] + path.lam * (path.loss[-1] - path.loss[0])
    assert_allclose(path.barrier, np.max(path.loss - line))


def linear(kernel):
    layers = [keras.Input((1,)), keras.layers.Dense(2, use_bias=False)]
    model = keras.Sequential(layers)
    model.set_weights([np.array([kernel], "float32")])
    return model


def test_a_barrier_has_its_known_height():
    """f(w) = (w^2 - 1)^2 of one weight has its hill of height 1 between -1 and 1."""

    def double_well(labels, outputs):
        return (outputs[:, 0] ** 2 - 1) ** 2

    x = np.ones((3, 1), "float32")
    path = interpolation_path(
        linear([-1, 0]), linear([1, 0]), x, np.zeros(3, "int32"), loss=double_well,
        points=21, verbose=0
    )  # fmt: skip
    assert_allclose([path.barrier, path.barrier_above_ends], 1.0, rtol=1e-6)


def test_a_convex_loss_has_no_barrier():
    teacher, other = linear([0.3, 2]), linear([-1, 1])
    x, y = toy_data(30, features=1, classes=2)
    path = interpolation_path(
        teacher, other, x, y, loss=sparse_cross_entropy(), verbose=0
    )
    assert path.barrier == 0
    assert path.barrier_above_ends == 0
