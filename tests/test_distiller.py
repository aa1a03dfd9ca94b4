"""The objective, its gradient and the logs, against float64 NumPy.

tests/distiller/ has the rest: batches, models, labels and weights, saving.
"""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose
from oracles.calibration import negative_log_likelihood
from oracles.logits import (
    kl_divergence,
    knowledge_distillation,
    log_softmax,
    soft_cross_entropy,
    softmax,
)
from small_models import mlp, scattered, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.losses import FeatureMatching, KnowledgeDistillation, SoftCrossEntropy

SIZE = 21
BATCH = 8  # two whole batches and one of 5
EXACT = {"rtol": 2e-6, "atol": 2e-7}


def models(l2=0.0):
    teacher = scattered(mlp("teacher", units=10), seed=5)
    student = scattered(mlp("student", units=6, l2=l2), seed=6)
    return teacher, student


def batch():
    """Inputs, labels (a third of them missing) and weights (some of them zero)."""
    x, y = toy_data(SIZE)
    y[::3] = keras_kd.UNLABELED
    weight = np.random.default_rng(1).uniform(0, 2, SIZE).astype("float32")
    weight[::4] = 0.0
    return x, y, weight


def build(teacher, student, losses=None, *args, **compile_arguments):
    losses = losses or KnowledgeDistillation(temperature=4.0)
    distiller = keras_kd.Distiller(teacher, student, losses, *args)
    settings = {
        "optimizer": keras.optimizers.SGD(0.0),  # logs of an unmoving student are exact
        "loss": sparse_cross_entropy(),
        **compile_arguments,
    }
    distiller.compile(**settings)
    return distiller


def float64_logits(model, x):
    return np.asarray(model(x), "float64")


def label_losses(y, logits):
    """Cross-entropy of each example; 0 where the label is missing."""
    picked = -log_softmax(logits)[np.arange(len(y)), np.maximum(y, 0)]
    return np.where(y >= 0, picked, 0.0)


@pytest.mark.parametrize("weighted", [True, False], ids=["weighted", "unweighted"])
@pytest.mark.parametrize("student_loss_weight", [0.0, 0.3, 1.0])
def test_objective_equals_numpy(student_loss_weight, weighted):
    teacher, student = models(l2=0.05)
    losses = [KnowledgeDistillation(temperature=4.0), SoftCrossEntropy(temperature=2.0)]
    distiller = build(teacher, student, losses, [1.5, 0.25], student_loss_weight)
    x, y, weight = batch()
    weight = weight if weighted else np.ones(SIZE, "float32")
    z_t, z_s = float64_logits(teacher, x), float64_logits(student, x)
    label_loss = np.sum(weight * label_losses(y, z_s)) / np.sum(y >= 0)
    distillation_loss = (
        1.5 * np.sum(weight * knowledge_distillation(z_t, z_s, 4.0)) / SIZE
        + 0.25 * np.sum(weight * soft_cross_entropy(z_t, z_s, 2.0)) / SIZE
    )
    kernel = np.asarray(student.get_layer("hidden").kernel, "float64")
    want = (
        student_loss_weight * label_loss
        + (1 - student_loss_weight) * distillation_loss
        + 0.05 * np.sum(kernel**2)
    )
    got = distiller.compute_loss(x, y, sample_weight=weight if weighted else None)
    assert_allclose(got, want, **EXACT)


def test_one_step_follows_the_gradient_in_closed_form():
    """A linear student: the gradient of its kernel is x^T dz + 2 l2 W."""
    w, temperature, l2, rate = 0.3, 3.0, 0.05, 0.2
    teacher, _ = models()
    dense = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(l2))
    student = keras.Sequential([keras.Input((4,)), dense])
    kernel, bias = (np.asarray(v, "float64") for v in dense.weights)
    distiller = build(
        teacher,
        student,
        KnowledgeDistillation(temperature),
        None,
        w,
        optimizer=keras.optimizers.SGD(rate),
    )
    x, y, weight = batch()
    z_t, z_s = float64_logits(teacher, x), float64_logits(student, x)
    of_labels = (softmax(z_s) - np.eye(3)[y]) * (y >= 0)[:, None]
    of_teacher = temperature * (softmax(z_s / temperature) - softmax(z_t / temperature))
    dz = w * of_labels / np.sum(y >= 0) + (1 - w) * of_teacher / SIZE
    dz = dz * weight[:, None]
    distiller.train_on_batch(x, y, sample_weight=weight)
    want = kernel - rate * (x.T.astype("float64") @ dz + 2 * l2 * kernel)
    assert_allclose(dense.kernel, want, **EXACT)
    assert_allclose(dense.bias, bias - rate * dz.sum(axis=0), **EXACT)


def whole_set_logs(teacher, student, x, y, weight, w=0.5):
    """Numbers of the whole set at once, as no batching should change them."""
    z_t, z_s = float64_logits(teacher, x), float64_logits(student, x)
    labels, distillation = label_losses(y, z_s), knowledge_distillation(z_t, z_s, 4.0)
    labelled = (y >= 0) * weight
    kernel = np.asarray(student.get_layer("hidden").kernel, "float64")
    total = w * np.sum(weight * labels) / np.sum(y >= 0)
    total += (1 - w) * np.sum(weight * distillation) / len(x)
    hits = z_s.argmax(axis=-1) == y
    agrees = z_t.argmax(axis=-1) == z_s.argmax(axis=-1)
    return {
        "loss": total + 0.05 * np.sum(kernel**2),
        "student_loss": np.sum(weight * labels) / labelled.sum(),
        "distillation_loss": np.average(distillation, weights=weight),
        "accuracy": hits[y >= 0].mean(),
        "weighted": np.average(hits, weights=labelled),
        "agreement": np.average(agrees, weights=weight),
        "teacher_student_kl": np.average(kl_divergence(z_t, z_s), weights=weight),
        "agreement_top2": np.average(
            [t in np.argsort(s)[-2:] for t, s in zip(z_t.argmax(-1), z_s, strict=True)],
            weights=weight,
        ),
    }


LOGGED = [
    "loss",
    "student_loss",
    "distillation_loss",
    "accuracy",
    "weighted",
    "agreement",
    "teacher_student_kl",
    "agreement_top2",
]


def fully_compiled(**arguments):
    teacher, student = models(l2=0.05)
    distiller = build(
        teacher,
        student,
        metrics=["accuracy"],
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="weighted")],
        fidelity_metrics=[keras_kd.metrics.Agreement(k=2)],
        **arguments,
    )
    return teacher, student, distiller


def test_logs_of_training_and_validation_are_exact_with_an_uneven_last_batch():
    teacher, student, distiller = fully_compiled()
    x, y, weight = batch()
    history = distiller.fit(
        x,
        y,
        sample_weight=weight,
        batch_size=BATCH,
        epochs=2,
        shuffle=False,
        validation_data=(x[:13], y[:13], weight[:13]),
        verbose=0,
    ).history
    train = whole_set_logs(teacher, student, x, y, weight)
    val = whole_set_logs(teacher, student, x[:13], y[:13], weight[:13])
    want = {**train, **{f"val_{name}": value for name, value in val.items()}}
    assert set(history) == set(want)
    for name, value in want.items():
        assert_allclose(history[name], [value, value], err_msg=name, **EXACT)


def test_evaluate_gives_the_logs_in_order():
    teacher, student, distiller = fully_compiled()
    x, y, weight = batch()
    want = whole_set_logs(teacher, student, x, y, weight)
    logs = distiller.evaluate(
        x, y, batch_size=BATCH, sample_weight=weight, return_dict=True, verbose=0
    )
    listed = distiller.evaluate(x, y, BATCH, sample_weight=weight, verbose=0)
    assert set(logs) == set(LOGGED)
    assert_allclose(listed, [logs[name] for name in LOGGED])
    for name in LOGGED:
        assert_allclose(logs[name], want[name], err_msg=name, **EXACT)


def test_metrics_are_in_logging_order():
    _, _, distiller = fully_compiled()
    names = [metric.name for metric in distiller.metrics]
    assert names == [*LOGGED[:3], "compile_metrics", *LOGGED[5:]]


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda d, x, y: d.train_on_batch(x, y, return_dict=True), LOGGED),
        (lambda d, x, y: d.test_on_batch(x, y, return_dict=True), LOGGED),
    ],
    ids=["train_on_batch", "test_on_batch"],
)
def test_single_batches_log_the_same(call, names):
    teacher, student, distiller = fully_compiled()
    x, y, _ = batch()
    logs = call(distiller, x, y)
    want = whole_set_logs(teacher, student, x, y, np.ones(SIZE))
    assert set(logs) == set(names)
    for name in names:
        assert_allclose(logs[name], want[name], err_msg=name, **EXACT)


def test_several_losses_are_logged_by_name():
    teacher, student = models()
    losses = [
        KnowledgeDistillation(temperature=4.0),
        KnowledgeDistillation(temperature=1.0),
        FeatureMatching("hidden", "logits", name="odd_pair"),
    ]
    distiller = build(teacher, student, losses, [0.5, 2.0, 0.1], 0.0, loss=None)
    x, y, weight = batch()
    logs = distiller.evaluate(
        x, y, batch_size=BATCH, sample_weight=weight, return_dict=True, verbose=0
    )
    z_t, z_s = float64_logits(teacher, x), float64_logits(student, x)
    hidden = keras.Model(teacher.input, teacher.get_layer("hidden").output)(x)
    projected = z_s @ np.asarray(
        distiller.get_projectors()["odd_pair"][0].kernel, "float64"
    )
    values = {
        "knowledge_distillation": knowledge_distillation(z_t, z_s, 4.0),
        "knowledge_distillation_2": knowledge_distillation(z_t, z_s, 1.0),
        "odd_pair": np.mean((np.asarray(hidden, "float64") - projected) ** 2, axis=-1),
    }
    means = {k: np.average(v, weights=weight) for k, v in values.items()}
    for name, mean in means.items():
        assert_allclose(logs[name], mean, err_msg=name, **EXACT)
    total = sum(f * m for f, m in zip([0.5, 2.0, 0.1], means.values(), strict=True))
    assert_allclose(logs["distillation_loss"], total, **EXACT)
    fidelity = {"agreement", "teacher_student_kl"}
    assert set(logs) == {"loss", "distillation_loss", *means, *fidelity}


@pytest.mark.parametrize("kind", [list, tuple, np.array], ids=lambda f: f.__name__)
def test_loss_weights_come_in_any_sequence(kind):
    losses = [KnowledgeDistillation(), SoftCrossEntropy()]
    distiller = build(*models(), losses, kind([0.25, 2]))
    assert distiller.distillation_loss_weights == [0.25, 2.0]


def test_without_labels_only_distillation_is_logged():
    teacher, student = models()
    distiller = build(teacher, student, None, None, 0.0, loss=None)
    x, _, _ = batch()
    history = distiller.fit(x, batch_size=BATCH, shuffle=False, verbose=0).history
    assert set(history) == {
        "loss",
        "distillation_loss",
        "agreement",
        "teacher_student_kl",
    }
    assert_allclose(history["loss"], history["distillation_loss"], **EXACT)


def test_fidelity_metrics_are_the_users_objects():
    class Rows(keras.metrics.Sum):
        takes = ("teacher", "student")

        def update_state(self, teacher, student, sample_weight=None):
            super().update_state(keras.ops.ones_like(teacher[:, 0]))

    teacher, student = models()
    rows = Rows(name="rows")
    distiller = build(teacher, student, fidelity_metrics=[rows])
    x, y, _ = batch()
    logs = distiller.evaluate(x, y, batch_size=BATCH, return_dict=True, verbose=0)
    assert logs["rows"] == SIZE
    assert rows in distiller.metrics


def test_calling_and_predicting_give_the_students_output():
    teacher, student = models()
    distiller = build(teacher, student)
    x, _, _ = batch()
    assert_allclose(distiller(x), student(x), rtol=0)
    predicted = distiller.predict(x, batch_size=BATCH, verbose=0)
    assert_allclose(predicted, student(x), rtol=1e-5, atol=1e-6)


def test_label_losses_of_keras_and_ours_agree():
    """At w = 1 the objective is what `student.fit` itself would minimise."""
    teacher, student = models(l2=0.05)
    distiller = build(teacher, student, None, None, 1.0)
    x, y = toy_data(SIZE)
    student.compile("sgd", loss=sparse_cross_entropy())
    plain = student.evaluate(x, y, batch_size=SIZE, verbose=0)
    logs = distiller.evaluate(x, y, batch_size=SIZE, return_dict=True, verbose=0)
    assert_allclose(logs["loss"], plain, **EXACT)
    nll = negative_log_likelihood(y, float64_logits(student, x))
    assert_allclose(logs["student_loss"], nll, **EXACT)


@pytest.mark.parametrize(
    ("loss_name", "options"),
    [
        ("loss", {}),
        ("student_loss", {}),
        ("distillation_loss", {}),
        ("agreement", {}),
        ("accuracy", {"metrics": ["accuracy"]}),
        ("own", {"metrics": [keras.metrics.SparseCategoricalAccuracy(name="own")]}),
        ("own", {"fidelity_metrics": [keras_kd.metrics.Agreement(k=2, name="own")]}),
        (
            "kd",
            {
                "metrics": ["accuracy"],
                "fidelity_metrics": [keras_kd.metrics.Agreement(name="accuracy")],
            },
        ),
        (
            "kd",
            {
                "weighted_metrics": [
                    keras.metrics.SparseCategoricalAccuracy(name="loss")
                ]
            },
        ),
    ],
    ids=str,
)
def test_no_number_is_logged_in_place_of_another(loss_name, options):
    losses = [KnowledgeDistillation(name=loss_name), KnowledgeDistillation(name="two")]
    distiller = keras_kd.Distiller(mlp("teacher"), mlp("student"), losses)

    def measure():
        distiller.compile("sgd", sparse_cross_entropy(), run_eagerly=True, **options)
        distiller.evaluate(*toy_data(8), verbose=0)

    with pytest.raises(ValueError, match=r"the same name.*Rename"):
        measure()
