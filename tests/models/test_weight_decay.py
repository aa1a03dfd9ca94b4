"""The papers' weight decay, against PyTorch's SGD written in NumPy."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose

import keras_kd
from keras_kd.models import coupled_weight_decay


def model():
    net = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(2),
        ]
    )
    rng = np.random.default_rng(0)
    net.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in net.get_weights()])
    return net


def test_with_no_other_gradient_all_trainable_weights_follow_sgd_with_momentum():
    net = coupled_weight_decay(model(), 0.1)
    weights = [np.asarray(v, "float64") for v in net.trainable_variables]
    momenta = [np.zeros_like(w) for w in weights]
    net.compile(
        keras.optimizers.SGD(0.05, momentum=0.9), lambda y, logits: 0.0 * logits[:, 0]
    )
    x, y = np.zeros((8, 4), "float32"), np.zeros(8)
    net.fit(x, y, batch_size=2, verbose=0)
    for _ in range(4):
        momenta = [0.9 * m + 0.1 * w for m, w in zip(momenta, weights, strict=True)]
        weights = [w - 0.05 * m for m, w in zip(momenta, weights, strict=True)]
    for expected, found in zip(weights, net.trainable_variables, strict=True):
        assert_allclose(found, expected, rtol=1e-5)


def test_it_is_what_a_distilled_student_loses():
    student = coupled_weight_decay(model(), 0.1)
    expected = 0.05 * sum(
        np.sum(np.asarray(v, "float64") ** 2) for v in student.trainable_variables
    )
    distiller = keras_kd.Distiller(
        model(),
        student,
        keras_kd.losses.KnowledgeDistillation(),
        distillation_loss_weights=[0.0],
        student_loss_weight=0.0,
    )
    distiller.compile(keras.optimizers.SGD(0.0))
    logs = distiller.train_on_batch(np.ones((4, 4), "float32"), return_dict=True)
    assert_allclose(logs["loss"], expected, rtol=1e-5)


def test_zero_takes_it_away():
    net = coupled_weight_decay(coupled_weight_decay(model(), 0.1), 0)
    assert net.losses == []


@pytest.mark.parametrize("bad", [None, keras.Sequential([keras.layers.Dense(2)])])
def test_without_weights_there_is_nothing_to_decay(bad):
    with pytest.raises(ValueError, match=r"built keras\.Model"):
        coupled_weight_decay(bad, 1e-4)


def test_a_negative_rate_is_refused():
    with pytest.raises(ValueError, match="rate"):
        coupled_weight_decay(model(), -1.0)
