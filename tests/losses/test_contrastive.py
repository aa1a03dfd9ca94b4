"""CRD: published value, negatives by class, its bound, its projectors."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from logit_sides import sides
from numpy.testing import assert_allclose
from oracles import contrastive as oracles
from oracles import reference
from small_models import mlp, numpy_weights, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd import losses

LAYERS = ("features", "features")
LABELS = np.array([0, 1, 0, 2, -1, 1, -1, 0])


def one_hot(labels):
    return np.eye(3)[labels] * (labels >= 0)[:, None]


def test_equals_published_value():
    teacher = reference.TEACHER_EMBEDDINGS[:, :3]
    for form in (losses.crd, oracles.crd):
        values = form(teacher, reference.STUDENT_EMBEDDINGS, temperature=0.1)
        assert_allclose(np.mean(values), reference.SYMMETRIC_INFO_NCE, atol=5e-9)


@pytest.mark.parametrize("temperature", [0.05, 0.07, 1.0])
@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        LABELS.astype("float32"),
        LABELS[:, None],
        one_hot(LABELS),
        0.7 * one_hot(LABELS) + 0.1 * (LABELS >= 0)[:, None],
    ],
    ids=["classes", "floats", "column", "one-hot", "soft"],
)
def test_examples_of_one_class_are_no_negatives(labels, temperature):
    given = sides()
    want = oracles.crd(*given, LABELS, temperature)
    found = losses.crd(*given, labels, temperature=temperature)
    assert_allclose(found, want, rtol=1e-10)
    loss = losses.CRD(*LAYERS, None, temperature, dtype="float64")
    assert_allclose(loss.call(*given, labels=labels), want, rtol=1e-6)


def test_classes_may_be_unsigned_and_of_a_batch_of_unknown_size():
    @tf.function(
        input_signature=[
            tf.TensorSpec((None, 6), "float64"),
            tf.TensorSpec((None, 6), "float64"),
            tf.TensorSpec((None,), "uint8"),
        ]
    )
    def compiled(teacher, student, labels):
        return losses.crd(teacher, student, labels)

    labels = np.abs(LABELS)
    found = compiled(*sides(), labels.astype("uint8"))
    assert_allclose(found, oracles.crd(*sides(), labels), rtol=1e-10)


def test_unknown_classes_are_as_good_as_none():
    want = losses.crd(*sides())
    for labels in (np.full(8, -1), np.zeros((8, 3)), np.arange(8)):
        assert_allclose(losses.crd(*sides(), labels), want, rtol=1e-12)


def test_a_batch_of_one_class_has_no_loss_and_no_gradient():
    teacher, student = map(tf.constant, sides())
    with tf.GradientTape() as tape:
        tape.watch(student)
        values = losses.crd(teacher, student, np.zeros(8, "int32"))
    assert not np.any(values)
    assert not np.any(tape.gradient(values, student))


def test_the_value_is_exact_where_all_is_told_apart():
    """Close to 0: log of 1 + 1e-12, in float32."""
    rows = np.eye(4, dtype="float32")
    want = np.log1p(3 * np.exp(-1 / 0.035))
    assert_allclose(losses.crd(rows, rows, temperature=0.035), want, rtol=1e-4)


def test_log_of_the_batch_bounds_what_is_told_about_each_other():
    teacher, student = sides((64, 3))
    for temperature in (0.07, 1.0):
        unrelated = np.mean(losses.crd(teacher, student, temperature=temperature))
        assert np.log(64) - unrelated < 0.05
        same = np.mean(losses.crd(teacher, teacher, temperature=temperature))
        assert 0 < np.log(64) - same < np.log(64)


@pytest.mark.parametrize("side", [0, 1], ids=["teacher", "student"])
def test_the_length_of_each_embedding_does_not_matter(side):
    given = list(sides())
    want = losses.crd(*given)
    given[side] = given[side] * np.geomspace(1e-3, 1e3, 8)[:, None]
    assert_allclose(losses.crd(*given), want, rtol=1e-10)


def test_projectors_map_both_sides_to_embeddings_of_one_size():
    teacher = sides((8, 2, 3, 4))[0]
    student = sides((8, 5))[1]
    loss = losses.CRD(*LAYERS, embedding_size=7, name="own")
    assert loss.trainable_layers == []
    loss.build((None, 2, 3, 4), (None, 5))
    layers = loss.trainable_layers
    loss.build((None, 2, 3, 4), (None, 5))
    assert loss.trainable_layers == layers
    pair = "own_features_to_features"
    names = [f"{pair}_teacher_projector", f"{pair}_student_projector"]
    assert [layer.name for layer in layers] == names
    embeddings = []
    for layer, features in zip(layers, (teacher, student), strict=True):
        kernel, bias = numpy_weights(layer)
        embeddings.append(features.reshape(8, -1) @ kernel + bias)
        assert embeddings[-1].shape == (8, 7)
    found = loss.call(teacher, student, labels=LABELS)
    assert_allclose(found, oracles.crd(*embeddings, LABELS), rtol=1e-4, atol=1e-5)


def test_projectors_compute_in_float32_whatever_the_global_policy():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        loss = losses.CRD(*LAYERS)
        loss.build((None, 6), (None, 6))
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in loss.trainable_layers} == {"float32"}
    values = loss.call(*(side.astype("float16") for side in sides()))
    assert values.dtype == "float32"


def test_a_new_temperature_takes_effect_without_a_new_trace():
    loss, traces = losses.CRD(*LAYERS, embedding_size=None), []

    @tf.function
    def compiled(teacher, student):
        traces.append(1)
        return loss(teacher, student)

    for temperature in (0.07, 1.0, 0.5):
        loss.temperature = temperature
        want = oracles.crd(*sides(), temperature=temperature).mean()
        assert_allclose(compiled(*sides()), want, rtol=1e-5)
    assert len(traces) == 1


def test_config_holds_all_arguments():
    loss = losses.CRD("a", None, 64, 0.1, "replica", "own", "sum", "float64")
    config = loss.get_config()
    copy = losses.CRD.from_config(config)
    assert copy.get_config() == config
    assert (copy.embedding_size, copy.temperature, copy.batch) == (64, 0.1, "replica")
    assert (copy.name, copy.reduction, copy.dtype) == ("own", "sum", "float64")


def test_a_temperature_may_be_a_schedule():
    ramp = keras_kd.schedules.LinearRamp(1.0, 0.07, steps=10)
    loss = losses.CRD(*LAYERS, embedding_size=None, temperature=ramp)
    want = oracles.crd(*sides(), temperature=1.0).mean()  # of step 0
    copy = losses.CRD.from_config(loss.get_config())
    for one in (loss, copy):
        assert_allclose(one(*sides()), want, rtol=1e-5)
    assert copy.get_config() == loss.get_config()


def distiller():
    given = [
        losses.CRD(*LAYERS, embedding_size=4),
        losses.CRD("hidden", "hidden", embedding_size=3),
    ]
    student = mlp("student", seed=2, units=5)
    model = keras_kd.Distiller(mlp("teacher", seed=1), student, given)
    model.compile(
        keras.optimizers.Adam(1e-2), loss=sparse_cross_entropy(), run_eagerly=True
    )
    return model


def train(model):
    x, y = toy_data(16)
    return model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0).history


def test_projectors_train_and_go_on_after_loading(tmp_path):
    model = distiller()
    before = [
        numpy_weights(p)
        for loss in model.distillation_losses
        for p in loss.trainable_layers
    ]
    train(model)
    after = [
        numpy_weights(p)
        for loss in model.distillation_losses
        for p in loss.trainable_layers
    ]
    for one, other in zip(before, after, strict=True):
        assert all(np.any(a != b) for a, b in zip(one, other, strict=True))
    model.save(tmp_path / "d.keras")
    loaded = keras.saving.load_model(tmp_path / "d.keras")
    history, resumed = train(model), train(loaded)
    for name, values in history.items():
        assert_allclose(resumed[name], values, rtol=1e-5, err_msg=name)
    for one, other in zip(numpy_weights(model), numpy_weights(loaded), strict=True):
        assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_saved_student_has_no_weights_but_its_own(tmp_path):
    model = distiller()
    train(model)
    model.student.save(tmp_path / "s.keras")
    saved = keras.saving.load_model(tmp_path / "s.keras")
    wanted = [w.shape for w in mlp("student", units=5).weights]
    assert [w.shape for w in saved.weights] == wanted
    x, _ = toy_data(4)
    assert_allclose(saved(x), model.student(x), rtol=1e-6)


def test_labels_of_the_batch_reach_the_loss():
    """All of one class: nothing is to be told apart, so nothing is lost."""
    model = keras_kd.Distiller(
        mlp("teacher", seed=1), mlp("student", seed=2), losses.CRD(*LAYERS)
    )
    model.compile("sgd", loss=sparse_cross_entropy(), run_eagerly=True)
    x, y = toy_data(16)
    logs = model.evaluate(x, np.zeros_like(y), verbose=0, return_dict=True)
    assert logs["distillation_loss"] == 0
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["distillation_loss"] > 0.1


def test_keras_own_distiller_gets_the_form_without_projectors():
    teacher, student = mlp("teacher", seed=1), mlp("student", seed=2)
    with pytest.raises(ValueError, match="does not train"):
        keras.distillation.Distiller(teacher, student, losses.CRD(*LAYERS))
    loss = losses.CRD(*LAYERS, embedding_size=None)
    model = keras.distillation.Distiller(teacher, student, loss)
    model.compile("sgd", loss=sparse_cross_entropy(), run_eagerly=True)
    assert np.isfinite(train(model)["distillation_loss"]).all()
