"""One meaning of "every": at every so many epochs and at the last, whatever ends it."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose
from small_models import mlp, sparse_cross_entropy, toy_data
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from keras_kd import Distiller, evaluate_fidelity, metrics
from keras_kd.callbacks import CheckpointTrajectory, FidelityMonitor, LossSurfaceProbe
from keras_kd.callbacks._every import EveryEpochs
from keras_kd.losses import KnowledgeDistillation

X, Y = toy_data(16)


class Noted(EveryEpochs):
    """Logs the sum of the weights; notes the epochs, of two intervals."""

    def __init__(self, every=2, other=3):
        super().__init__()
        self.every, self.other = every, other
        self.seen = {every: [], other: []}

    def _at_epoch(self, epoch, logs, is_due):
        for every in (self.every, self.other):
            if is_due(every):
                self.seen[every].append(epoch + 1)
                logs[f"of_{every}"] = total(self.model)


class StopAt(keras.callbacks.Callback):
    """Ends the training after an epoch, in one of three ways."""

    def __init__(self, epoch, how="epoch"):
        super().__init__()
        self.epoch, self.how = epoch, how

    def on_train_batch_end(self, batch, logs=None):
        if self.how == "batch" and int(self.model.optimizer.iterations) == self.epoch:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.epoch and self.how == "epoch":
            self.model.stop_training = True
        if epoch + 1 == self.epoch and self.how == "interrupt":
            raise KeyboardInterrupt


class Totals(keras.callbacks.Callback):
    """Keeps the sum of the weights at the end of each epoch."""

    def on_train_begin(self, logs=None):
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(total(self.model))


def total(model):
    return float(sum(np.abs(w).sum() for w in model.get_weights()))


def fit(*callbacks, epochs=9, model=None, **arguments):
    model = model or mlp("m")
    if not getattr(model, "compiled", False):
        model.compile("sgd", sparse_cross_entropy(), run_eagerly=True)
    model.fit(
        X, Y, batch_size=16, epochs=epochs, verbose=0, callbacks=list(callbacks),
        **arguments,
    )  # fmt: skip
    return model


@pytest.mark.parametrize("epochs", [1, 3, 4, 6])
def test_at_every_so_many_epochs_and_at_the_last(epochs):
    noted = Noted()
    history = fit(noted, epochs=epochs).history.history
    for every, seen in noted.seen.items():
        want = sorted({*range(every, epochs + 1, every), epochs})
        assert seen == want
        assert len(history[f"of_{every}"]) == len(want)


@pytest.mark.parametrize("how", ["epoch", "batch"])
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("last", [3, 5, 6])
def test_the_last_epoch_of_a_training_that_is_stopped_counts(last, place, how):
    noted, stop, totals = Noted(), StopAt(last, how), Totals()
    order = [stop, noted] if place == "before" else [noted, stop]
    model = fit(*order, totals)
    history = model.history.history
    assert len(history["loss"]) == last
    for every, seen in noted.seen.items():
        want = sorted({*range(every, last + 1, every), last})
        assert seen == want
        assert_allclose(
            history[f"of_{every}"], [totals.seen[epoch - 1] for epoch in want]
        )


@pytest.mark.parametrize("place", ["before", "after"])
def test_entries_are_of_the_last_epoch_and_not_of_weights_restored(place):
    """Each epoch is worse than the first, whose weights come back."""
    noted, totals = Noted(every=4, other=5), Totals()
    stop = keras.callbacks.EarlyStopping(
        "loss", mode="max", patience=2, restore_best_weights=True
    )
    order = [stop, noted] if place == "before" else [noted, stop]
    model = fit(*order, totals)
    history = model.history.history
    assert len(history["loss"]) == 3
    assert_allclose(history["of_4"], [totals.seen[2]])
    assert_allclose(total(model), totals.seen[0])
    assert totals.seen[0] != totals.seen[2]


def test_an_interrupt_has_no_last_epoch_and_leaves_nothing_to_the_next_fit():
    noted, model = Noted(), mlp("m")
    with pytest.raises(KeyboardInterrupt):
        fit(noted, StopAt(3, "interrupt"), model=model)
    assert noted.seen == {2: [2], 3: [3]}
    fit(noted, model=model, epochs=3, initial_epoch=3)  # no epoch at all
    assert noted.seen == {2: [2], 3: [3]}
    fit(noted, model=model, epochs=5, initial_epoch=3)
    assert noted.seen == {2: [2, 4, 5], 3: [3, 5]}


def test_callbacks_that_come_later_see_it_at_the_end_of_the_training():
    class Reader(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            self.logs = dict(logs)

    reader = Reader()
    fit(Noted(), StopAt(3), reader)
    assert reader.logs["of_2"] > 0
    assert "loss" in reader.logs


def distilled(*callbacks, epochs=9):
    distiller = Distiller(mlp("t", seed=3), mlp("s", seed=1), KnowledgeDistillation())
    return fit(*callbacks, epochs=epochs, model=distiller)


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_monitor_compares_the_epoch_that_was_stopped_after(place, tmp_path):
    monitor = FidelityMonitor(
        {"test": X},
        log_dir=tmp_path,
        every=2,
        metrics=[(metrics.Agreement(k=2), 3)],
        probes={"norm": (lambda teacher, student: total(student), 4)},
    )
    stop = StopAt(3)
    order = [stop, monitor] if place == "before" else [monitor, stop]
    distiller = distilled(*order)
    history = distiller.history.history
    counts = {"test/kl": 2, "test/agreement_top2": 1, "norm": 1, "monitor_seconds": 2}
    assert {key: len(history[key]) for key in counts} == counts
    want = evaluate_fidelity(distiller.teacher, distiller, X, verbose=0)
    assert_allclose(history["test/kl"][-1], want.student.kl, atol=1e-6)
    assert_allclose(history["norm"][-1], total(distiller.student), rtol=1e-6)
    log = EventAccumulator(str(tmp_path / "student"), size_guidance={"tensors": 0})
    log.Reload()
    steps = {
        tag: [event.step for event in log.Tensors(tag)]
        for tag in ("test/kl", "test/agreement_top2", "while_training/loss")
    }
    assert steps == {
        "test/kl": [1, 2],
        "test/agreement_top2": [2],
        "while_training/loss": [1, 2],
    }
    assert "while_training/monitor_seconds" not in log.Tags()["tensors"]


def test_surfaces_and_snapshots_keep_the_epoch_that_was_stopped_after(tmp_path):
    probe = LossSurfaceProbe(X, every=2, resolution=2, section="random_line")
    keeper = CheckpointTrajectory(tmp_path, every=2)
    distiller = distilled(probe, keeper, StopAt(3))
    assert len(distiller.history.history["loss_surface/seconds"]) == 2
    assert [s.epoch for s in CheckpointTrajectory.load(tmp_path)] == [0, 2, 3]
