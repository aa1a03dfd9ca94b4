"""Born-again generations, teacher assistants and self-distillation: who teaches whom,
with what, and how an interrupted run goes on.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small_models import mlp, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.losses import KnowledgeDistillation
from keras_kd.procedures import BornAgain, SelfDistillation, TeacherAssistant

X, Y = toy_data(24)


def born_again(directory=None, seed=0, generations=2, **arguments):
    seeds = iter(range(10 * seed + 1, 10 * seed + 9))
    return BornAgain(
        mlp("teacher", seed=0),
        lambda: mlp("student", seed=next(seeds)),
        generations=generations,
        directory=directory,
        **arguments,
    )


def assistants(directory=None, seed=0):
    models = [
        mlp(name, seed=10 * seed + i, units=units)
        for i, (name, units) in enumerate({"assistant": 6, "student": 4}.items())
    ]
    teacher = mlp("teacher", units=12)
    return TeacherAssistant(teacher, models[0], models[1], directory=directory)


def self_distilled(directory=None, seed=0):
    seeds = iter(range(10 * seed + 1, 10 * seed + 9))
    return SelfDistillation(
        mlp("teacher", seed=10 * seed),
        rounds=2,
        make_student=lambda: mlp("student", seed=next(seeds)),
        directory=directory,
    )


PROCEDURES = {
    "born again": born_again,
    "teacher assistant": assistants,
    "self-distillation": self_distilled,
}


def compiled(procedure, rate=0.1):
    procedure.compile(
        keras.optimizers.SGD(rate, momentum=0.9),
        loss=sparse_cross_entropy(),
        metrics=["accuracy"],
        run_eagerly=True,
    )
    return procedure


FIT = {"batch_size": 24, "epochs": 2, "shuffle": False, "verbose": 0}


class Uninterrupted(NamedTuple):
    """One whole run: how to make its procedure anew, and what came of it."""

    make: Callable
    weights: list  # NumPy arrays, one list a model
    histories: list


@pytest.fixture(scope="module", params=PROCEDURES.values(), ids=PROCEDURES)
def whole(request):
    """Nothing in it is drawn: batches come in order, every model has its seed."""
    procedure = compiled(request.param())
    histories = procedure.fit(X, Y, **FIT)
    return Uninterrupted(request.param, weights_of(procedure._models()), histories)


def weights_of(models):
    return [[w.copy() for w in model.get_weights()] for model in models]


def by_hand(procedure):
    """The same trainings, written out."""
    models = [keras.models.clone_model(model) for model in procedure._models()]
    for copy, model in zip(models, procedure._models(), strict=True):
        copy.set_weights(model.get_weights())
    histories = []
    if isinstance(procedure, SelfDistillation):
        models[0].compile(
            keras.optimizers.SGD(0.1, momentum=0.9),
            sparse_cross_entropy(),
            metrics=["accuracy"],
            run_eagerly=True,
        )
        histories.append(models[0].fit(X, Y, **FIT).history)
    temperature = 1.0 if isinstance(procedure, BornAgain) else 4.0
    weight = 0.0 if isinstance(procedure, SelfDistillation) else 0.5
    for teacher, student in zip(models, models[1:], strict=False):
        distiller = keras_kd.Distiller(
            teacher,
            student,
            KnowledgeDistillation(temperature),
            student_loss_weight=weight,
        )
        distiller.compile(
            keras.optimizers.SGD(0.1, momentum=0.9),
            sparse_cross_entropy(),
            metrics=["accuracy"],
            run_eagerly=True,
        )
        histories.append(distiller.fit(X, Y, **FIT).history)
    return models, histories


def assert_same_weights(models, others):
    for ours, theirs in zip(models, others, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert_allclose(a, b, rtol=1e-6)


def test_each_model_is_distilled_from_the_one_before(whole):
    models, wanted = by_hand(compiled(whole.make()))
    assert len(whole.histories) == len(wanted)
    for found, want in zip(whole.histories, wanted, strict=True):
        # On labels alone, plain Keras tells all but the label loss by itself.
        known = set() if "student_loss" in want else {"student_loss"}
        assert set(found) == {*want, *known}
        for name in want:
            assert_allclose(found[name], want[name], rtol=1e-6)
    assert_same_weights(whole.weights, weights_of(models))


class Stop(Exception):
    """What interrupts a run."""


def stop_at(epoch):
    """Raises in the epoch of this number, counted over all stages."""
    epochs = itertools.count()

    def stop(_, logs):
        if next(epochs) == epoch:  # before it is backed up
            raise Stop

    return keras.callbacks.LambdaCallback(on_epoch_end=stop)


@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupted_run_goes_on(whole, epoch, tmp_path):
    first = compiled(whole.make(tmp_path))
    with pytest.raises(Stop):
        first.fit(X, Y, callbacks=[stop_at(epoch)], **FIT)
    second, epochs = compiled(whole.make(tmp_path)), []
    count = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda i, logs: epochs.append(i)
    )
    resumed = second.fit(X, Y, callbacks=[count], **FIT)
    assert len(epochs) == 2 * len(whole.histories) - epoch
    weights = weights_of(second._models())
    assert_same_weights(whole.weights, weights)
    wanted = whole.histories[-1]["loss"][-1]
    assert_allclose(resumed[-1]["loss"][-1], wanted, rtol=1e-6)
    again = second.fit(X, Y, **FIT)  # all is done: files are read, nothing trains
    for a, b in zip(weights[-1], second._models()[-1].get_weights(), strict=True):
        assert_array_equal(a, b)
    assert again[0].keys() == whole.histories[0].keys()


def test_stages_share_no_state():
    losses = [KnowledgeDistillation(2.0)]
    procedure = compiled(born_again(distillation_losses=losses))
    procedure.fit(X, Y, **FIT)
    assert procedure.distillation_losses is losses
    optimizer = procedure._compile_arguments["optimizer"]
    assert not optimizer.built


def test_the_ensemble_of_generations_averages_them():
    procedure = compiled(born_again())
    procedure.fit(X, Y, **FIT)
    probs = [keras.ops.softmax(student(X)) for student in procedure.students]
    found = keras.ops.softmax(procedure.ensemble()(X))
    assert_allclose(found, np.mean(probs, axis=0), rtol=1e-5)


def test_a_trained_teacher_is_not_trained_again():
    model = mlp("teacher")
    before = [w.copy() for w in model.get_weights()]
    procedure = compiled(SelfDistillation(model, train_teacher=False))
    assert len(procedure.fit(X, Y, **FIT)) == 1
    for a, b in zip(before, model.get_weights(), strict=True):
        assert_array_equal(a, b)


def test_stages_are_announced(capsys):
    compiled(born_again()).fit(X, Y, batch_size=24, epochs=1, verbose=2)
    printed = capsys.readouterr().out
    assert "Stage 1 of 2: teacher to student" in printed
    assert "Stage 2 of 2: student to student" in printed


@pytest.mark.parametrize("make", PROCEDURES.values(), ids=PROCEDURES)
def test_students_learn_the_digits(make, monkeypatch):
    from sklearn.datasets import load_digits

    data = load_digits()
    x, y = (data.data / 16).astype("float32"), data.target
    small = globals()["mlp"]
    monkeypatch.setitem(
        globals(),
        "mlp",
        lambda name, **kw: small(
            name,
            **{**kw, "units": 3 * kw.get("units", 8), "classes": 10, "features": 64},
        ),
    )
    procedure = make()
    teacher = procedure._models()[0]
    if not isinstance(procedure, SelfDistillation):
        teacher.compile(keras.optimizers.Adam(3e-2), sparse_cross_entropy())
        teacher.fit(x, y, batch_size=128, epochs=5, verbose=0)
    procedure.compile(
        keras.optimizers.Adam(3e-2), sparse_cross_entropy(), metrics=["accuracy"]
    )
    last = procedure.fit(x, y, batch_size=128, epochs=5, verbose=0)[-1]
    assert last["distillation_loss"][-1] < last["distillation_loss"][0]
    assert last["accuracy"][-1] > 0.85
    assert last["agreement"][-1] > 0.85
