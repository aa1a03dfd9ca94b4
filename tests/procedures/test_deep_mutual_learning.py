"""Deep mutual learning against its equations in float64 NumPy, and on the digits."""

import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from oracles.logits import log_softmax, softmax
from small_models import TraceCounter, mlp, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.procedures import DeepMutualLearning

X, Y = toy_data(12)
RATE = 0.3


def linear(name, seed):
    init = keras.initializers.GlorotUniform(seed=seed)
    dense = keras.layers.Dense(3, use_bias=False, kernel_initializer=init)
    return keras.Sequential([keras.Input((4,)), dense], name=name)


def build(names=("a", "b", "c"), weight=0.5, **arguments):
    students = [linear(name, seed) for seed, name in enumerate(names)]
    procedure = DeepMutualLearning(students, student_loss_weight=weight)
    procedure.compile(
        keras.optimizers.SGD(RATE), loss=sparse_cross_entropy(), **arguments
    )
    return procedure


def step(kernels, w, weight=1.0, known=True):
    """Equations 4 to 8: each in turn, seeing those before it as they now are.

    `weight` of each label and which are `known`: labels count over the known ones,
    distillation over all, each example with its weight.
    """
    kernels, losses = list(kernels), []
    weight, known = np.broadcast_to(weight, 12), np.broadcast_to(known, 12)
    of_label, of_peers = weight * known / known.sum(), weight / 12
    for i in range(len(kernels)):
        logits = [X.astype("float64") @ kernel for kernel in kernels]
        peers = [z for k, z in enumerate(logits) if k != i]
        own, probs = log_softmax(logits[i]), softmax(logits[i])
        nll = (of_label * -own[np.arange(len(Y)), Y]).sum()
        kls = [(softmax(z) * (log_softmax(z) - own)).sum(axis=1) for z in peers]
        losses.append(w * nll + (1 - w) * (of_peers * np.mean(kls, axis=0)).sum())
        gap = w * of_label[:, None] * (probs - np.eye(3)[Y])
        mean_gap = np.mean([probs - softmax(z) for z in peers], axis=0)
        gap = gap + (1 - w) * of_peers[:, None] * mean_gap
        kernels[i] = kernels[i] - RATE * X.T.astype("float64") @ gap
    return kernels, losses


@pytest.mark.parametrize(
    ("names", "weight", "eager"), [("ab", 0.5, False), ("abc", 0.2, True)]
)
def test_steps_are_those_of_the_paper(names, weight, eager):
    procedure = build(names, weight, run_eagerly=eager)
    kernels = [s.get_weights()[0].astype("float64") for s in procedure.students]
    history = procedure.fit(X, Y, batch_size=12, epochs=3, verbose=0).history
    for epoch in range(3):
        kernels, losses = step(kernels, weight)
        found = [history[f"{name}_loss"][epoch] for name in names]
        assert_allclose(found, losses, rtol=1e-5)
    for student, kernel in zip(procedure.students, kernels, strict=True):
        assert_allclose(student.get_weights()[0], kernel, rtol=1e-4, atol=1e-6)


def test_evaluation_changes_nothing_and_logs_every_student():
    procedure = build(run_eagerly=True)
    before = [s.get_weights()[0] for s in procedure.students]
    logs = procedure.evaluate(X, Y, return_dict=True, verbose=0)
    for student, weights in zip(procedure.students, before, strict=True):
        assert_allclose(student.get_weights()[0], weights, rtol=0)
        assert np.isfinite(logs[f"{student.name}_agreement"])
    assert set(procedure.predict(X, verbose=0)) == {"a", "b", "c"}


def test_a_step_is_traced_once():
    counter = TraceCounter()
    students = [mlp("a", extra=[counter]), mlp("b", seed=1)]
    procedure = DeepMutualLearning(students)
    procedure.compile("adam", loss=sparse_cross_entropy())
    procedure.fit(X, Y, batch_size=5, epochs=1, verbose=0)
    counter.reset()
    procedure.fit(X, Y, batch_size=5, epochs=2, verbose=0)
    assert (counter.traces, counter.runs > 0) == (0, True)


def test_a_checkpoint_holds_students_and_optimizers(tmp_path):
    first, second = (build(run_eagerly=True) for _ in range(2))
    for procedure in (first, second):
        procedure.optimizer.learning_rate = RATE
    first.fit(X, Y, epochs=2, verbose=0)
    first.save_weights(tmp_path / "peers.weights.h5")
    second.load_weights(tmp_path / "peers.weights.h5")
    for ours, theirs in zip(first.distillers, second.distillers, strict=True):
        assert int(theirs.optimizer.iterations) == int(ours.optimizer.iterations) == 2
    options = {"epochs": 1, "verbose": 0, "shuffle": False}
    rest = [p.fit(X, Y, **options).history for p in (first, second)]
    assert rest[0] == rest[1]


@pytest.mark.distributed
def test_two_replicas_give_the_numbers_of_one():
    histories = []
    one = tf.distribute.get_strategy()
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    y = np.where(np.arange(12) % 3 == 1, keras_kd.UNLABELED, Y)
    for strategy in (one, two):
        with strategy.scope():
            eager = strategy is one
            procedure = build("ab", metrics=["accuracy"], run_eagerly=eager)
        fit = {"batch_size": 5, "epochs": 2, "shuffle": False, "verbose": 0}
        histories.append(procedure.fit(X, y, **fit).history)
    for name, values in histories[0].items():
        assert_allclose(histories[1][name], values, rtol=1e-5, err_msg=name)


def test_peers_learn_the_digits():
    from sklearn.datasets import load_digits

    data = load_digits()
    x, y = (data.data / 16).astype("float32"), data.target
    peers = [
        mlp(n, seed=i, units=24, classes=10, features=64) for i, n in enumerate("ab")
    ]
    procedure = DeepMutualLearning(peers)
    procedure.compile(
        keras.optimizers.Adam(1e-2), loss=sparse_cross_entropy(), metrics=["accuracy"]
    )
    logs = procedure.fit(x, y, batch_size=64, epochs=4, verbose=0).history
    for name in "ab":
        assert logs[f"{name}_accuracy"][-1] > 0.9
    assert logs["a_agreement"][-1] > logs["a_agreement"][0]


MISSING = np.arange(12) % 3 == 1
FACTORS = {0: 1.0, 1: 2.0, 2: 0.5}


def in_a_dataset(y):
    return tf.data.Dataset.from_tensor_slices((X, y)).batch(12), None


LABELS = {
    "arrays": lambda: (X, np.where(MISSING, keras_kd.UNLABELED, Y)),
    "dataset": lambda: in_a_dataset(np.where(MISSING, -1, Y)[:, None]),
    "ignore_class": lambda: (X, np.where(MISSING, 7, Y)),
    "one-hot rows": lambda: (X, np.eye(3)[Y] * ~MISSING[:, None]),
}
LOSSES = {
    "ignore_class": lambda: keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=7
    ),
    "one-hot rows": lambda: keras.losses.CategoricalCrossentropy(from_logits=True),
}


@pytest.mark.parametrize("factors", [None, FACTORS], ids=["", "class_weight"])
@pytest.mark.parametrize("form", LABELS)
def test_missing_labels_count_in_distillation_only(form, factors):
    x, y = LABELS[form]()
    procedure = build("ab", 0.5)
    loss = LOSSES.get(form, sparse_cross_entropy)()
    procedure.compile(keras.optimizers.SGD(RATE), loss, run_eagerly=True)
    kernels = [s.get_weights()[0].astype("float64") for s in procedure.students]
    logs = procedure.fit(x, y, batch_size=12, class_weight=factors, verbose=0).history
    weight = np.where(MISSING, 1.0, [(factors or {}).get(int(c), 1.0) for c in Y])
    kernels, losses = step(kernels, 0.5, weight, ~MISSING)
    assert_allclose([logs[f"{n}_loss"][0] for n in "ab"], losses, rtol=1e-5)
    for student, kernel in zip(procedure.students, kernels, strict=True):
        assert_allclose(student.get_weights()[0], kernel, rtol=1e-4, atol=1e-6)


def test_students_share_no_metric():
    given = keras.metrics.SparseCategoricalAccuracy(name="right")
    procedure = build("ab", metrics=[given], run_eagerly=True)
    procedure.students[1].set_weights([np.linalg.pinv(X) @ np.eye(3)[Y]])
    logs = procedure.evaluate(X, Y, return_dict=True, verbose=0)
    for student in procedure.students:
        right = (np.argmax(student(X), axis=-1) == Y).mean()
        assert_allclose(logs[f"{student.name}_right"], right, rtol=1e-6)
    assert logs["a_right"] != logs["b_right"]
    assert float(given.count) == 0


def trained(**fit):
    """A compiled procedure with BatchNormalization, momentum and odd settings."""
    students = [mlp("a", norm="batch"), mlp("b", seed=1, units=5)]
    losses = {"logits": [keras_kd.losses.KnowledgeDistillation(2.0)]}
    procedure = DeepMutualLearning(
        students, losses, keras_kd.schedules.LinearRamp(1.0, 0.25, 4), name="both"
    )
    procedure.distillers[1].student_loss_weight = 0.3
    procedure.distillers[1].distillation_losses[0].temperature = 5.0
    procedure.distillers[0].distillation_loss_weights = [0.7]
    procedure.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        sparse_cross_entropy(),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="right")],
        fidelity_metrics=[keras_kd.metrics.Agreement(k=2)],
        run_eagerly=True,
    )
    procedure.fit(X, Y, batch_size=6, verbose=0, shuffle=False, **fit)
    return procedure


def test_a_saved_procedure_goes_on_as_if_uninterrupted(tmp_path):
    path = tmp_path / "both.keras"
    procedure = trained(callbacks=[keras.callbacks.ModelCheckpoint(path)])
    loaded = keras.models.load_model(path)
    assert json.dumps(loaded.get_config()) == json.dumps(procedure.get_config())
    assert loaded.get_compile_config() == procedure.get_compile_config()
    assert [d.student_loss_weight for d in loaded.distillers[1:]] == [0.3]
    assert loaded.distillers[1].distillation_losses[0].temperature == 5.0
    assert loaded.distillers[0].distillation_loss_weights == [0.7]
    for ours, theirs in zip(loaded.distillers, procedure.distillers, strict=True):
        assert int(ours.optimizer.iterations) == int(theirs.optimizer.iterations) == 2
        assert list(ours.teacher.members) == [
            s for s in loaded.students if s is not ours.student
        ]
    fit = {"batch_size": 6, "verbose": 0, "shuffle": False}
    wanted, found = (p.fit(X, Y, **fit).history for p in (procedure, loaded))
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        assert_allclose(found[name], values, rtol=1e-6, err_msg=name)
    with zipfile.ZipFile(path) as file:  # peers are not stored once more
        assert not [name for name in file.namelist() if "member" in name]


def test_an_exported_procedure_gives_all_students(tmp_path):
    procedure = build("ab")
    procedure.export(tmp_path / "both", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "both")
    served = loaded.serve(X)
    for name, logits in procedure.predict(X, verbose=0).items():
        assert_allclose(served[name], logits, rtol=1e-5)


def test_a_clone_has_new_students():
    procedure = build("ab")
    clone = DeepMutualLearning.from_config(procedure.get_config())
    assert [s.name for s in clone.students] == ["a", "b"]
    assert not clone.compiled
    assert not set(map(id, clone.students)) & set(map(id, procedure.students))
