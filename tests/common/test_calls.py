"""What a model takes: its part of a batch, and the specification of its inputs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from numpy.testing import assert_array_equal
from small_models import digest

from keras_kd._common import calls as module


def functional(structure):
    """A model of the inputs in `structure`, a name or a list or dict of them."""
    tensors = keras.tree.map_structure(lambda n: keras.Input((4,), name=n), structure)
    flat = keras.tree.flatten(tensors)
    joined = layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    return keras.Model(tensors, layers.Dense(3)(joined), name="m")


def sequential():
    return keras.Sequential([keras.Input((4,), name="a"), layers.Dense(3)], name="m")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="m")
        self.head = layers.Dense(3)

    def call(self, inputs):
        return self.head(keras.tree.flatten(inputs)[0])


BATCH = {name: np.full((2, 4), i, "float32") for i, name in enumerate("abc")}


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: functional("b"), "b"),
        (lambda: functional(["c", "a"]), ["c", "a"]),
        (lambda: functional({"a": "a", "c": "c"}), {"a": "a", "c": "c"}),
        (sequential, "a"),
        (Subclassed, {"a": "a", "b": "b", "c": "c"}),  # it takes what comes
    ],
    ids=["one", "list", "dict", "Sequential", "subclassed"],
)
def test_a_dict_is_narrowed_to_what_the_model_takes(make, names):
    found = module.inputs_for(make(), BATCH)
    want = keras.tree.map_structure(BATCH.get, names)
    keras.tree.assert_same_structure(found, want)
    keras.tree.map_structure(assert_array_equal, found, want)


@pytest.mark.parametrize("x", [BATCH["a"], [BATCH["a"]], (BATCH["a"], BATCH["b"])])
def test_what_is_no_dict_stays_as_it_is(x):
    assert module.inputs_for(functional(["a", "b"]), x) is x


def test_absent_inputs_are_named():
    with pytest.raises(
        ValueError, match=r"takes the inputs \['a', 'z'\].*\['z'\] miss"
    ):
        module.inputs_for(functional(["a", "z"]), BATCH)


class WithPreprocessor(Subclassed):
    preprocessor = staticmethod(lambda x: x)


def test_strings_do_not_reach_a_model_past_its_preprocessor():
    strings, numbers = tf.constant(["a", "b"]), tf.ones((2, 4))
    for x in (strings, {"text": strings}):
        with pytest.raises(ValueError, match=r"ds\.map\(lambda x, y"):
            module.check_not_raw_text(WithPreprocessor(), x)
        module.check_not_raw_text(Subclassed(), x)  # takes strings itself
    module.check_not_raw_text(WithPreprocessor(), numbers)


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (lambda: functional("b"), (None, 4)),
        (lambda: functional(["a", "b"]), [(None, 4), (None, 4)]),
        (lambda: functional({"a": "a", "b": "b"}), {"a": (None, 4), "b": (None, 4)}),
        (sequential, (None, 4)),
    ],
    ids=["one", "list", "dict", "Sequential"],
)
def test_the_specification_has_the_structure_of_the_inputs(make, shapes):
    spec = module.input_spec(make())
    found = keras.tree.map_structure(lambda s: tuple(s.shape), spec)
    assert found == shapes
    assert {s.dtype for s in keras.tree.flatten(spec)} == {tf.float32}


def test_the_specification_keeps_the_dtype():
    tokens = keras.Input((None,), dtype="int32")
    spec = module.input_spec(keras.Model(tokens, layers.Embedding(9, 3)(tokens)))
    assert (spec.shape.as_list(), spec.dtype) == ([None, None], tf.int32)


def test_the_specification_of_a_subclassed_model_is_that_of_its_first_call():
    model = Subclassed()
    assert module.input_spec(model) is None
    model(np.ones((2, 4)))
    assert module.input_spec(model).shape.as_list()[1:] == [4]


def test_tracing_gives_shapes_and_leaves_variables_and_losses_alone():
    x = keras.Input((4,))
    y = layers.Dropout(0.5, seed=1)(layers.BatchNormalization()(x))
    y = layers.ActivityRegularization(l2=1.0)(y)
    model = keras.Model(x, layers.Dense(3)(y))
    model(BATCH["b"])
    before = digest(model), [float(loss) for loss in model.losses]
    spec = module.input_spec(model)
    output = module.trace(model, lambda x: model(x, training=True), spec)
    assert tuple(output.shape) == (None, 3)
    assert (digest(model), [float(loss) for loss in model.losses]) == before


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        ("float16", "float32"),
        ("bfloat16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("int32", "int32"),
    ],
)
def test_half_precision_outputs_are_widened_with_their_mask(dtype, wide):
    mask = np.array([[True, True], [False, True]])
    rows = np.where(mask[..., None], [1.0, 3.0], 0.0)
    masked = tf.cast(rows, dtype)
    masked._keras_mask = tf.constant(mask)
    found = module.as_float32({"a": masked, "b": [BATCH["a"]]})
    assert found["a"].dtype == wide
    assert_array_equal(found["a"], rows)
    assert_array_equal(found["a"]._keras_mask, mask)
    assert_array_equal(found["b"][0], BATCH["a"])


def test_gradients_stop_and_masks_ride_along():
    mask, x = tf.constant([True, False]), tf.ones((2, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        squared = x**2
        squared._keras_mask = mask
        frozen = module.without_gradient({"a": squared})["a"]
    assert frozen._keras_mask is mask
    assert_array_equal(frozen, squared)
    assert tape.gradient(frozen, x) is None
