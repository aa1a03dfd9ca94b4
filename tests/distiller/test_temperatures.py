"""A temperature for each example, which takes the place of the loss's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from oracles import logits as oracles
from small_models import mlp, numpy_weights, scattered, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.losses import FeatureMatching, KnowledgeDistillation

X, Y = toy_data(20)
OWN = np.tile([0.5, 1.0, 4.0, 0.0], 5).astype("float32")  # 0: that of the loss
RATE = 0.1


def linear(name, seed):
    init = keras.initializers.RandomNormal(seed=seed)
    dense = keras.layers.Dense(3, use_bias=False, kernel_initializer=init)
    return keras.Sequential([keras.Input((4,)), dense], name=name)


def build(teacher, student, losses=None, weight=0.0, **arguments):
    losses = losses or KnowledgeDistillation(temperature=2.0)
    distiller = keras_kd.Distiller(teacher, student, losses, student_loss_weight=weight)
    optimizer = keras.optimizers.SGD(RATE)
    distiller.compile(optimizer, loss=sparse_cross_entropy(), **arguments)
    return distiller


def fit(distiller, *data, **arguments):
    settings = {"shuffle": False, "verbose": 0, "batch_size": len(X), **arguments}
    return distiller.fit(*data, **settings).history


def closed_form(teacher, kernel, temperature, sample_weight=1.0):
    """Loss of a batch and the kernel of a linear student after one step of SGD."""
    rows = zip(X @ teacher, X @ kernel, temperature, strict=True)
    rows = [[side[None] for side in row[:2]] + [row[2]] for row in rows]
    losses = [oracles.knowledge_distillation(*row)[0] for row in rows]
    slopes = np.concatenate([oracles.student_gradient(*row) for row in rows])
    weights = np.broadcast_to(sample_weight, len(X))
    step = X.T @ (weights[:, None] * slopes) / len(X)
    return np.mean(weights * losses), kernel - RATE * step


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("stored", [False, True], ids=["live", "stored logits"])
def test_a_step_equals_its_closed_form(weighted, stored):
    teacher, student = linear("teacher", 1), linear("student", 2)
    (of_teacher,), (kernel,) = teacher.get_weights(), student.get_weights()
    targets = {"labels": Y, "temperature": OWN}
    if stored:
        targets["teacher_logits"] = X @ of_teacher
    weight = np.linspace(0, 2, len(X)).astype("float32") if weighted else None
    history = fit(
        build(None if stored else teacher, student), X, targets, sample_weight=weight
    )
    exact = np.where(OWN == 0, 2.0, OWN)
    loss, want = closed_form(
        of_teacher, kernel, exact, 1.0 if weight is None else weight
    )
    assert_allclose(student.get_weights()[0], want, rtol=1e-5, atol=1e-6)
    if not weighted:
        assert_allclose(history["distillation_loss"], [loss], rtol=1e-5)


def test_the_temperature_of_the_loss_for_all_changes_nothing():
    found = []
    for targets in (Y, {"labels": Y, "temperature": np.full(20, 2, "float32")}):
        teacher = scattered(mlp("teacher"), seed=5)
        distiller = build(teacher, mlp("student", seed=1), weight=0.5)
        history = fit(distiller, X, targets, epochs=2)
        logs = distiller.evaluate(X, targets, verbose=0, return_dict=True)
        found.append((numpy_weights(distiller), history, logs))
    (weights, *logs), (other_weights, *other_logs) = found
    for ours, theirs in zip(weights, other_weights, strict=True):
        assert_allclose(theirs, ours, rtol=1e-6)
    for ours, theirs in zip(logs, other_logs, strict=True):
        for name, value in ours.items():
            assert_allclose(theirs[name], value, rtol=1e-6, err_msg=name)


def test_losses_without_a_temperature_may_stand_beside():
    losses = [KnowledgeDistillation(2.0), FeatureMatching("features", "features")]
    teacher = scattered(mlp("teacher"), seed=5)
    plain = build(teacher, mlp("student", seed=1), losses)
    other = build(teacher, mlp("student", seed=1), losses)
    logs = [
        fit(plain, X, Y)["feature_matching"],
        fit(other, X, {"labels": Y, "temperature": OWN})["feature_matching"],
    ]
    assert_allclose(*logs, rtol=1e-6)


def test_a_temperature_that_no_loss_takes_is_refused():
    loss = FeatureMatching("features", "features")
    distiller = build(mlp("teacher"), mlp("student"), loss)
    with pytest.raises(ValueError, match=r"none of the losses \['feature_matching'\]"):
        fit(distiller, X, {"labels": Y, "temperature": OWN})


def test_an_output_may_be_named_temperature():
    """A dict of one label an output is labels, whatever the names."""
    models = []
    for name in ("teacher", "student"):
        inputs = keras.Input((4,))
        outputs = {"temperature": keras.layers.Dense(3, name="temperature")(inputs)}
        models.append(keras.Model(inputs, outputs, name=name))
    history = fit(build(*models, weight=0.5), X, {"temperature": Y})
    assert np.isfinite(history["student_loss"]).all()


@pytest.mark.distributed
def test_two_replicas_equal_one_device():
    targets = {"labels": Y, "temperature": OWN}
    dataset = tf.data.Dataset.from_tensor_slices((X, targets)).batch(7)
    found = []
    for strategy in (
        tf.distribute.get_strategy(),
        tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
    ):
        with strategy.scope():
            teacher = scattered(mlp("teacher"), seed=5)
            distiller = build(teacher, mlp("student", seed=1), weight=0.5)
        distiller.fit(dataset, verbose=0)
        found.append(numpy_weights(distiller))
    for ours, theirs in zip(*found, strict=True):
        assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


def test_a_pipeline_brings_them():
    """What `with_temperature` attaches reaches the loss: T^2 KL, example by example."""
    images = np.random.default_rng(0).uniform(0, 1, (8, 2, 2, 1)).astype("float32")
    source = keras_kd.data.from_arrays(images, labels=np.arange(8) % 3)
    train = (
        source.examples(shuffle=False)
        .apply(keras_kd.data.with_temperature(0.5))
        .apply(keras_kd.data.out_of_distribution(images[:4], 4, temperature=4.0))
        .batch(12)
    )
    models = []
    for seed in (1, 2):
        layers = [keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
        models.append(scattered(keras.Sequential(layers), seed))
    distiller = build(*models, KnowledgeDistillation(temperature=9.0))
    logs = distiller.evaluate(
        train.map(keras_kd.data.inputs_and_labels), verbose=0, return_dict=True
    )
    (batch,) = train.as_numpy_iterator()
    logits = [model.predict(batch["image"], verbose=0) for model in models]
    rows = zip(*logits, np.where(batch["label"] < 0, 4.0, 0.5), strict=True)
    want = np.mean([oracles.knowledge_distillation(*row) for row in rows])
    assert_allclose(logs["distillation_loss"], want, rtol=1e-5)
