"""Fidelity and generalisation on named sets, along training."""

import dataclasses
import os
import time
import warnings

import numpy as np
import tensorflow as tf

from keras_kd._common.checks import check_whole_number
from keras_kd._common.metric_update import needs_labels, update_of
from keras_kd.answers import as_dataset
from keras_kd.callbacks._every import EveryEpochs
from keras_kd.callbacks._results import fields, picture
from keras_kd.fidelity import BOUNDS, FidelityPass


class FidelityMonitor(EveryEpochs):
    """Compares student and teacher on named sets at the end of epochs.

    For a set `"test"` the logs gain the scores of `evaluate_fidelity`: `test/accuracy`,
    `test/nll`, `test/brier`, `test/ece` (student), `test/agreement`,
    `test/agreement_top5`, `test/kl`, `test/reverse_kl`, `test/jensen_shannon`,
    `test/total_variation`, and `test/teacher_accuracy` and its kin. History and
    callbacks that come *after* this one in the list read them:
    `keras.callbacks.EarlyStopping("test/agreement", mode="max")`.

    In TensorBoard, teacher and student are runs of the same charts, and the run
    `upper_bound` shows how far agreement could go given both accuracies. Each set is
    read once, in inference mode, both models on the same tensors; give the training
    stream as a set to see what the student says of the very views it learns from. What
    `fit` logs while the student still moves is written beside it, as `while_training/`.

    Args:
        datasets: `{name: set}`; a set is a `tf.data.Dataset` of batches `(x, y)`, a
            `keras.utils.PyDataset`, or a tuple of arrays.
        log_dir: Folder of TensorBoard logs. Defaults to None: logs of `fit` only.
        every: Compare at every so many epochs, and at the last, also of a training that
            stops early. Defaults to 1. In other epochs the logs do not have these
            entries.
        teacher: The teacher, to watch a plain `keras.Model` (a student trained on
            labels alone). Defaults to that of the Distiller which is being fitted.
        steps: Batches to read of each set. Defaults to all; needed for endless sets.
            TensorBoard then says how many examples that were: `test_first_2000/kl`.
        batch_size: For sets given as arrays. Defaults to 256.
        metrics: More metrics of `keras_kd.metrics`, as a list of objects or of pairs
            `(object, every)` with epochs between two values: `[TotalVariation(),
            (MutualInformation(100), 5)]`. They are logged by their names; of a result
            with several fields each is, `test/disagreement_kinds/both_right`, and
            arrays are histograms of their finite numbers in TensorBoard. Metrics of
            labels are the student's; of sets without labels they are left out, which a
            warning says.
        ignore_class: Class index of rows that count as unlabelled, as `UNLABELED` (-1)
            does. Defaults to that of the Distiller's label loss, where it has one.
        probes: `{name: function}` or `{name: (function, every)}` for all else: a
            function of (teacher, student) that returns a number, a dict of them, or a
            result of `keras_kd.probes`, whose `.plot` becomes a picture in
            TensorBoard: `{"ensemble": lambda teacher, student: ...}`.

    `monitor_seconds` in the logs is what the comparison itself took.

    Where a callback that comes later in the list stops the training, the last epoch is
    compared when the training ends, if it was not. History then has its entries as of
    that epoch; callbacks that read logs at the end of an epoch do not see them. They
    are of the weights that the epoch left, also where `keras.callbacks.EarlyStopping(
    restore_best_weights=True)` stops, before or after it in the list; not where another
    callback before it changes weights at the end of the training, or an optimizer with
    `use_ema` does. An interrupted training has no last epoch.

    Example:

    >>> def model():
    ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> x, y = np.random.rand(8, 4).astype("float32"), np.arange(8) % 3
    >>> distiller = keras_kd.Distiller(
    ...     model(), model(), keras_kd.losses.KnowledgeDistillation(),
    ...     student_loss_weight=0.0)
    >>> distiller.compile("adam")
    >>> monitor = keras_kd.callbacks.FidelityMonitor({"test": (x, y)})
    >>> history = distiller.fit(x, epochs=1, verbose=0, callbacks=[monitor])
    >>> 0 <= history.history["test/agreement"][0] <= 1
    True

    Reference: Stanton et al. 2021, section 4 (what is measured, and on which sets).
    """

    def __init__(
        self,
        datasets,
        log_dir=None,
        every=1,
        *,
        teacher=None,
        steps=None,
        batch_size=256,
        metrics=(),
        ignore_class=None,
        probes=None,
    ):
        super().__init__()
        if not isinstance(datasets, dict) or not datasets:
            raise TypeError(
                '`datasets` must be a dict of named sets, e.g. {"test": test_ds}. '
                f"Received: {datasets!r} of type {type(datasets).__name__}."
            )
        self._datasets = {n: as_dataset(d, batch_size) for n, d in datasets.items()}
        self._log_dir = None if log_dir is None else os.fspath(log_dir)
        self._every = check_whole_number("every", every, at_least=1)
        self._steps = steps
        self._teacher = teacher
        self._ignore_class = ignore_class
        self._metrics = [_with_interval(entry) for entry in metrics]
        for metric, _ in self._metrics:
            update_of(metric)  # or an error, at this call
        self._probes = {n: _with_interval(p) for n, p in (probes or {}).items()}
        for name, (probe, _) in self._probes.items():
            if not callable(probe):
                raise TypeError(
                    f"Probe {name!r} must be a function of (teacher, student). "
                    f"Received: {probe!r} of type {type(probe).__name__}."
                )
        self._passes = {}
        self._unlabelled = set()
        self._writers = {}

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        teacher = self._teacher or getattr(self.model, "teacher", None)
        if teacher is None:
            raise ValueError(
                "FidelityMonitor has no teacher to compare with: the fitted model is "
                "no Distiller with a teacher. Pass `teacher=...`."
            )
        student = getattr(self.model, "student", self.model)
        if self._passes and self._compared == (teacher, student):
            return  # compiled by an earlier fit of the same models
        self._compared = (teacher, student)
        self._passes = {}

    def _pass(self, name, metrics):
        """The compiled comparison on a set, one for each choice of metrics."""
        ignore_class = self._ignore_class
        if ignore_class is None:  # what the labels mean is the label loss's to say
            ignore_class = getattr(self.model, "ignore_class", None)
        key = (name, ignore_class, *map(id, metrics))
        if key not in self._passes:
            teacher, student = self._compared
            self._passes[key] = FidelityPass(
                teacher,
                {"student": student},
                strategy=self.model.distribute_strategy,
                metrics=metrics,
                ignore_class=ignore_class,
            )
        return self._passes[key]

    def _at_epoch(self, epoch, logs, is_due):
        while_training = {} if "monitor_seconds" in logs else dict(logs)
        metrics = [metric for metric, every in self._metrics if is_due(every)]
        probes = [name for name, (_, every) in self._probes.items() if is_due(every)]
        compares = is_due(self._every) or metrics
        if not compares and not probes:
            return
        start = time.perf_counter()
        for key, value in while_training.items():
            if not key.startswith("val_") and "/" not in key:
                self._write("student", f"while_training/{key}", value, epoch)
        for name, dataset in self._datasets.items() if compares else ():
            result = self._pass(name, metrics).run(dataset, steps=self._steps)
            tag = name
            if self._steps is not None:
                tag = f"{name}_first_{result.num_examples}"
            if is_due(self._every):
                self._log(name, tag, result, epoch, logs)
            labelled = result.student.accuracy is not None
            for metric in metrics if labelled else self._without_labels(name, metrics):
                self._log_metric(name, tag, metric, epoch, logs)
        for name in probes:
            self._log_probe(name, self._probes[name][0], epoch, logs)
        seconds = time.perf_counter() - start  # with what the epoch had already
        logs["monitor_seconds"] = logs.get("monitor_seconds", 0.0) + seconds
        self._write("student", "monitor_seconds", logs["monitor_seconds"], epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs=None):
        super().on_train_end(logs)
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _without_labels(self, name, metrics):
        """Those that need none; the first time a warning says which others."""
        left_out = [metric.name for metric in metrics if needs_labels(metric)]
        if left_out and name not in self._unlabelled:
            self._unlabelled.add(name)
            warnings.warn(
                f"The set {name!r} has no labels, so FidelityMonitor leaves out "
                f"{', '.join(left_out)} there.",
                stacklevel=3,
            )
        return [metric for metric in metrics if not needs_labels(metric)]

    def _log(self, name, tag, result, epoch, logs):
        for key, value in dataclasses.asdict(result.student).items():
            if value is not None and key not in BOUNDS:
                logs[f"{name}/{key}"] = value
                self._write("student", f"{tag}/{key}", value, epoch)
        for key, value in dataclasses.asdict(result.teacher).items():
            if value is not None:
                logs[f"{name}/teacher_{key}"] = value
                self._write("teacher", f"{tag}/{key}", value, epoch)
        bound = result.student.agreement_upper_bound
        if bound is not None:
            self._write("upper_bound", f"{tag}/agreement", bound, epoch)

    def _log_metric(self, name, tag, metric, epoch, logs):
        for key, value in fields(metric.name, metric.result()):
            if value.ndim == 0:
                logs[f"{name}/{key}"] = float(value)
            self._write("student", f"{tag}/{key}", value, epoch)

    def _log_probe(self, name, probe, epoch, logs):
        result = probe(*self._compared)
        for key, value in fields(name, result):
            if value.ndim == 0:
                logs[key] = float(value)
            self._write("student", key, value, epoch)
        if callable(getattr(result, "plot", None)) and self._log_dir is not None:
            pixels = picture(result.plot)
            self._write("student", f"{name}/picture", pixels, epoch, tf.summary.image)

    def _write(self, run, tag, value, epoch, write=None):
        if self._log_dir is None:
            return
        if run not in self._writers:
            path = os.path.join(self._log_dir, run)
            self._writers[run] = tf.summary.create_file_writer(path)
        with self._writers[run].as_default():
            if write is None and np.ndim(value):
                write, value = tf.summary.histogram, value[np.isfinite(value)]
            (write or tf.summary.scalar)(tag, value, step=epoch)


def _with_interval(entry):
    given, every = entry if isinstance(entry, (tuple, list)) else (entry, 1)
    return given, check_whole_number("every", every, at_least=1)
