"""Every loss in training, found through `losses.__all__`: in both distillers, in half
precision, and compiled by XLA. All of them are trained in one model, and each is read
by itself.
"""

import keras
import numpy as np
import pytest
from loss_networks import make, networks
from small_models import sparse_cross_entropy
from test_contracts import LOSSES

import keras_kd
from keras_kd import losses

# keras.distillation.Distiller trains no projectors: such losses refuse it.
NEEDS_OURS = [losses.HintLoss, losses.VID]
DRAWS = {"SampledLabel"}  # lowers its loss on average only
# Their gradients are small; without a factor the other losses would pull against them.
FACTORS = {"PKT": 1000.0, "SimilarityPreserving": 1000.0}
STEPS = 4


def noise():
    x = np.random.default_rng(0).normal(size=(24, 8, 8, 1)).astype("float32")
    return x, np.arange(24) % 10


def named(classes):
    """A loss of each class, and the factors of them."""
    every = [make(cls, name=cls.__name__) for cls in classes]
    return every, [FACTORS.get(loss.name, 1.0) for loss in every]


def fit(dtype=None, **options):
    """What small steps on one batch logged, of all losses at once."""
    model = keras_kd.Distiller(*networks(dtype=dtype), *named(LOSSES), 0.1)
    model.compile(loss=sparse_cross_entropy(), **options)
    return model.fit(*noise(), batch_size=24, epochs=STEPS, verbose=0).history


@pytest.fixture(scope="module")
def history():
    # Eager: test_digits.py has all losses in a graph, and the contracts in XLA.
    return fit(optimizer=keras.optimizers.SGD(1e-4), run_eagerly=True)


@pytest.mark.parametrize("name", [cls.__name__ for cls in LOSSES])
def test_small_steps_lower_the_loss(name, history):
    found = history[name]
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0).all() or name in DRAWS


def readers(*models):
    """Maps and logits of models, as losses compare them."""
    outputs = [[m.get_layer(n).output for n in ("maps", "logits")] for m in models]
    return [keras.Model(m.inputs[0], o) for m, o in zip(models, outputs, strict=True)]


@pytest.fixture(scope="module")
def values_in_keras_distiller():
    """Value of each loss before and after a small step in keras.distillation's."""
    of_maps = {cls.__name__: issubclass(cls, losses.FeatureLoss) for cls in LOSSES}
    every, factors = named([cls for cls in LOSSES if cls not in NEEDS_OURS])
    models, (x, y) = networks(), noise()
    sides = readers(*models)

    def values():
        maps, logits = zip(*(side(x) for side in sides), strict=True)
        parts = {True: maps, False: logits}
        return {each.name: float(each(*parts[of_maps[each.name]])) for each in every}

    model = keras.distillation.Distiller(*models, every, factors, 0.1)
    model.compile(
        keras.optimizers.SGD(1e-4), loss=sparse_cross_entropy(), run_eagerly=True
    )
    before = values()
    model.fit(x, y, batch_size=24, verbose=0)
    return before, values()


@pytest.mark.parametrize("cls", [cls for cls in LOSSES if cls not in NEEDS_OURS])
def test_a_small_step_in_keras_own_distiller_lowers_it(cls, values_in_keras_distiller):
    before, after = (values[cls.__name__] for values in values_in_keras_distiller)
    assert np.isfinite([before, after]).all()
    assert after < before or cls.__name__ in DRAWS


@pytest.mark.parametrize("cls", NEEDS_OURS)
def test_a_loss_that_trains_weights_refuses_keras_own_distiller(cls):
    with pytest.raises(ValueError, match=r"keras_kd\.Distiller"):
        keras.distillation.Distiller(*networks(), make(cls))


@pytest.fixture(scope="module")
def compiled_history():
    """Of a float16 student, in a step compiled by XLA."""
    adam = keras.optimizers.Adam(1e-3)
    return fit("mixed_float16", optimizer=adam, jit_compile=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", [cls.__name__ for cls in LOSSES])
def test_xla_and_float16_keep_the_value(name, compiled_history, history):
    found, wanted = compiled_history[name], history[name]
    assert np.isfinite(found).all()
    if name not in DRAWS:
        np.testing.assert_allclose(found[0], wanted[0], 0.1, 1e-3)


@pytest.mark.slow
def test_a_float16_student_trains_in_a_step_compiled_by_xla(compiled_history):
    # float16 may skip its first step, to find a scale of the loss.
    assert compiled_history["loss"][-1] < compiled_history["loss"][0]
