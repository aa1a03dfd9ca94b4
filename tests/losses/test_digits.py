"""Every loss, found through `losses.__all__`, falls as a student learns the digits."""

import keras
import numpy as np
import pytest
from loss_networks import make, networks
from small_models import sparse_cross_entropy
from test_contracts import LOSSES

import keras_kd

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def history(digits):
    """What a training by all losses at once logged of each."""
    data = digits.x_train[:640], digits.y_train[:640]
    teacher, _ = networks(teacher_width=12)
    teacher.compile(keras.optimizers.Adam(1e-2), sparse_cross_entropy())
    teacher.fit(*data, batch_size=64, epochs=6, verbose=0)
    _, student = networks(student_width=5)
    widths = {"CRD": {"embedding_size": 16}}  # else both sides must be equally wide
    every = [make(c, name=c.__name__, **widths.get(c.__name__, {})) for c in LOSSES]
    distiller = keras_kd.Distiller(teacher, student, every, None, 0.95)
    distiller.compile(
        keras.optimizers.Adam(1e-2), sparse_cross_entropy(), metrics=["accuracy"]
    )
    return distiller.fit(*data, batch_size=64, epochs=4, verbose=0).history


@pytest.mark.parametrize("name", [cls.__name__ for cls in LOSSES])
def test_the_loss_falls(name, history):
    assert np.isfinite(history[name]).all()
    assert history[name][-1] < history[name][0]


def test_the_student_learns(history):
    assert history["accuracy"][-1] > 0.3  # chance is 0.1
