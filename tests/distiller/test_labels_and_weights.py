"""Which examples count, and where: weights, missing labels, masks, extra losses."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose
from oracles.logits import knowledge_distillation, log_softmax
from small_models import mlp, numpy_weights, scattered, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd import UNLABELED
from keras_kd.losses import FeatureMatching, KnowledgeDistillation

X, Y = toy_data(12)
EXACT = {"rtol": 2e-6, "atol": 2e-7}


def build(rate=0.1, w=0.5, losses=None, student=None, **compile_arguments):
    teacher = scattered(mlp("teacher", units=10), seed=5)
    student = student or scattered(mlp("student", units=6), seed=6)
    losses = losses or KnowledgeDistillation()
    distiller = keras_kd.Distiller(teacher, student, losses, student_loss_weight=w)
    settings = {
        "loss": sparse_cross_entropy(),
        "metrics": ["accuracy"],
        "run_eagerly": True,  # faster than a trace, for a step or two
    }
    distiller.compile(keras.optimizers.SGD(rate), **{**settings, **compile_arguments})
    return distiller


def both_losses():
    return [KnowledgeDistillation(), FeatureMatching("features", "features")]


def after_a_step(x, y, sample_weight=None, *, class_weight=None, **arguments):
    keras.utils.set_random_seed(0)
    distiller = build(**arguments)
    logs = distiller.train_on_batch(
        x, y, sample_weight=sample_weight, class_weight=class_weight, return_dict=True
    )
    return numpy_weights(distiller), logs


@pytest.mark.parametrize("losses", [None, both_losses], ids=["logit", "both"])
def test_a_zero_weight_removes_the_gradient_of_an_example(losses):
    """Sums are divided by all examples of the batch: 12 of 12, then 9 of 9."""
    kept = np.ones(12, "float32")
    kept[[2, 5, 11]] = 0.0
    changed = X.copy()
    changed[kept == 0] = 1e3  # nothing of these examples may matter

    def losses_of_both():
        return losses() if losses else None

    ours, logs = after_a_step(changed, Y, kept, losses=losses_of_both())
    rows = kept == 1
    theirs, logs_of_rest = after_a_step(
        X[rows], Y[rows], rate=0.1 * 9 / 12, losses=losses_of_both()
    )
    for one, other in zip(ours, theirs, strict=True):
        assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    for name in ("student_loss", "distillation_loss", "agreement"):
        assert_allclose(logs[name], logs_of_rest[name], rtol=1e-6, err_msg=name)


def test_all_zero_weights_change_nothing():
    before = numpy_weights(build())
    after, logs = after_a_step(X, Y, np.zeros(12, "float32"))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    assert logs["loss"] == logs["student_loss"] == logs["distillation_loss"] == 0.0


@pytest.mark.parametrize("w", [0.0, 1.0], ids=["distillation", "labels"])
def test_a_weight_of_two_counts_as_two_examples_of_each_term(w):
    """Twice example 0, over 13 examples, is weight 2 over 12 at rate 12/13."""
    weight = np.ones(12, "float32")
    weight[0] = 2.0
    ours, _ = after_a_step(X, Y, weight, w=w, rate=0.1 * 12 / 13)
    x, y = np.concatenate([X, X[:1]]), np.concatenate([Y, Y[:1]])
    theirs, _ = after_a_step(x, y, w=w)
    for one, other in zip(ours, theirs, strict=True):
        assert_allclose(one, other, **EXACT)


@pytest.mark.parametrize("data", ["arrays", "tf.data"])
@pytest.mark.parametrize("unlabelled", [False, True])
def test_class_weights_are_sample_weights_by_label(unlabelled, data):
    y = Y.copy()
    if unlabelled:
        y[::3] = UNLABELED
    factors = {0: 0.0, 1: 2.0, 2: 0.5}
    weight = np.array([factors.get(int(label), 1.0) for label in y], "float32")
    ours, theirs = build(), build()
    fit(ours, X, y, data, class_weight=factors)
    theirs.fit(X, y, sample_weight=weight, shuffle=False, batch_size=5, verbose=0)
    for one, other in zip(numpy_weights(ours), numpy_weights(theirs), strict=True):
        assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def fit(distiller, x, y, data, **arguments):
    import tensorflow as tf

    if data == "arrays":
        batches = {"x": x, "y": y, "batch_size": 5, "shuffle": False}
    else:
        batches = {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(5)}
    return distiller.fit(**batches, verbose=0, **arguments)


def one_hot(y):
    return np.eye(3, dtype="float32")[y] * (y >= 0)[:, None]


LABELS = {
    "indices": (lambda y: y, sparse_cross_entropy),
    "column of indices": (lambda y: y[:, None], sparse_cross_entropy),
    "float indices": (lambda y: y.astype("float32"), sparse_cross_entropy),
    "one-hot": (
        one_hot,
        lambda: keras.losses.CategoricalCrossentropy(from_logits=True),
    ),
    "one-hot, smoothed": (
        one_hot,
        lambda: keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=0.1
        ),
    ),
}


@pytest.mark.parametrize("form", LABELS)
def test_unlabelled_rows_count_in_distillation_only(form):
    make, loss = LABELS[form]
    y = Y.copy()
    y[::3] = UNLABELED
    distiller = build(rate=0.0, loss=loss())
    logs = distiller.train_on_batch(X, make(y), return_dict=True)
    z_s = np.asarray(distiller.student(X), "float64")
    z_t = np.asarray(distiller.teacher(X), "float64")
    smoothing = 0.1 if "smoothed" in form else 0.0
    targets = one_hot(y) * (1 - smoothing) + smoothing / 3
    values = -np.sum(targets * log_softmax(z_s), axis=-1)[y >= 0]
    distillation = knowledge_distillation(z_t, z_s, 4.0)
    assert_allclose(logs["student_loss"], values.mean(), **EXACT)
    assert_allclose(logs["distillation_loss"], distillation.mean(), **EXACT)
    want = 0.5 * values.mean() + 0.5 * distillation.mean()
    assert_allclose(logs["loss"], want, **EXACT)
    hits = z_s.argmax(axis=-1)[y >= 0] == Y[y >= 0]
    assert_allclose(logs["accuracy"], hits.mean(), **EXACT)


@pytest.mark.parametrize("form", LABELS)
def test_a_batch_without_any_label_is_finite(form):
    make, loss = LABELS[form]
    y = make(np.full(12, UNLABELED, "int32"))
    distiller = build(loss=loss(), weighted_metrics=["accuracy"])
    before = numpy_weights(distiller)
    history = distiller.fit(
        X, y, batch_size=5, epochs=2, validation_data=(X, y), verbose=0
    ).history
    for name, values in history.items():
        assert np.isfinite(values).all(), name
    assert history["student_loss"] == [0.0, 0.0]
    assert history["distillation_loss"][1] < history["distillation_loss"][0]
    pairs = zip(before, numpy_weights(distiller), strict=True)
    assert all(np.isfinite(after).all() for _, after in pairs)


def test_training_on_labels_alone_ignores_unlabelled_rows():
    y = Y.copy()
    y[6:] = UNLABELED
    ours, _ = after_a_step(X, y, w=1.0)
    theirs, _ = after_a_step(X[:6], Y[:6], w=1.0)
    for one, other in zip(ours, theirs, strict=True):
        assert_allclose(one, other, **EXACT)


TOKENS = np.array([[3, 1, 2, 0, 0], [4, 0, 0, 0, 0], [1, 2, 3, 4, 0]])
TAGS = np.array([[0, 1, 2, 0, 0], [1, 0, 0, 0, 0], [2, 2, 1, 0, 0]])


def tagger(name, seed, mask_zero=True):
    inputs = keras.Input((5,), dtype="int32")
    init = keras.initializers.RandomNormal(seed=seed)
    x = keras.layers.Embedding(
        6, 4, mask_zero=mask_zero, embeddings_initializer=init, name="embedding"
    )(inputs)
    return keras.Model(
        inputs,
        keras.layers.Dense(3, kernel_initializer=init, name="tags")(x),
        name=name,
    )


@pytest.mark.parametrize("masked", ["both", "teacher", "student"])
def test_a_masked_token_does_not_count(masked):
    teacher = tagger("teacher", 1, mask_zero=masked != "student")
    student = tagger("student", 2, mask_zero=masked != "teacher")
    feature = FeatureMatching("embedding", "embedding")
    losses = [KnowledgeDistillation(), feature]
    distiller = keras_kd.Distiller(teacher, student, losses, [1.0, 0.5])
    distiller.compile(keras.optimizers.SGD(0.0), loss=sparse_cross_entropy())
    weight = np.array([1.0, 0.0, 3.0], "float32")
    logs = distiller.train_on_batch(TOKENS, TAGS, weight, return_dict=True)
    z_t, z_s = (np.asarray(model(TOKENS), "float64") for model in (teacher, student))
    e_t, e_s = (
        np.asarray(model.get_layer("embedding")(TOKENS), "float64")
        for model in (teacher, student)
    )
    present = TOKENS > 0
    each = present * weight[:, None]
    kd = knowledge_distillation(z_t, z_s, 4.0)
    fm = np.mean((e_t - e_s) ** 2, axis=-1)
    assert_allclose(
        logs["knowledge_distillation"], np.average(kd, weights=each), **EXACT
    )
    assert_allclose(logs["feature_matching"], np.average(fm, weights=each), **EXACT)
    agrees = z_t.argmax(-1) == z_s.argmax(-1)
    assert_allclose(logs["agreement"], np.average(agrees, weights=each), **EXACT)
    labels = -np.take_along_axis(log_softmax(z_s), TAGS[..., None], -1)[..., 0]
    positions = present.sum()
    distillation = np.sum(each * (kd + 0.5 * fm)) / positions
    if masked == "teacher":  # then the student itself knows of no mask
        positions, each = present.size, np.broadcast_to(weight[:, None], (3, 5))
    want = 0.5 * np.sum(each * labels) / positions + 0.5 * distillation
    assert_allclose(logs["loss"], want, **EXACT)


@keras.saving.register_keras_serializable(package=__name__)
class Penalised(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(0.25 * keras.ops.mean(keras.ops.square(inputs)))
        return inputs


@pytest.mark.parametrize("losses", [None, both_losses], ids=["logit", "both"])
def test_extra_losses_of_the_student_count_once(losses):
    """L2 of a kernel, `add_loss`, and an activity regulariser."""
    activity = keras.layers.ActivityRegularization(l1=0.125)
    student = mlp("student", units=6, l2=0.5, extra=[Penalised(), activity])
    distiller = build(rate=0.0, student=student, losses=losses and losses())
    logs = distiller.train_on_batch(X, Y, return_dict=True)
    hidden = keras.Model(student.input, student.get_layer("features").output)(X)
    hidden = np.asarray(hidden, "float64")
    kernel = np.asarray(student.get_layer("hidden").kernel, "float64")
    extra = (
        0.5 * np.sum(kernel**2)
        + 0.25 * np.mean(hidden**2)
        + 0.125 * np.abs(hidden).sum() / len(X)  # Keras divides by the batch
    )
    terms = 0.5 * logs["student_loss"] + 0.5 * logs["distillation_loss"]
    assert_allclose(logs["loss"] - terms, extra, rtol=1e-5)
    evaluated = distiller.evaluate(X, Y, batch_size=12, return_dict=True, verbose=0)
    assert_allclose(evaluated["loss"], logs["loss"], rtol=1e-6)
