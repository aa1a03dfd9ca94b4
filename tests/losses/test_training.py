"""Every loss in training, found through `losses.__all__`: in both distillers, in half
precision, and compiled by XLA.
"""

import keras
import numpy as np
import pytest
from loss_networks import make, networks
from small_models import sparse_cross_entropy
from test_contracts import LOSSES

import keras_kd

# keras.distillation.Distiller trains no projectors; tests/losses says that it refuses.
NEEDS_OURS = {"HintLoss", "VID"}
DRAWS = {"SampledLabel"}  # lowers its loss on average only

each_loss = pytest.mark.parametrize("cls", LOSSES)


def losses_of_steps(
    cls, distiller=keras_kd.Distiller, dtype=None, epochs=2, optimizer=None, **options
):
    """The distillation loss before each of so many small steps on one batch."""
    model = distiller(*networks(dtype=dtype), make(cls), student_loss_weight=0.0)
    optimizer = optimizer or keras.optimizers.SGD(1e-3)
    model.compile(optimizer, loss=sparse_cross_entropy(), **options)
    x = np.random.default_rng(0).normal(size=(24, 8, 8, 1)).astype("float32")
    y = np.arange(24) % 10
    history = model.fit(x, y, batch_size=24, epochs=epochs, verbose=0).history
    return history["distillation_loss"]


@pytest.mark.filterwarnings(  # a loss of an inner layer leaves those above alone
    "ignore:Gradients do not exist for variables"
)
@pytest.mark.parametrize(
    "distiller", [keras_kd.Distiller, keras.distillation.Distiller]
)
@each_loss
def test_a_small_step_lowers_the_loss(cls, distiller):
    if distiller is not keras_kd.Distiller and cls.__name__ in NEEDS_OURS:
        with pytest.raises(ValueError, match=r"keras_kd\.Distiller"):
            losses_of_steps(cls, distiller)
        return
    first, second = losses_of_steps(cls, distiller)
    assert np.isfinite([first, second]).all()
    assert second < first or cls.__name__ in DRAWS


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")
@each_loss
def test_a_float16_student_trains_in_a_step_compiled_by_xla(cls):
    # float16 may skip its first step, to find a scale of the loss.
    options = {"optimizer": keras.optimizers.Adam(1e-3), "epochs": 4}
    first, *_, last = losses_of_steps(
        cls, dtype="mixed_float16", jit_compile=True, **options
    )
    assert np.isfinite([first, last]).all()
    if cls.__name__ not in DRAWS:
        assert last < first
        wanted, _ = losses_of_steps(cls)
        np.testing.assert_allclose(first, wanted, rtol=0.1)
