"""Every loss in training, found through `losses.__all__`: on the digits, in half
precision, compiled by XLA, and inside `keras.distillation.Distiller`.
"""

import keras
import numpy as np
import pytest
from small_models import sparse_cross_entropy
from test_contracts import LAYERS, LOSSES, arguments_of

import keras_kd
from keras_kd import losses

# keras.distillation.Distiller trains no projectors; tests/losses says that it refuses.
NEEDS_OURS = {"HintLoss", "VID"}
DRAWS = {"SampledLabel"}  # lowers its loss on average only

each_loss = pytest.mark.parametrize("cls", LOSSES)


def networks(teacher_width=6, student_width=6, dtype=None):
    return convolutional("teacher", teacher_width, seed=1), convolutional(
        "student", student_width, seed=2, dtype=dtype
    )


def convolutional(name, width, seed, dtype=None):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(
                width, 3, strides=2, activation="relu", name="maps", dtype=dtype
            ),
            layers.Flatten(dtype=dtype),
            layers.Dense(2 * width, activation="relu", name="features", dtype=dtype),
            layers.Dense(10, name="logits", dtype=dtype),
        ],
        name=name,
    )


def make(cls, **arguments):
    """Losses of features compare maps."""
    maps = dict.fromkeys(LAYERS, "maps") if issubclass(cls, losses.FeatureLoss) else {}
    return cls(**(arguments_of(cls) | maps | arguments))


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
@each_loss
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
@pytest.mark.parametrize(
    "options",
    [{"dtype": "mixed_float16"}, {"dtype": "mixed_bfloat16"}, {"jit_compile": True}],
    ids=str,
)
@each_loss
def test_half_precision_and_xla_train_as_well(cls, options):
    # float16 may skip its first step, to find a scale of the loss.
    adam = keras.optimizers.Adam(1e-3)
    first, *_, last = losses_of_steps(cls, epochs=4, optimizer=adam, **options)
    wanted, _ = losses_of_steps(cls)
    assert np.isfinite([first, last]).all()
    if cls.__name__ not in DRAWS:
        assert last < first
        tolerance = 1e-4 if "jit_compile" in options else 0.1
        np.testing.assert_allclose(first, wanted, rtol=tolerance)
