"""What the monitor logs equals `evaluate_fidelity`; where it can be seen."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_models import TraceCounter, mlp, sparse_cross_entropy, toy_data
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_kd import Distiller, evaluate_fidelity, metrics, probes
from keras_kd.callbacks import FidelityMonitor
from keras_kd.losses import KnowledgeDistillation
from keras_kd.metrics.scores import SCORES

CLASSES = 7
X, Y = toy_data(64, classes=CLASSES)
TEST = toy_data(50, seed=1, classes=CLASSES)
OF_LABELS = {score.name for score in SCORES if score.needs_labels}
KEYS = {score.name for score in SCORES}


def small_distiller(teacher=None, student=None, run_eagerly=True):
    distiller = Distiller(
        teacher or mlp("teacher", classes=CLASSES),
        student or mlp("student", seed=1, classes=CLASSES),
        KnowledgeDistillation(),
    )
    distiller.compile("adam", sparse_cross_entropy(), run_eagerly=run_eagerly)
    return distiller


def fit(model, *callbacks, epochs=3, batch_size=64):
    history = model.fit(
        X, Y, batch_size=batch_size, epochs=epochs, verbose=0, callbacks=list(callbacks)
    )
    return history.history


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A distiller fitted in graph mode, its history and the folder of its log."""
    keras.utils.set_random_seed(0)
    distiller = small_distiller(run_eagerly=False)
    sets, folder = {"test": TEST, "train": (X, Y)}, tmp_path_factory.mktemp("log")
    history = fit(distiller, FidelityMonitor(sets, log_dir=folder), batch_size=32)
    return distiller, history, folder


def test_last_entries_equal_evaluate_fidelity(watched):
    distiller, history, _ = watched
    for name, data in (("test", TEST), ("train", (X, Y))):
        result = evaluate_fidelity(distiller.teacher, distiller, data, verbose=0)
        for key in KEYS:
            want = getattr(result.student, key)
            assert history[f"{name}/{key}"][-1] == pytest.approx(want, abs=1e-6)
        for key in OF_LABELS:
            want = getattr(result.teacher, key)
            assert history[f"{name}/teacher_{key}"][-1] == pytest.approx(want, abs=1e-6)


def test_compares_at_every_so_many_epochs_and_at_the_last():
    entries = {1: 5, 2: 3, 3: 2, 7: 1}  # every so many epochs, of five
    monitors = [FidelityMonitor({f"{n}": TEST[0]}, every=n) for n in entries]
    history = fit(small_distiller(), *monitors, epochs=5)
    assert {n: len(history[f"{n}/kl"]) for n in entries} == entries
    assert len(history["loss"]) == 5


def test_early_stopping_reads_what_the_monitor_logs():
    stop = keras.callbacks.EarlyStopping(
        "test/agreement", mode="max", patience=0, baseline=1.1
    )
    history = fit(small_distiller(), FidelityMonitor({"test": TEST}), stop, epochs=4)
    assert len(history["loss"]) < 4


def test_checkpoint_keeps_the_most_faithful_epoch(tmp_path):
    path = tmp_path / "best.weights.h5"
    best = keras.callbacks.ModelCheckpoint(
        path, "test/kl", mode="min", save_best_only=True, save_weights_only=True
    )
    fit(small_distiller(), FidelityMonitor({"test": TEST}), best)
    assert path.exists()


def test_a_set_without_labels_is_compared_without_them():
    history = fit(small_distiller(), FidelityMonitor({"pool": TEST[0]}))
    logged = {key for key in history if key.startswith("pool/")}
    assert logged == {f"pool/{key}" for key in KEYS - OF_LABELS}


def test_plain_student_is_watched_with_the_teacher_given():
    teacher, student = mlp("t", classes=CLASSES), mlp("s", seed=1, classes=CLASSES)
    student.compile(
        "adam", sparse_cross_entropy(), metrics=["accuracy"], run_eagerly=True
    )
    history = fit(student, FidelityMonitor({"test": TEST}, teacher=teacher))
    want = evaluate_fidelity(teacher, student, TEST, verbose=0).student.kl
    assert history["test/kl"][-1] == pytest.approx(want, abs=1e-6)


def test_endless_stream_is_read_for_the_steps_given():
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).repeat().batch(8)
    history = fit(
        small_distiller(), FidelityMonitor({"train": stream}, steps=2), epochs=2
    )
    assert np.isfinite(history["train/kl"]).all()


def test_nothing_is_traced_again_over_epochs_and_fits():
    counter = TraceCounter()
    student = mlp("s", classes=CLASSES, extra=[counter])
    distiller = small_distiller(student=student, run_eagerly=False)
    monitor = FidelityMonitor({"test": TEST}, batch_size=32)
    fit(distiller, monitor, epochs=1, batch_size=32)
    counter.traces = 0
    fit(distiller, monitor, epochs=3, batch_size=32)
    assert counter.traces == 0


def test_tensorboard_has_teacher_and_student_on_one_chart(watched):
    _, history, folder = watched
    runs = {}
    for run in ("student", "teacher", "upper_bound"):
        runs[run] = EventAccumulator(str(folder / run), size_guidance={"tensors": 0})
        runs[run].Reload()

    def curve(run, tag):
        events = runs[run].Tensors(tag)
        values = [float(tf.make_ndarray(event.tensor_proto)) for event in events]
        return [event.step for event in events], values

    assert curve("student", "test/agreement")[0] == [0, 1, 2]
    for key in KEYS:
        assert curve("student", f"test/{key}")[1] == pytest.approx(
            history[f"test/{key}"], abs=1e-6
        )
    assert curve("teacher", "test/accuracy")[1] == pytest.approx(
        history["test/teacher_accuracy"], abs=1e-6
    )
    bound = 1 - np.abs(
        np.subtract(history["test/accuracy"], history["test/teacher_accuracy"])
    )
    assert curve("upper_bound", "test/agreement")[1] == pytest.approx(bound, abs=1e-6)
    assert curve("student", "while_training/agreement")[1] == pytest.approx(
        history["agreement"], abs=1e-6
    )


def test_a_second_fit_goes_on_in_the_same_log(tmp_path):
    monitor = FidelityMonitor({"test": TEST}, log_dir=tmp_path)
    distiller = small_distiller()
    fit(distiller, monitor, epochs=2)
    distiller.fit(
        X, Y, batch_size=64, epochs=4, initial_epoch=2, verbose=0, callbacks=[monitor]
    )
    log = EventAccumulator(str(tmp_path / "student"), size_guidance={"tensors": 0})
    log.Reload()
    steps = [event.step for event in log.Tensors("test/kl")]
    assert steps == [0, 1, 2, 3]


def logits_of_both(distiller):
    return [np.asarray(m(TEST[0])) for m in (distiller.teacher, distiller.student)]


def test_metrics_given_as_objects_are_logged_by_name():
    distiller = small_distiller()
    given = [
        metrics.TotalVariation(),
        metrics.MutualInformation(CLASSES),
        metrics.BrierScore(),
        metrics.DisagreementKinds(),
        metrics.EqualMassCalibrationError(),
        metrics.ConfidenceExaggeration(),
    ]
    history = fit(distiller, FidelityMonitor({"test": TEST}, metrics=given), epochs=1)
    both = logits_of_both(distiller)
    labels = TEST[1]
    wanted = {
        "total_variation": np.mean(metrics.total_variation(*both)),
        "mutual_information": metrics.mutual_information(*both),
        "brier": np.mean(metrics.brier_score(labels, both[1])),
        "equal_mass_calibration_error": metrics.equal_mass_calibration_error(
            labels, both[1]
        ),
        "confidence_exaggeration/slope": metrics.confidence_exaggeration(
            *both
        ).whole.slope,
        **{
            f"disagreement_kinds/{kind}": share
            for kind, share in metrics.disagreement_kinds(labels, *both).items()
        },
    }
    for name, value in wanted.items():
        found = history[f"test/{name}"][-1]
        assert found == pytest.approx(float(value), abs=1e-5), name


def test_each_metric_keeps_its_own_interval():
    # Each choice of metrics is a graph of its own: two of them, of all that could be.
    given = [metrics.Agreement(k=2), (metrics.MutualInformation(CLASSES), 2)]
    monitor = FidelityMonitor({"test": TEST[0]}, every=3, metrics=given)
    history = fit(small_distiller(), monitor, epochs=5)
    counts = {k: len(v) for k, v in history.items() if k.startswith("test/")}
    assert counts["test/agreement_top2"] == 5
    assert counts["test/mutual_information"] == 3  # epochs 2, 4 and the last
    assert counts["test/kl"] == 2  # epoch 3 and the last


def test_metrics_of_labels_are_left_out_where_there_are_none():
    given = [metrics.MaximumCalibrationError(), metrics.Agreement(k=2)]
    sets = {"p": TEST[0], "test": TEST}
    with pytest.warns(UserWarning, match="'p' has no labels.*leaves out mce") as told:
        history = fit(small_distiller(), FidelityMonitor(sets, metrics=given))
    assert sum("leaves out" in str(w.message) for w in told) == 1  # of three epochs
    assert len(history["p/agreement_top2"]) == 3
    assert "p/mce" not in history
    assert len(history["test/mce"]) == 3


def test_a_limit_is_told_in_tensorboard_and_arrays_are_histograms(tmp_path):
    by_confidence = metrics.AgreementByConfidence()
    monitor = FidelityMonitor(
        {"test": TEST},
        log_dir=tmp_path,
        steps=2,
        batch_size=8,
        metrics=[by_confidence],
    )
    history = fit(small_distiller(), monitor, epochs=1)
    assert "test/kl" in history
    events = EventAccumulator(str(tmp_path / "student")).Reload()
    assert "test_first_16/kl" in events.Tags()["tensors"]
    tag = "test_first_16/agreement_by_confidence/agreement"
    assert events.SummaryMetadata(tag).plugin_data.plugin_name == "histograms"
    buckets = tf.make_ndarray(events.Tensors(tag)[0].tensor_proto)  # left, right, count
    filled = np.isfinite(by_confidence.result().agreement)
    assert 0 < filled.sum() < len(filled)  # empty bins are NaN, and in no bucket
    assert buckets[:, 2].sum() == filled.sum()
    assert np.isfinite(buckets).all()
    assert history["monitor_seconds"][0] > 0


@pytest.mark.parametrize(
    "bad", ["kl", keras.metrics.Accuracy(), metrics.AttentionIoU()]
)
def test_what_cannot_be_shown_is_refused(bad):
    with pytest.raises(TypeError, match=r"update_state|keras_kd\.metrics"):
        FidelityMonitor({"test": TEST}, metrics=[bad])


def test_a_probe_may_return_numbers_or_a_result_with_a_picture(tmp_path):
    surface_of = probes.line_through

    def gap(teacher, student):
        return {"largest": np.abs(teacher(TEST[0]) - student(TEST[0])).max()}

    def surface(teacher, student):
        section = surface_of(mlp("a", classes=CLASSES), student)
        return probes.loss_surface(
            teacher, student, *TEST, section=section, resolution=3, verbose=0
        )

    monitor = FidelityMonitor(
        {"test": TEST},
        log_dir=tmp_path,
        every=9,
        probes={"gap": gap, "surface": (surface, 2)},
    )
    distiller = small_distiller()
    history = fit(distiller, monitor, epochs=2)
    both = logits_of_both(distiller)
    wanted = np.abs(both[0] - both[1]).max()
    assert len(history["gap/largest"]) == 2
    assert history["gap/largest"][-1] == pytest.approx(wanted, abs=1e-5)
    assert len(history["test/kl"]) == 1  # the last epoch
    events = EventAccumulator(str(tmp_path / "student")).Reload()
    kinds = {
        "gap/largest": "scalars",
        "surface/picture": "images",
        "surface/loss": "histograms",
    }
    for tag, kind in kinds.items():
        assert events.SummaryMetadata(tag).plugin_data.plugin_name == kind


def test_a_probe_that_is_no_function_is_refused():
    with pytest.raises(TypeError, match=r"function of \(teacher, student\)"):
        FidelityMonitor({"test": TEST}, probes={"kl": "kl"})
