"""Every loss, found through `losses.__all__`, teaches a student the digits."""

import keras
import pytest
from loss_networks import make, networks
from small_models import sparse_cross_entropy
from test_contracts import LOSSES

import keras_kd


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.images[..., None] / 16).astype("float32"), data.target


@pytest.fixture(scope="module")
def teacher(digits):
    x, y = digits
    model, _ = networks(teacher_width=12)
    model.compile(keras.optimizers.Adam(1e-2), sparse_cross_entropy())
    model.fit(x, y, batch_size=64, epochs=4, verbose=0)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("cls", LOSSES)
def test_a_student_of_the_digits_learns(cls, teacher, digits):
    _, student = networks(student_width=5)
    own_width = {"embedding_size": 16} if cls.__name__ == "CRD" else {}
    distiller = keras_kd.Distiller(teacher, student, make(cls, **own_width))
    distiller.compile(
        keras.optimizers.Adam(5e-3), sparse_cross_entropy(), metrics=["accuracy"]
    )
    data = {"batch_size": 64, "verbose": 0}
    start = distiller.evaluate(*digits, return_dict=True, **data)
    distiller.fit(*digits, epochs=3, **data)
    end = distiller.evaluate(*digits, return_dict=True, **data)
    assert end["distillation_loss"] < start["distillation_loss"]
    assert end["accuracy"] > 0.3  # chance is 0.1
