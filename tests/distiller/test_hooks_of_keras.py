"""Hooks and attributes of Keras keep their meaning, on a distiller as on any model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from numpy.testing import assert_allclose
from oracles.logits import knowledge_distillation
from small_models import mlp, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.losses import CRD, VID, FeatureMatching, HintLoss, KnowledgeDistillation

X, Y = toy_data(12)


def compiled(
    teacher, student, losses, w=0.0, loss=None, cls=keras_kd.Distiller, **more
):
    model = cls(teacher, student, losses, student_loss_weight=w)
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True, **more)
    return model


class Shifted(keras_kd.Distiller):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
        return super().compute_loss(x, y, y_pred, sample_weight) + 100.0


class Doubled(keras_kd.Distiller):
    def compute_loss(self, x, y, y_pred, sample_weight, training=True):
        return super().compute_loss(x, y, 2.0 * y_pred, sample_weight, training)


class Other(keras_kd.Distiller):
    def compute_loss(self, x, y, y_pred, sample_weight, training=True):
        return keras.ops.mean(keras.ops.square(y_pred))


def logits(model):
    return np.asarray(model(X), "float64")


def test_an_overridden_loss_is_what_is_trained_and_logged():
    teacher, student = mlp("teacher"), mlp("student", seed=1)
    z_t, z_s = logits(teacher), logits(student)
    kd = KnowledgeDistillation(temperature=2.0)
    want = knowledge_distillation(z_t, z_s, 2.0).mean()
    shifted = compiled(teacher, student, kd, cls=Shifted)
    logs = shifted.evaluate(X, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(want + 100.0)
    assert logs["distillation_loss"] == pytest.approx(want, rel=1e-5)
    doubled = compiled(teacher, student, kd, cls=Doubled)
    logs = doubled.evaluate(X, verbose=0, return_dict=True)
    want = knowledge_distillation(z_t, 2 * z_s, 2.0).mean()
    assert logs["loss"] == pytest.approx(want, rel=1e-5)
    other = compiled(teacher, student, kd, cls=Other)
    logs = other.train_on_batch(X, return_dict=True)
    assert logs["loss"] == pytest.approx(np.mean(z_s**2), rel=1e-5)
    assert "distillation_loss" not in logs  # nobody computed it
    assert {"agreement", "teacher_student_kl"} < set(logs)


def test_before_compile_the_loss_is_an_error_in_words():
    model = keras_kd.Distiller(mlp("t"), mlp("s", seed=1), KnowledgeDistillation())
    with pytest.raises(ValueError, match="no losses to compute before `compile`"):
        model.compute_loss(X, Y)


def test_the_compiled_loss_is_where_keras_leaves_it():
    loss = sparse_cross_entropy()
    model = compiled(mlp("t"), mlp("s", seed=1), KnowledgeDistillation(), 0.5, loss)
    assert model.loss is loss


def test_one_loss_object_starts_afresh_in_each_distiller():
    pair = "hidden", "hidden"
    shared = [
        FeatureMatching(*pair),
        HintLoss(*pair),
        HintLoss(*pair, regressor=layers.Dense(8), name="own_regressor"),
        VID(*pair),
        CRD(*pair, embedding_size=4),
        KnowledgeDistillation(),
    ]

    def start(units):
        keras.utils.set_random_seed(5)
        model = compiled(mlp("t"), mlp("s", seed=1, units=units), shared)
        logs = model.evaluate(X, verbose=0, return_dict=True)
        model.fit(X, epochs=3, verbose=0)
        return logs

    first = start(5)
    assert {loss.name for loss in shared} < first.keys()
    assert start(5) == pytest.approx(first, rel=1e-6)
    assert np.isfinite(list(start(6).values())).all()  # of another width too


def test_a_layer_called_twice_is_compared_at_each_call():
    def siamese(name, seed):
        init = keras.initializers.GlorotUniform(seed=seed)
        shared = layers.Dense(6, name="shared", kernel_initializer=init)
        a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
        joined = layers.Concatenate()([shared(a), shared(b)])
        return keras.Model({"a": a, "b": b}, layers.Dense(3)(joined), name=name)

    teacher, student = siamese("t", 0), siamese("s", 1)
    x = {"a": X, "b": 3.0 * X}
    gaps = [
        np.mean(
            (
                np.asarray(teacher.get_layer("shared")(part), "float64")
                - np.asarray(student.get_layer("shared")(part), "float64")
            )
            ** 2
        )
        for part in x.values()
    ]
    model = compiled(teacher, student, FeatureMatching("shared", "shared"))
    logs = model.evaluate(x, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(np.mean(gaps), rel=1e-5)


def test_each_call_of_a_layer_has_its_own_mask_and_length():
    def twins(name, seed):
        init = keras.initializers.GlorotUniform(seed=seed)
        shared = layers.Dense(6, name="shared", kernel_initializer=init)
        a, b = keras.Input((5, 4), name="a"), keras.Input((3, 4), name="b")
        read = [shared(layers.Masking()(part)) for part in (a, b)]
        pooled = [layers.GlobalAveragePooling1D()(part) for part in read]
        outputs = layers.Dense(3)(layers.Concatenate()(pooled))
        return keras.Model({"a": a, "b": b}, outputs, name=name)

    teacher, student = twins("t", 0), twins("s", 1)
    rng = np.random.default_rng(0)
    x = {name: rng.normal(size=(8, n, 4)) for name, n in (("a", 5), ("b", 3))}
    x["a"][::2, 2:] = 0.0  # padding, of one call alone
    gaps = [
        np.square(
            np.asarray(teacher.get_layer("shared")(part), "float64")
            - np.asarray(student.get_layer("shared")(part), "float64")
        ).mean(axis=-1)[np.any(part != 0, axis=-1)]
        for part in x.values()
    ]
    weight = np.arange(8.0)
    of_positions = [
        np.repeat(weight[:, None], part.shape[1], axis=1)[np.any(part != 0, axis=-1)]
        for part in x.values()
    ]
    model = compiled(teacher, student, FeatureMatching("shared", "shared"))
    for given, weights in (
        (None, [np.ones_like(g) for g in gaps]),
        (weight, of_positions),
    ):
        logs = model.evaluate(
            x, np.zeros(8), sample_weight=given, verbose=0, return_dict=True
        )
        size = sum(map(len, gaps))
        want = sum((g * w).sum() for g, w in zip(gaps, weights, strict=True)) / size
        assert logs["loss"] == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("cell", [layers.SimpleRNN, layers.GRU])
def test_a_stateful_teacher_goes_on_from_batch_to_batch(cell):
    rnn = cell(5, stateful=True)
    inputs = keras.Input(batch_shape=(4, 3, 2))
    teacher = keras.Model(inputs, layers.Dense(3)(rnn(inputs)))
    student = keras.Sequential([keras.Input((3, 2)), layers.Flatten(), layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(12, 3, 2)).astype("float32")
    z_t = teacher.predict(x, batch_size=4, verbose=0).astype("float64")
    rnn.reset_state()
    before = [np.asarray(state) for state in rnn.states]
    z_s = student.predict(x, verbose=0).astype("float64")
    model = compiled(teacher, student, KnowledgeDistillation(1.0))
    want = knowledge_distillation(z_t, z_s, 1.0).mean()
    for _ in range(2):  # each pass starts from the states that the model itself has
        logs = model.evaluate(x, batch_size=4, verbose=0, return_dict=True)
        assert logs["loss"] == pytest.approx(want, rel=1e-5)
    found = keras_kd.evaluate_fidelity(teacher, student, (x,), batch_size=4, verbose=0)
    assert found.student.kl == pytest.approx(want, rel=1e-5)
    for ours, theirs in zip(rnn.states, before, strict=True):
        assert_allclose(ours, theirs)  # and the teacher is as it was found


def test_a_foreign_teacher_without_a_static_shape_teaches():
    kernel = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")

    class Foreign(keras.Model):
        def call(self, x):
            return tf.numpy_function(lambda v: v @ kernel, [x], tf.float32)

    teacher, student = Foreign(), mlp("student", seed=1)
    teacher(X[:2])
    model = keras_kd.Distiller(
        teacher, student, KnowledgeDistillation(2.0), student_loss_weight=0.0
    )
    model.compile("sgd")  # in a graph, where the shape is not known
    logs = model.evaluate(X, verbose=0, return_dict=True)
    want = knowledge_distillation(X.astype("float64") @ kernel, logits(student), 2.0)
    assert logs["loss"] == pytest.approx(want.mean(), rel=1e-5)


def test_a_set_without_stored_answers_says_what_the_labels_say():
    student, z = mlp("student"), logits(mlp("teacher", seed=1)).astype("float32")
    model = compiled(
        None,
        student,
        KnowledgeDistillation(),
        0.5,
        sparse_cross_entropy(),
        metrics=["accuracy"],
    )
    history = model.fit(
        X, {"labels": Y, "teacher_logits": z}, validation_data=(X, Y), verbose=0
    ).history
    assert {"loss", "distillation_loss", "agreement"} < set(history)
    found = {name for name in history if name.startswith("val_")}
    assert found == {"val_student_loss", "val_accuracy"}
    want = float(sparse_cross_entropy()(Y, student(X)))
    assert history["val_student_loss"][0] == pytest.approx(want, rel=1e-5)
    with pytest.raises(ValueError, match="brings no stored teacher logits"):
        model.fit(X, Y, verbose=0)


def test_labels_alone_need_no_teacher():
    student, plain = mlp("student"), mlp("plain")
    model = compiled(
        None, student, KnowledgeDistillation(), 1.0, sparse_cross_entropy()
    )
    plain.compile(keras.optimizers.SGD(0.1), sparse_cross_entropy(), run_eagerly=True)
    data = {"batch_size": 5, "shuffle": False, "verbose": 0}
    ours, theirs = model.fit(X, Y, **data), plain.fit(X, Y, **data)
    assert ours.history["loss"] == pytest.approx(theirs.history["loss"], rel=1e-5)
    for one, other in zip(student.get_weights(), plain.get_weights(), strict=True):
        assert_allclose(one, other, rtol=1e-5, atol=1e-6)
