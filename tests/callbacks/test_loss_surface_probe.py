"""Loss surfaces of the student while it trains."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from small_models import digest, mlp, scattered, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.callbacks import LossSurfaceProbe
from keras_kd.losses import KnowledgeDistillation
from keras_kd.probes import interpolation_path

X, Y = toy_data(40)


def fit(probe, epochs=1, *, units=8, teacher=None, student=None, learning_rate=0.1):
    teacher = teacher or mlp("t", seed=3)
    student = student or mlp("s", seed=1, units=units)
    distiller = keras_kd.Distiller(teacher, student, KnowledgeDistillation())
    distiller.compile(keras.optimizers.SGD(learning_rate), sparse_cross_entropy())
    history = distiller.fit(
        X, Y, batch_size=20, epochs=epochs, verbose=0, callbacks=[probe]
    )
    return distiller, history.history


def written(folder):
    """`{(tag, step): value}`; a picture's value is its shape."""
    found = {}
    for path in folder.iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                tensor = value.tensor
                if tensor.string_val:
                    picture = tf.io.decode_png(tensor.string_val[2])
                    found[value.tag, event.step] = tuple(picture.shape)
                else:
                    found[value.tag, event.step] = tf.make_ndarray(tensor).item()
    return found


def test_the_barrier_is_that_of_the_path_between_both():
    """A teacher with its hidden units in another order is the same function."""
    teacher, student = scattered(mlp("t"), seed=3), mlp("s", seed=1)
    order = np.roll(np.arange(8), 3)
    w1, b1, w2, b2 = teacher.get_weights()
    student.set_weights([w1[:, order], b1[order], w2[order], b2])
    probe = LossSurfaceProbe(X, Y, resolution=61)
    _, logs = fit(probe, teacher=teacher, student=student, learning_rate=0.0)
    path = interpolation_path(teacher, student, X, points=101, verbose=0)
    assert path.barrier > 0.1
    assert_allclose(logs["loss_surface/barrier"], path.barrier, rtol=2e-2)


def test_pictures_state_the_limit_of_the_sample(tmp_path):
    fit(LossSurfaceProbe(X, Y, tmp_path, limit=30, resolution=3, every=2), epochs=3)
    found = written(tmp_path)
    tags = ("loss", "agreement", "accuracy", "barrier", "seconds")
    assert set(found) == {
        (f"loss_surface/30_examples/{tag}", epoch) for tag in tags for epoch in (1, 2)
    }
    assert found["loss_surface/30_examples/loss", 1][2] == 4


def test_without_labels_there_is_no_picture_of_accuracy(tmp_path):
    probe = LossSurfaceProbe(X, log_dir=tmp_path, section="plane", resolution=2)
    _, logs = fit(probe)
    tags = {tag.split("/")[-1] for tag, _ in written(tmp_path)}
    assert tags == {"loss", "agreement", "seconds"}
    assert logs["loss_surface/seconds"][0] > 0


@pytest.mark.parametrize("section", ["random_line", "random_plane"])
def test_random_sections_take_any_student(section):
    _, logs = fit(LossSurfaceProbe(X, section=section, resolution=2), units=5)
    assert list(logs)[-1] == "loss_surface/seconds"


def test_it_compiles_once_and_changes_nothing():
    probe = LossSurfaceProbe(X, Y, section="plane", resolution=2)
    distiller, _ = fit(probe, epochs=2)
    assert probe._look._forward._sums.experimental_get_tracing_count() == 1
    before = [digest(distiller.student), digest(distiller.teacher.members[0])]
    probe.on_epoch_end(0)
    assert [digest(distiller.student), digest(distiller.teacher.members[0])] == before


def test_a_student_that_has_not_moved_does_not_stop_the_training():
    with pytest.warns(UserWarning, match="No loss surface after epoch 1"):
        _, logs = fit(LossSurfaceProbe(X, section="plane"), learning_rate=0.0)
    assert "loss_surface/seconds" not in logs


def test_sections_through_the_teacher_need_its_architecture():
    with pytest.raises(ValueError, match=r"same\s+architecture.*random_line"):
        fit(LossSurfaceProbe(X), units=5)
    ensemble = keras_kd.TeacherEnsemble([mlp("a"), mlp("b")])
    with pytest.raises(ValueError, match="ensemble"):
        fit(LossSurfaceProbe(X), teacher=ensemble)


def test_a_plain_model_needs_a_teacher():
    student = mlp("s")
    student.compile("sgd", sparse_cross_entropy())
    with pytest.raises(ValueError, match="Pass `teacher"):
        student.fit(X, Y, verbose=0, callbacks=[LossSurfaceProbe(X)])
    probe = LossSurfaceProbe(X, teacher=mlp("t", seed=2), resolution=2)
    logs = student.fit(X, Y, verbose=0, callbacks=[probe]).history
    assert np.isfinite(logs["loss_surface/barrier"]).all()
