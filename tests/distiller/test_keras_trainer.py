"""Each override of a private method of Keras, and whether Keras still needs it.

A test named `..._keras_still_...` shows plain Keras failing. When it stops failing, the
test fails: then the override may go, and the test with it.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import mlp, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.losses import FeatureMatching, KnowledgeDistillation
from keras_kd.schedules import LinearRamp

X, Y = toy_data(8)


def plain():
    model = mlp("plain")
    model.compile("sgd", sparse_cross_entropy())
    return model


def distiller(losses=None, **arguments):
    model = keras_kd.Distiller(
        mlp("teacher"), mlp("student"), losses or KnowledgeDistillation(), **arguments
    )
    model.compile("sgd", sparse_cross_entropy())
    return model


def test_fit_keras_still_has_no_class_weight_for_a_missing_label():
    y = np.where(np.arange(8) == 3, keras_kd.UNLABELED, Y)
    data = tf.data.Dataset.from_tensor_slices((X, y)).batch(8)
    with pytest.raises((tf.errors.OpError, ValueError, IndexError)):
        plain().fit(data, class_weight={0: 1.0, 1: 2.0, 2: 3.0}, verbose=0)


def test_fit_keras_still_has_no_class_weight_beside_stored_answers():
    model = plain()
    with pytest.raises((ValueError, TypeError, AttributeError, KeyError)):
        model.fit(
            X,
            {"labels": Y, "teacher_logits": np.zeros((8, 3))},
            class_weight={0: 1.0, 1: 2.0, 2: 3.0},
            verbose=0,
        )


def test_keras_still_drops_weights_without_labels():
    seen = []

    class Model(keras.Sequential):
        def test_step(self, data):
            seen.append(data)
            return {"loss": keras.ops.zeros(())}

    model = Model([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", run_eagerly=True)
    model.evaluate(X, sample_weight=np.ones(8), verbose=0)
    assert len(keras.tree.flatten(seen)) == 1


@pytest.mark.parametrize(
    "method", ["fit", "evaluate", "train_on_batch", "test_on_batch"]
)
def test_weights_reach_a_distillation_without_labels(method):
    model = keras_kd.Distiller(
        mlp("teacher"),
        mlp("student", seed=1),
        KnowledgeDistillation(),
        student_loss_weight=0,
    )
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    call, weight = getattr(model, method), np.arange(8.0)
    y = None  # which Keras hands on with a batch
    if method in ("fit", "evaluate"):
        with pytest.raises(ValueError, match="without `y`"):
            call(X, sample_weight=weight)
        y = np.zeros(8)
    found = call(X, y, sample_weight=weight)
    loss = found.history["loss"][0] if method == "fit" else found[0]
    values = KnowledgeDistillation(reduction=None)(model.teacher(X), model.student(X))
    assert float(loss) == pytest.approx(np.mean(weight * np.asarray(values)), rel=1e-5)


def test_first_batch_keras_still_takes_the_mean_of_unequal_parts():
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = plain()
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        model.fit(X[:3], Y[:3], batch_size=3, verbose=0)


def test_lock_keras_still_locks_what_the_first_batch_brings():
    model = distiller()
    keras.Model._lock_state(model)
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        model.late = keras.layers.Dense(1)


def test_files_keras_still_forgets_what_a_compile_of_ones_own_got(tmp_path):
    class Own(keras.Model):
        def compile(self, optimizer, flavour):
            super().compile(optimizer, "mse")
            self.flavour = flavour

    model = Own()
    model.compile("sgd", flavour="sweet")
    assert "flavour" not in keras.Model.get_compile_config(model)
    kept = keras.Model.get_compile_config(distiller())
    assert "fidelity_metrics" not in kept


def functions_after(model, change):
    """The compiled step before and after a change, across two calls of `fit`."""
    model.fit(X, Y, verbose=0)
    before = model.train_function
    change()
    model.make_train_function()
    return before, model.train_function


def test_a_schedule_rebuilds_the_step_of_its_own_distiller_alone():
    one, other = distiller(), distiller()

    def change():
        one.student_loss_weight = LinearRamp(0.0, 1.0, 10)

    before, after = functions_after(one, change)
    assert before is not after
    before, after = functions_after(other, lambda: setattr(one, "late", None))
    assert before is after


def test_a_schedule_of_a_loss_rebuilds_the_step_and_a_number_does_not():
    loss = KnowledgeDistillation()
    model = distiller(loss)
    before, after = functions_after(model, lambda: setattr(loss, "temperature", 2.0))
    assert before is after
    ramp = LinearRamp(1.0, 4.0, 10)
    before, after = functions_after(model, lambda: setattr(loss, "temperature", ramp))
    assert before is not after


def test_a_projector_may_come_with_the_first_batch():
    layers = [keras.layers.Dense(5, name="hidden"), keras.layers.Dense(3)]
    student = keras.Sequential(layers)
    model = keras_kd.Distiller(
        mlp("teacher"), student, FeatureMatching("hidden", "hidden")
    )
    model.compile("sgd", sparse_cross_entropy(), run_eagerly=True)
    assert not model.get_projectors()
    model.train_on_batch(X, Y)
    assert list(model.get_projectors()) == ["feature_matching"]
