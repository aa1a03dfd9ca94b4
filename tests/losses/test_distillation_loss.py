"""The base class: what a subclass of three lines gets from it."""

import keras
import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose

from keras_kd import losses


@keras.saving.register_keras_serializable(package=__name__)
class LogitGap(losses.DistillationLoss):
    def call(self, teacher_logits, student_logits):
        return ops.mean(ops.abs(teacher_logits - student_logits), axis=-1)


def logits(seed, shape=(12, 3)):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def gap(teacher, student):
    return np.abs(teacher - student).mean(axis=-1)


def test_a_subclass_is_a_keras_loss():
    teacher, student, weights = logits(0), logits(1), np.arange(12) % 2
    value = LogitGap()(teacher, student, weights)
    assert_allclose(value, np.sum(weights * gap(teacher, student)) / 12, rtol=1e-6)


def test_a_subclass_trains_a_model_alone():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    x, teacher = logits(0, (12, 4)), logits(1)
    model.compile(keras.optimizers.SGD(0.5), loss=LogitGap())
    before = gap(teacher, model.predict(x, verbose=0)).mean()
    history = model.fit(x, teacher, epochs=10, batch_size=12, verbose=0).history
    assert_allclose(history["loss"][0], before, rtol=1e-5)
    assert gap(teacher, model.predict(x, verbose=0)).mean() < 0.8 * before


@pytest.mark.parametrize(
    "structure",
    [lambda a, b: a, lambda a, b: [a, b], lambda a, b: {"main": a, "aux": b}],
    ids=["one", "list", "dict"],
)
def test_keras_distiller_gets_the_sum_over_the_outputs(structure):
    teacher = structure(logits(0), logits(1, (12, 5)))
    student = structure(logits(2), logits(3, (12, 5)))
    pairs = zip(keras.tree.flatten(teacher), keras.tree.flatten(student), strict=True)
    want = sum(gap(t, s).mean() for t, s in pairs)
    value = LogitGap().compute_loss(teacher, student)
    assert value.shape == ()
    assert_allclose(value, want, rtol=1e-6)


def test_sides_with_unlike_numbers_of_outputs_are_refused():
    with pytest.raises(ValueError, match="shorter than"):
        LogitGap().compute_loss([logits(0), logits(1)], logits(2))


def test_a_subclass_without_call_is_told_what_to_write():
    class Forgetful(losses.DistillationLoss):
        pass

    with pytest.raises(NotImplementedError, match="Forgetful must implement `call"):
        Forgetful()(logits(0), logits(1))


def test_by_default_outputs_are_compared_and_nothing_is_trained():
    loss = LogitGap()
    loss.build((None, 3), (None, 3))
    assert loss.teacher_layer_name is None
    assert loss.student_layer_name is None
    assert loss.trainable_layers == []


@pytest.mark.parametrize("dtype", [None, "float64", "bfloat16"])
def test_config_holds_the_dtype(dtype):
    loss = LogitGap(name="gap", reduction="sum", dtype=dtype)
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert (copy.name, copy.reduction, copy.dtype) == ("gap", "sum", loss.dtype)


def test_a_subclass_without_a_dtype_argument_survives_its_config():
    class Scaled(losses.DistillationLoss):
        def __init__(self, factor, name="scaled", reduction="sum_over_batch_size"):
            super().__init__(name=name, reduction=reduction)
            self.factor = factor

        def get_config(self):
            return {**super().get_config(), "factor": self.factor}

    assert Scaled.from_config(Scaled(3.0).get_config()).factor == 3.0
