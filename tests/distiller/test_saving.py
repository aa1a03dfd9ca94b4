"""Saving and going on: whole distillers, students alone, checkpoints, resumed runs."""

import json
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from small_models import mlp, numpy_weights, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.losses import FeatureMatching, KnowledgeDistillation

X, Y = toy_data(24)
BATCH = 8


@keras.saving.register_keras_serializable(package=__name__)
class Subclassed(keras.Model):
    def __init__(self, units=5, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.hidden = keras.layers.Dense(units, activation="tanh", name="features")
        self.norm = keras.layers.BatchNormalization()
        self.head = keras.layers.Dense(3)

    def call(self, inputs, training=None):
        return self.head(self.norm(self.hidden(inputs), training=training))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def sequential(name, units=7):
    layers = [
        keras.Input((4,)),
        keras.layers.Dense(units, activation="relu", name="features"),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(3),
    ]
    return keras.Sequential(layers, name=name)


def subclassed(name):
    model = Subclassed(name=name)
    model(X[:1])
    return model


def unlike_members():
    return [mlp("one", units=9, norm="batch"), sequential("two"), subclassed("three")]


STUDENTS = {
    "functional": lambda: mlp("student", seed=1, units=6, norm="batch"),
    "sequential": lambda: sequential("student", units=6),
    "subclassed": lambda: subclassed("student"),
}


def compiled(distiller, **options):
    distiller.compile(
        optimizer=keras.optimizers.SGD(0.05, momentum=0.9),
        loss=sparse_cross_entropy(),
        metrics=["accuracy"],
        fidelity_metrics=[keras_kd.metrics.Agreement(k=2)],
        **options,
    )
    return distiller


def with_everything(kind="functional", **options):
    """Unlike members, a projector, BatchNormalization, momentum, odd settings."""
    teacher = keras_kd.TeacherEnsemble(unlike_members(), weights=[0.5, 0.2, 0.3])
    losses = [
        KnowledgeDistillation(temperature=2.5, name="kd"),
        FeatureMatching("one.features", "features"),
    ]
    distiller = keras_kd.Distiller(teacher, STUDENTS[kind](), losses, [1.5, 0.25], 0.4)
    return compiled(distiller, **options)


def train(distiller, epochs=2, batch_size=BATCH, **arguments):
    fitted = distiller.fit(
        X,
        Y,
        batch_size=batch_size,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        **arguments,
    )
    return fitted.history


def assert_same_weights(ours, theirs, **tolerance):
    tolerance = tolerance or {"rtol": 0, "atol": 0}
    ours, theirs = numpy_weights(ours), numpy_weights(theirs)
    assert len(ours) > 0
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, **tolerance)


functional_and_slow_others = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind == "functional" else [pytest.mark.slow])
        for kind in STUDENTS
    ],
)


@functional_and_slow_others
def test_a_loaded_distiller_goes_on_as_if_uninterrupted(kind, tmp_path):
    distiller = with_everything(kind, run_eagerly=kind != "functional")
    train(distiller)
    distiller.save(tmp_path / "d.keras")
    loaded = keras.saving.load_model(tmp_path / "d.keras")
    assert_same_weights(loaded, distiller)
    uninterrupted, resumed = train(distiller), train(loaded)
    assert list(uninterrupted) == list(resumed)
    for name, values in uninterrupted.items():
        np.testing.assert_allclose(resumed[name], values, rtol=1e-6, err_msg=name)
    assert_same_weights(loaded, distiller, rtol=1e-6, atol=1e-7)
    for one, other in zip(
        loaded.optimizer.variables, distiller.optimizer.variables, strict=True
    ):
        np.testing.assert_allclose(np.array(one), np.array(other), rtol=1e-5, atol=1e-7)


def test_a_loaded_distiller_has_the_teacher_and_all_settings(tmp_path):
    distiller = with_everything()
    train(distiller, epochs=1)
    distiller.student_loss_weight = 0.9
    distiller.distillation_losses[0].temperature = 7.0
    distiller.save(tmp_path / "d.keras")
    loaded = keras.saving.load_model(tmp_path / "d.keras")
    np.testing.assert_array_equal(loaded.teacher(X), distiller.teacher(X))
    np.testing.assert_array_equal(loaded(X), distiller.student(X))
    assert loaded.teacher.member_weights == [0.5, 0.2, 0.3]
    assert loaded.student_loss_weight == 0.9
    assert loaded.distillation_loss_weights == [1.5, 0.25]
    assert loaded.distillation_losses[0].temperature == 7.0
    assert loaded.distillation_losses[0].name == "kd"
    assert [type(loss) for loss in loaded.distillation_losses] == [
        KnowledgeDistillation,
        FeatureMatching,
    ]
    assert json.dumps(loaded.get_config()) == json.dumps(distiller.get_config())


def test_an_uncompiled_distiller_and_one_without_a_teacher_load(tmp_path):
    student = STUDENTS["functional"]()
    distiller = keras_kd.Distiller(None, student, KnowledgeDistillation())
    distiller.save(tmp_path / "d.keras")
    loaded = keras.saving.load_model(tmp_path / "d.keras")
    assert loaded.teacher is None
    assert not loaded.compiled
    assert_same_weights(loaded, distiller)


def test_a_compiled_teacher_is_saved_without_its_compile_state(tmp_path):
    teacher = mlp("teacher")
    teacher.compile("adam", loss="mse", metrics=["mae"])
    distiller = keras_kd.Distiller(teacher, mlp("student"), KnowledgeDistillation())
    train(compiled(distiller), epochs=1)
    distiller.save(tmp_path / "d.keras")
    loaded = keras.saving.load_model(tmp_path / "d.keras")
    assert not loaded.teacher.members[0].compiled
    np.testing.assert_array_equal(loaded.teacher(X), teacher(X))


def test_losses_of_keras_load_and_go_on(tmp_path):
    losses = [
        keras.distillation.LogitsDistillation(
            temperature=2.0, loss=keras.losses.KLDivergence()
        ),
        keras.distillation.FeatureDistillation(
            loss="mse", teacher_layer_name="features", student_layer_name="features"
        ),
    ]
    distiller = keras_kd.Distiller(mlp("teacher"), mlp("student"), losses)
    compiled(distiller, run_eagerly=True)
    train(distiller)
    distiller.save(tmp_path / "d.keras")
    loaded = keras.saving.load_model(tmp_path / "d.keras")
    train(distiller)
    train(loaded)
    assert_same_weights(loaded, distiller, rtol=1e-6, atol=1e-7)


@keras.saving.register_keras_serializable(package=__name__)
class LogitGap(keras_kd.losses.DistillationLoss):
    """A user's loss with an argument."""

    def __init__(self, power=2.0, name="logit_gap", **kwargs):
        super().__init__(name=name, **kwargs)
        self.power = power

    def call(self, teacher_outputs, student_outputs):
        gap = keras.ops.abs(teacher_outputs - student_outputs)
        return keras.ops.mean(gap**self.power, axis=-1)

    def get_config(self):
        return {**super().get_config(), "power": self.power}


def test_a_registered_loss_of_the_users_loads(tmp_path):
    loss = LogitGap(power=1.5)
    distiller = keras_kd.Distiller(mlp("teacher"), mlp("student"), loss)
    compiled(distiller, run_eagerly=True)
    train(distiller)
    distiller.save(tmp_path / "d.keras")
    loaded = keras.saving.load_model(tmp_path / "d.keras")
    assert loaded.distillation_losses[0].power == 1.5
    train(distiller)
    train(loaded)
    assert_same_weights(loaded, distiller, rtol=1e-6, atol=1e-7)


def test_the_saved_student_loads_without_keras_kd(tmp_path):
    students = {}
    for kind in ("functional", "sequential"):
        distiller = with_everything(kind, run_eagerly=True)
        train(distiller, epochs=1)
        distiller.student.save(tmp_path / f"{kind}.keras")
        students[kind] = distiller
    np.save(tmp_path / "x.npy", X)
    script = """
        import sys
        sys.modules["keras_kd"] = None  # an import of it raises ImportError
        import keras, numpy
        x = numpy.load("x.npy")
        try:
            import keras_kd
        except ImportError:
            for kind in ("functional", "sequential"):
                student = keras.saving.load_model(f"{kind}.keras")
                numpy.save(f"{kind}.npy", student.predict(x, verbose=0))
    """
    environment = {**os.environ, "PYTHONPATH": ""}
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env=environment,
        check=True,
        timeout=120,
    )
    for kind, distiller in students.items():
        np.testing.assert_allclose(
            np.load(tmp_path / f"{kind}.npy"),
            distiller.predict(X, verbose=0),
            rtol=1e-6,
        )


def ensemble_of(size, kind="functional"):
    members = [mlp(f"m{i}", seed=i, units=50 + i, norm="batch") for i in range(size)]
    losses = [KnowledgeDistillation(), FeatureMatching("hidden", "features", name="f")]
    if size > 1:
        losses[1] = FeatureMatching("0.hidden", "features", name="f")
    distiller = keras_kd.Distiller(members, STUDENTS[kind](), losses)
    return compiled(distiller, run_eagerly=True)


def size_of(path):
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    assert files
    return sum(f.stat().st_size for f in files)


def save_weights(distiller, folder):
    train(distiller, epochs=1, batch_size=len(X))
    distiller.save_weights(folder / "d.weights.h5")
    return folder / "d.weights.h5"


def model_checkpoint(distiller, folder):
    callback = keras.callbacks.ModelCheckpoint(
        folder / "d.weights.h5", save_weights_only=True
    )
    train(distiller, epochs=1, batch_size=len(X), callbacks=[callback])
    return folder / "d.weights.h5"


def backup_and_restore(distiller, folder):
    callback = keras.callbacks.BackupAndRestore(
        folder / "backup", delete_checkpoint=False
    )
    train(distiller, epochs=1, batch_size=len(X), callbacks=[callback])
    return folder / "backup"


@pytest.mark.parametrize(
    "save",
    [save_weights, model_checkpoint, backup_and_restore],
    ids=lambda f: f.__name__,
)
def test_a_checkpoint_does_not_grow_with_the_ensemble(save, tmp_path):
    sizes = []
    for members in (1, 5):
        keras.backend.clear_session()
        folder = tmp_path / str(members)
        folder.mkdir()
        sizes.append(size_of(save(ensemble_of(members), folder)))
    assert sizes[0] == sizes[1]


def test_saved_weights_restore_student_projector_and_optimizer(tmp_path):
    distiller = ensemble_of(2)
    train(distiller)
    distiller.save_weights(tmp_path / "d.weights.h5")
    fresh = ensemble_of(2)
    fresh.optimizer.build(fresh.trainable_variables)
    fresh.load_weights(tmp_path / "d.weights.h5")
    assert_same_weights(fresh, distiller)
    train(distiller)
    train(fresh)
    assert_same_weights(fresh, distiller, rtol=1e-6, atol=1e-7)


class Crash(keras.callbacks.Callback):
    """Ends a run as a crash would: in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@functional_and_slow_others
def test_backup_and_restore_resumes_after_a_crash(kind, tmp_path):
    def start(*callbacks, change=0.0):
        keras.utils.set_random_seed(0)
        distiller = with_everything(kind, run_eagerly=kind != "functional")
        for weight in distiller.trainable_weights:
            weight.assign(weight + change)
        return distiller, lambda: train(distiller, epochs=5, callbacks=list(callbacks))

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    uninterrupted, fit = start()
    fit()
    _, fit = start(backup(), Crash(epoch=3))
    with pytest.raises(KeyboardInterrupt):
        fit()
    resumed, fit = start(backup(), change=0.1)
    assert len(fit()["loss"]) == 2  # epochs 3 and 4
    assert int(resumed.optimizer.iterations) == 5 * len(X) // BATCH
    assert_same_weights(resumed, uninterrupted, rtol=1e-5, atol=1e-6)


def test_a_config_round_trip_needs_no_file():
    distiller = with_everything()
    config = json.dumps(distiller.get_config())
    again = keras_kd.Distiller.from_config(json.loads(config))
    assert json.dumps(again.get_config()) == config
