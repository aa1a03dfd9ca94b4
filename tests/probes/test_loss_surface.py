"""Oracles: NumPy in float64, closed forms, and models called at weights set by hand."""

import os
import re

import keras
import matplotlib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax
from small_models import digest, mlp, scattered, sparse_cross_entropy, toy_data
from two_devices import on_two_devices

import keras_kd
from keras_kd.losses import KnowledgeDistillation
from keras_kd.probes import _weights_pass as weights_pass
from keras_kd.probes import loss_surface, plane_through, random_line, random_plane

QUIET = {"verbose": 0}


def three(norm=None):
    return [scattered(mlp(n, norm=norm), seed=i) for i, n in enumerate("tsi")]


def on_plane(**arguments):
    teacher, student, initial = three()
    x, y = toy_data(50)
    arguments = {"loss": sparse_cross_entropy(), "resolution": 3, **QUIET, **arguments}
    return loss_surface(teacher, student, x, y, initial=initial, **arguments)


def cross_entropy(model, x, y):
    logits = np.asarray(model(x), "float64")
    return -log_softmax(logits, axis=-1)[np.arange(len(y)), y].mean()


@pytest.mark.parametrize("batch_size", [50, 16])
def test_anchors_have_the_loss_and_scores_of_the_models(batch_size):
    surface = on_plane(batch_size=batch_size)
    x, y = toy_data(50)
    models = dict(zip(("teacher", "student", "initial"), three(), strict=True))
    said = {name: np.asarray(m(x)).argmax(-1) for name, m in models.items()}
    for name, point in surface.anchors.items():
        assert_allclose(point.loss, cross_entropy(models[name], x, y), rtol=1e-6)
        assert point.accuracy == np.mean(said[name] == y)
        assert point.agreement == np.mean(said[name] == said["teacher"])


def test_loss_at_anchors_is_exactly_that_of_the_models_own_weights():
    """Through the same pass, at weights that are no weighted sum."""
    surface = on_plane()
    x, y = toy_data(50)
    for name, model in zip(surface.anchors, three(), strict=True):
        alone = loss_surface(
            three()[0], model, x, y, section=random_line(model), resolution=2,
            loss=sparse_cross_entropy(), **QUIET
        )  # fmt: skip
        assert surface.anchors[name].loss == alone.anchors["student"].loss


def test_a_distillation_loss_is_zero_at_the_teacher():
    surface = on_plane(loss=KnowledgeDistillation(temperature=4.0))
    assert surface.anchors["teacher"].loss == 0.0
    assert surface.anchors["teacher"].agreement == 1.0
    assert surface.loss_name == "knowledge_distillation"


def test_a_point_of_the_grid_is_the_model_at_those_weights():
    teacher, student, initial = three(norm="batch")
    x, y = toy_data(50)
    surface = loss_surface(
        teacher, student, x, y, initial=initial, loss=sparse_cross_entropy(),
        resolution=(4, 3), **QUIET
    )  # fmt: skip
    assert surface.loss.shape == (3, 4)
    plane = plane_through(teacher, student, initial)
    for row, column in [(0, 1), (2, 0), (1, 3)]:
        point = (surface.coordinates[0][column], surface.coordinates[1][row])
        student.set_weights(
            [
                np.maximum(w, 0) if "variance" in v.path else w
                for v, w in zip(student.weights, plane.weights_at(point), strict=True)
            ]
        )
        assert_allclose(
            surface.loss[row, column], cross_entropy(student, x, y), rtol=1e-5
        )


def test_of_a_linear_model_with_squared_loss_it_is_the_known_quadratic():
    models = [
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, use_bias=False)])
        for _ in range(3)
    ]
    generator = np.random.default_rng(0)
    for model in models:
        model.set_weights([generator.normal(size=(4, 2))])
    x, y = generator.normal(size=(30, 4)), generator.normal(size=(30, 2))
    surface = loss_surface(
        models[0], models[1], x.astype("float32"), y.astype("float32"),
        initial=models[2], loss="mse", resolution=5, batch_size=8, **QUIET
    )  # fmt: skip
    t, s, i = (np.asarray(m.get_weights()[0], "float64") for m in models)
    e1 = (s - t) / np.linalg.norm(s - t)
    u = (i - t) - np.vdot(i - t, e1) * e1
    e2 = u / np.linalg.norm(u)
    gradient = x.T @ (x @ t - y) / y.size * 2
    along = [x @ e1, x @ e2]
    curvature = [[2 * np.vdot(p, q) / y.size for p in along] for q in along]
    a, b = np.meshgrid(*surface.coordinates)
    place = np.stack([a, b])
    want = np.mean((x @ t - y) ** 2) + a * np.vdot(gradient, e1)
    want += b * np.vdot(gradient, e2)
    want += 0.5 * np.einsum("iab,ij,jab->ab", place, curvature, place)
    assert_allclose(surface.loss, want, rtol=1e-5)
    assert_allclose(surface.anchors["student"].coordinates, [np.linalg.norm(s - t), 0])
    assert_allclose(
        surface.anchors["initial"].coordinates, [np.vdot(i - t, e1), np.linalg.norm(u)]
    )


def test_without_initial_weights_it_is_the_line_of_both():
    teacher, student, _ = three()
    surface = loss_surface(teacher, student, toy_data(9)[0], resolution=7, **QUIET)
    assert surface.loss.shape == (7,)
    assert list(surface.anchors) == ["teacher", "student"]
    assert np.isnan(surface.accuracy).all()


def test_on_a_random_plane_the_teacher_may_be_an_ensemble_of_another_network():
    student = mlp("s")
    members = [mlp("a", units=5, seed=1), mlp("b", units=7, seed=2)]
    teacher = keras_kd.TeacherEnsemble(members)
    x, y = toy_data(20)
    surface = loss_surface(
        teacher, student, x, y, section=random_plane(student), resolution=3, **QUIET
    )
    said = [np.asarray(m(x)).argmax(-1) for m in (teacher, student)]
    assert surface.anchors["student"].agreement == np.mean(said[0] == said[1])
    assert surface.loss[1, 1] == surface.anchors["student"].loss


def test_a_student_that_ends_in_a_softmax_has_the_same_surface():
    teacher, student, _ = three()
    softened = [
        keras.Sequential([m, keras.layers.Softmax()]) for m in (teacher, student)
    ]
    x = toy_data(20)[0]
    want, found = (
        loss_surface(t, s, x, resolution=3, **QUIET)
        for t, s in [(teacher, student), softened]
    )
    assert_allclose(found.loss, want.loss, atol=1e-5)


def test_unlabelled_examples_count_in_no_label_loss():
    teacher, student, _ = three()
    x, y = toy_data(20)
    arguments = {"loss": sparse_cross_entropy(), "resolution": 2, **QUIET}
    some = np.where(np.arange(20) < 12, y, keras_kd.UNLABELED)
    found = loss_surface(teacher, student, x, some, **arguments)
    want = loss_surface(teacher, student, x[:12], y[:12], **arguments)
    assert_allclose(found.loss, want.loss, rtol=1e-6)
    assert_allclose(found.accuracy, want.accuracy)


def test_statistics_are_estimated_anew_on_the_whole_sample():
    teacher, student, _ = three(norm="batch")
    x, y = toy_data(50)
    surface = loss_surface(
        teacher, student, x, y, loss=sparse_cross_entropy(), resolution=2,
        batch_size=16, reestimate_statistics=True, **QUIET
    )  # fmt: skip
    hidden = x @ student.get_layer("hidden").kernel + student.get_layer("hidden").bias
    norm = student.get_layer("normed")
    norm.moving_mean.assign(np.mean(hidden, axis=0))
    norm.moving_variance.assign(np.var(hidden, axis=0))
    want = cross_entropy(student, x, y)
    assert_allclose(surface.anchors["student"].loss, want, rtol=1e-5)


@pytest.mark.parametrize("norm", [None, "batch"])
def test_models_stay_as_they_were(norm):
    models = three(norm)
    before = [digest(m) for m in models]
    loss_surface(
        models[0], models[1], toy_data(20)[0], initial=models[2], resolution=2,
        reestimate_statistics=norm == "batch", **QUIET
    )  # fmt: skip
    assert [digest(m) for m in models] == before


def interrupt_after(monkeypatch, points):
    """Ctrl-C while point number `points` is computed."""
    original = weights_pass.WeightsPass.__call__
    calls = []

    def call(self, coefficients):
        calls.append(coefficients)
        if len(calls) > points:
            raise KeyboardInterrupt
        return original(self, coefficients)

    monkeypatch.setattr(weights_pass.WeightsPass, "__call__", call)
    return calls


def test_an_interrupted_surface_leaves_models_alone_and_resumes(tmp_path, monkeypatch):
    models = three()
    before = [digest(m) for m in models]
    x = toy_data(20)[0]
    path = tmp_path / "surface.npz"

    def run():
        return loss_surface(
            models[0], models[1], x, initial=models[2], resolution=3, path=path, **QUIET
        )

    with monkeypatch.context() as patch:
        interrupt_after(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert [digest(m) for m in models] == before
    assert sorted(os.listdir(tmp_path)) == ["surface.npz"]
    calls = interrupt_after(monkeypatch, 99)
    resumed = run()
    assert len(calls) == 3 + 9 - 5
    whole = loss_surface(
        models[0], models[1], x, initial=models[2], resolution=3, **QUIET
    )
    assert_array_equal(resumed.loss, whole.loss)
    again = run()
    assert_array_equal(again.agreement, whole.agreement)
    assert len(calls) == 7 + 12


def test_the_file_of_another_surface_is_refused(tmp_path):
    path = tmp_path / "surface.npz"
    on_plane(path=path)
    for other in ({"loss": None}, {"resolution": 4}, {"batch_size": 7}):
        with pytest.raises(ValueError, match="another surface"):
            on_plane(path=path, **other)
    path.write_bytes(b"not a file of numbers")
    with pytest.raises(ValueError, match="not a file of a loss surface"):
        on_plane(path=path)


@pytest.mark.distributed
def test_two_replicas_give_the_same_surface():
    def run():
        teacher, student, initial = three("batch")
        x, y = toy_data(21)
        return loss_surface(
            teacher, student, x, y, initial=initial, loss=sparse_cross_entropy(),
            resolution=2, batch_size=8, **QUIET
        )  # fmt: skip

    one = run()
    with on_two_devices().scope():
        two = run()
    for value in ("loss", "agreement", "accuracy"):
        assert_allclose(getattr(two, value), getattr(one, value), rtol=1e-5)


@pytest.mark.distributed
def test_two_replicas_estimate_the_same_statistics():
    def run():
        teacher, student, _ = three("batch")
        return loss_surface(
            teacher, student, toy_data(17)[0], resolution=2, batch_size=8,
            reestimate_statistics=True, **QUIET
        )  # fmt: skip

    one = run()
    with on_two_devices().scope():
        two = run()
    assert_allclose(two.loss, one.loss, rtol=1e-4)


def test_pictures_name_the_anchors():
    axes = on_plane().plot(value="agreement")
    assert {t.get_text() for t in axes.texts} == {"teacher", "student", "initial"}
    assert axes.get_title() == "agreement, 50 examples"
    matplotlib.pyplot.close("all")


def test_dicts_of_inputs_are_taken():
    teacher, student, _ = three()
    x = toy_data(9)[0]
    found = loss_surface(teacher, student, {"x": x, "more": x}, resolution=2, **QUIET)
    want = loss_surface(teacher, student, x, resolution=2, **QUIET)
    assert_array_equal(found.loss, want.loss)


def test_a_progress_bar_counts_points(capfd):
    on_plane(verbose=1)
    assert re.search(r"12/12 .*point", capfd.readouterr().err)
