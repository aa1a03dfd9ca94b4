"""Weights kept along training."""

import os

import keras
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from small_models import AtEpochEnd, mlp, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.callbacks import CheckpointTrajectory

X, Y = toy_data(12)  # 3 steps an epoch


def compiled(seed=0):
    model = mlp("m", seed=seed, norm="batch")
    model.compile("sgd", sparse_cross_entropy())
    return model


def fit(model, *callbacks, epochs=2, **arguments):
    model.fit(
        X, Y, batch_size=4, epochs=epochs, verbose=0, callbacks=list(callbacks),
        **arguments,
    )  # fmt: skip
    return model


def steps(folder):
    return [s.step for s in CheckpointTrajectory.load(folder)]


def test_snapshots_are_the_weights_of_their_moment(tmp_path):
    model = compiled()
    initial = [w.copy() for w in model.get_weights()]
    seen = AtEpochEnd(lambda: [w.copy() for w in model.get_weights()])
    fit(model, CheckpointTrajectory(tmp_path), seen)
    found = CheckpointTrajectory.load(tmp_path)
    assert [(s.step, s.epoch) for s in found] == [(0, 0), (3, 1), (6, 2)]
    for snapshot, want in zip(found, [initial, *seen.seen], strict=True):
        for a, b in zip(snapshot.weights, want, strict=True):
            assert_array_equal(a, b)
            assert a.dtype == b.dtype
    assert not [name for name in os.listdir(tmp_path) if ".part" in name]


@pytest.mark.parametrize(
    ("arguments", "epochs", "want"),
    [
        ({"every": 2}, 5, [0, 6, 12, 15]),
        ({"every": None, "steps": [1, 5]}, 2, [0, 1, 5, 6]),
        ({"every": 1, "steps": [3, 4]}, 2, [0, 3, 4, 6]),
    ],
)
def test_epochs_and_steps_are_chosen(arguments, epochs, want, tmp_path):
    fit(compiled(), CheckpointTrajectory(tmp_path, **arguments), epochs=epochs)
    assert steps(tmp_path) == want


def test_of_a_distiller_it_keeps_the_student(tmp_path):
    student = mlp("s", seed=1)
    distiller = keras_kd.Distiller(
        mlp("t"), student, keras_kd.losses.KnowledgeDistillation()
    )
    distiller.compile("sgd", sparse_cross_entropy())
    fit(distiller, CheckpointTrajectory(tmp_path), epochs=1)
    last = CheckpointTrajectory.load(tmp_path)[-1]
    assert all(map(np.array_equal, last.weights, student.get_weights()))


def test_training_that_goes_on_adds_to_the_folder(tmp_path):
    model = compiled()
    fit(model, CheckpointTrajectory(tmp_path))
    fit(model, CheckpointTrajectory(tmp_path), epochs=3, initial_epoch=2)
    assert [(s.step, s.epoch) for s in CheckpointTrajectory.load(tmp_path)] == [
        (0, 0), (3, 1), (6, 2), (9, 3),
    ]  # fmt: skip


def test_another_run_does_not_mix_with_the_first(tmp_path):
    fit(compiled(), CheckpointTrajectory(tmp_path))
    with pytest.raises(ValueError, match="another run"):
        fit(compiled(1), CheckpointTrajectory(tmp_path))


def test_training_that_stops_early_keeps_its_last_weights(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    fit(compiled(), Stop(), CheckpointTrajectory(tmp_path, every=4), epochs=9)
    assert steps(tmp_path) == [0, 3]


def test_a_folder_without_snapshots_and_a_broken_one_are_told(tmp_path):
    with pytest.raises(ValueError, match="no snapshots"):
        CheckpointTrajectory.load(tmp_path)
    (tmp_path / "weights_0000000001.npz").write_bytes(b"broken")
    with pytest.raises(ValueError, match="not a snapshot"):
        CheckpointTrajectory.load(tmp_path)


def test_an_interrupted_write_leaves_no_half_file(tmp_path, monkeypatch):
    keeper = CheckpointTrajectory(tmp_path)
    fit(compiled(), keeper, epochs=1)

    def interrupted(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        keeper.on_epoch_end(4)
    assert steps(tmp_path) == [0, 3]
