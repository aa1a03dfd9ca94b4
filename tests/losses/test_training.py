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
from keras_kd import losses

# keras.distillation.Distiller trains no projectors; tests/losses says that it refuses.
NEEDS_OURS = {"HintLoss", "VID"}
DRAWS = {"SampledLabel"}  # lowers its loss on average only

each_loss = pytest.mark.parametrize("cls", LOSSES)


def noise():
    x = np.random.default_rng(0).normal(size=(24, 8, 8, 1)).astype("float32")
    return x, np.arange(24) % 10


def losses_of_steps(cls, distiller=keras_kd.Distiller):
    """The distillation loss before and after a small step on one batch."""
    model = distiller(*networks(), make(cls), student_loss_weight=0.0)
    model.compile(keras.optimizers.SGD(1e-3), loss=sparse_cross_entropy())
    history = model.fit(*noise(), batch_size=24, epochs=2, verbose=0).history
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


OF_FEATURES = [cls for cls in LOSSES if issubclass(cls, losses.FeatureLoss)]
OF_LOGITS = [cls for cls in LOSSES if cls not in OF_FEATURES]


@pytest.mark.slow
@pytest.mark.parametrize("together", [OF_LOGITS, OF_FEATURES], ids=["logits", "maps"])
def test_a_float16_student_trains_in_a_step_compiled_by_xla(together):
    """All losses of a kind in one step, whose compilation takes long."""

    def fit(dtype=None, **options):
        every = [make(cls, name=cls.__name__) for cls in together]
        model = keras_kd.Distiller(*networks(dtype=dtype), every, None, 0.1)
        model.compile(keras.optimizers.Adam(1e-3), sparse_cross_entropy(), **options)
        return model.fit(*noise(), batch_size=24, epochs=4, verbose=0).history

    found, wanted = fit("mixed_float16", jit_compile=True), fit()
    for cls in together:
        name = cls.__name__
        assert np.isfinite(found[name]).all(), name
        if name not in DRAWS:
            np.testing.assert_allclose(found[name][0], wanted[name][0], 0.1, 1e-3, name)
    # float16 may skip its first step, to find a scale of the loss.
    assert found["loss"][-1] < found["loss"][0]
