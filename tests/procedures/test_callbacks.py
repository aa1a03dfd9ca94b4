"""Callbacks of several stages: each stage starts with the state that they had."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import mlp, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.procedures import BornAgain, SelfDistillation, TeacherAssistant
from keras_kd.procedures._callbacks import callbacks_by_stage

X, Y = toy_data(24)
FIT = {"batch_size": 24, "epochs": 2, "verbose": 0}

PROCEDURES = {
    "born again": lambda: BornAgain(mlp("teacher"), iter_of_students(), 2),
    "teacher assistant": lambda: TeacherAssistant(
        mlp("teacher"), mlp("one", seed=1), mlp("two", seed=2)
    ),
    "self-distillation": lambda: SelfDistillation(
        mlp("zero"), make_student=iter_of_students(), rounds=2
    ),
}


def iter_of_students():
    students = iter([mlp("one", seed=1), mlp("two", seed=2)])
    return lambda: next(students)


def compiled(procedure):
    procedure.compile(
        keras.optimizers.SGD(0.1),
        sparse_cross_entropy(),
        metrics=["accuracy"],
        run_eagerly=True,
    )
    return procedure


class Patience(keras.callbacks.Callback):
    """A user's own, with its state in a list, an array and another callback."""

    def __init__(self):
        super().__init__()
        self.losses = []
        self.total = np.zeros(1)
        self.inner = keras.callbacks.EarlyStopping("loss")
        self.began_with = None

    def on_train_begin(self, logs=None):
        self.began_with = (len(self.losses), float(self.total[0]), self.inner.wait)

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["loss"])
        self.total += 1
        self.inner.wait += 1


@pytest.mark.parametrize("make", PROCEDURES.values(), ids=PROCEDURES)
def test_each_stage_starts_afresh_and_the_files_are_of_the_last(make, tmp_path):
    procedure = compiled(make())
    # No stage reaches the threshold that the first one would leave behind.
    best = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", "stage", save_best_only=True, mode="min"
    )
    stages, began, patience = [], [], Patience()

    def begin(logs):
        stages.append(len(stages))
        began.append(patience.began_with)

    def end(epoch, logs):
        logs["stage"] = len(stages)  # worse and worse

    tell = keras.callbacks.LambdaCallback(on_train_begin=begin, on_epoch_end=end)
    kept = keras.callbacks.History()
    histories = procedure.fit(X, Y, callbacks=[patience, tell, best, kept], **FIT)
    assert began == [(0, 0.0, 0)] * len(histories)
    assert keras.models.load_model(tmp_path / "best.keras").student.name == "two"
    assert [len(history["loss"]) for history in histories] == [2] * len(histories)
    assert patience.losses == kept.history["loss"] == histories[-1]["loss"]
    assert best.best == len(stages)


KERAS = {
    "EarlyStopping": lambda: keras.callbacks.EarlyStopping(
        "loss", restore_best_weights=True
    ),
    "ReduceLROnPlateau": lambda: keras.callbacks.ReduceLROnPlateau("loss", patience=1),
    "TensorBoard": lambda: keras.callbacks.TensorBoard("logs"),
    "CSVLogger": lambda: keras.callbacks.CSVLogger("log.csv"),
    "SwapEMAWeights": lambda: keras.callbacks.SwapEMAWeights(),
    "FidelityMonitor": lambda: keras_kd.callbacks.FidelityMonitor(
        {"test": (X, Y)}, teacher=mlp("t"), metrics=[keras_kd.metrics.Agreement(k=2)]
    ),
    "CheckpointTrajectory": lambda: keras_kd.callbacks.CheckpointTrajectory("files"),
    "LossSurfaceProbe": lambda: keras_kd.callbacks.LossSurfaceProbe(X, Y, resolution=3),
}


@pytest.mark.parametrize("name", KERAS)
def test_callbacks_of_keras_and_ours_can_be_given_to_stages(name):
    callback = KERAS[name]()
    attributes = dict(vars(callback))
    callbacks_of = callbacks_by_stage([callback], 2)
    for stage in (1, 2):
        assert callbacks_of(stage) == [callback]
        assert vars(callback).keys() == attributes.keys()
        callback.set_model(None)
        callback.wait = callback.extra = stage


def test_what_is_no_state_stays_the_same_object():
    callback = keras.callbacks.Callback()
    callback.other = keras.callbacks.Callback()
    callback.other.mine = callback
    same = {
        "model": mlp("m"),
        "metric": keras.metrics.Mean(),
        "data": tf.data.Dataset.from_tensor_slices(X),
        "function": lambda x: x,
        "method": callback.set_params,
    }
    vars(callback).update(same)
    callbacks_by_stage([callback, callback.other], 2)(1)
    assert all(vars(callback)[name] is thing for name, thing in same.items())
    assert callback.other.mine is callback


def test_what_cannot_be_copied_is_refused_before_anything_trains(tmp_path):
    class Log(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.file = open(tmp_path / "log", "w")  # noqa: SIM115

    log, before = Log(), [w.copy() for w in mlp("zero").get_weights()]
    procedure = compiled(SelfDistillation(mlp("zero")))
    with log.file:
        with pytest.raises(TypeError, match="Log.* cannot be copied.*lambda"):
            procedure.fit(X, Y, callbacks=[log], **FIT)
        for ours, wanted in zip(procedure.models[0].get_weights(), before, strict=True):
            np.testing.assert_array_equal(ours, wanted)
        given = []
        procedure.fit(X, Y, callbacks=lambda stage: given.append(stage) or log, **FIT)
    assert given == [0, 1]


def test_a_single_stage_takes_any_callback():
    callback = keras.callbacks.Callback()
    callback.lock = (i for i in range(3))
    assert callbacks_by_stage(callback, 1)(1) == [callback]


def test_a_callback_list_is_refused():
    with pytest.raises(TypeError, match="CallbackList.*the list of callbacks"):
        callbacks_by_stage(keras.callbacks.CallbackList(), 2)
