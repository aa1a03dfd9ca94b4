"""Fidelity and generalisation on named sets, along training."""

import dataclasses
import os
import time

import keras
import numpy as np
import tensorflow as tf

from keras_kd._common.checks import check_whole_number
from keras_kd._common.datasets import as_dataset
from keras_kd._common.metric_update import needs_labels, update_of
from keras_kd.fidelity import FidelityPass

_GENERALIZATION = ("accuracy", "nll", "ece")
_FIDELITY = ("agreement", "agreement_top5", "kl")


class FidelityMonitor(keras.callbacks.Callback):
    """Compares student and teacher on named sets at the end of epochs.

    For a set `"test"` the logs gain `test/accuracy`, `test/nll`, `test/ece` (student),
    `test/agreement`, `test/agreement_top5`, `test/kl`, and `test/teacher_accuracy` and
    its kin. History and callbacks that come *after* this one in the list read them:
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
        every: Compare at every so many epochs, and at the last. Defaults to 1. In
            other epochs the logs do not have these entries.
        teacher: The teacher, to watch a plain `keras.Model` (a student trained on
            labels alone). Defaults to that of the Distiller which is being fitted.
        steps: Batches to read of each set. Defaults to all; needed for endless sets.
            TensorBoard then says how many examples that were: `test_first_2000/kl`.
        batch_size: For sets given as arrays. Defaults to 256.
        metrics: More metrics of `keras_kd.metrics`, as a list of objects or of pairs
            `(object, every)` with epochs between two values: `[TotalVariation(),
            (MutualInformation(100), 5)]`. They are logged by their names; of a result
            with several fields each is, `test/disagreement_kinds/both_right`, and
            arrays are histograms in TensorBoard. Metrics of labels are the student's.

    `monitor_seconds` in the logs is what the comparison itself took.

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
        self._metrics = [_with_interval(entry) for entry in metrics]
        self._passes = {}
        self._writers = {}

    def on_train_begin(self, logs=None):
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
        key = (name, *map(id, metrics))
        if key not in self._passes:
            teacher, student = self._compared
            self._passes[key] = FidelityPass(
                teacher,
                {"student": student},
                strategy=self.model.distribute_strategy,
                metrics=metrics,
            )
        return self._passes[key]

    def on_epoch_end(self, epoch, logs=None):
        logs = {} if logs is None else logs
        while_training = dict(logs)
        is_last = epoch + 1 == self.params.get("epochs")

        def is_due(every):
            return is_last or (epoch + 1) % every == 0

        metrics = [metric for metric, every in self._metrics if is_due(every)]
        if not is_due(self._every) and not metrics:
            return
        start = time.perf_counter()
        for key, value in while_training.items():
            if not key.startswith("val_") and "/" not in key:
                self._write("student", f"while_training/{key}", value, epoch)
        for name, dataset in self._datasets.items():
            result = self._pass(name, metrics).run(dataset, steps=self._steps)
            tag = name
            if self._steps is not None:
                tag = f"{name}_first_{result.num_examples}"
            if is_due(self._every):
                self._log(name, tag, result, epoch, logs)
            labelled = result.student.accuracy is not None
            for metric in metrics if labelled else _without_labels(metrics):
                self._log_metric(name, tag, metric, epoch, logs)
        logs["monitor_seconds"] = time.perf_counter() - start
        self._write("student", "monitor_seconds", logs["monitor_seconds"], epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs=None):
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _log(self, name, tag, result, epoch, logs):
        for key in _GENERALIZATION + _FIDELITY:
            value = getattr(result.student, key)
            if value is not None:
                logs[f"{name}/{key}"] = value
                self._write("student", f"{tag}/{key}", value, epoch)
        for key in _GENERALIZATION:
            value = getattr(result.teacher, key)
            if value is not None:
                logs[f"{name}/teacher_{key}"] = value
                self._write("teacher", f"{tag}/{key}", value, epoch)
        bound = result.student.agreement_upper_bound
        if bound is not None:
            self._write("upper_bound", f"{tag}/agreement", bound, epoch)

    def _log_metric(self, name, tag, metric, epoch, logs):
        for key, value in _fields(metric):
            if np.ndim(value) == 0:
                logs[f"{name}/{key}"] = float(value)
            self._write("student", f"{tag}/{key}", value, epoch)

    def _write(self, run, tag, value, epoch):
        if self._log_dir is None:
            return
        if run not in self._writers:
            path = os.path.join(self._log_dir, run)
            self._writers[run] = tf.summary.create_file_writer(path)
        with self._writers[run].as_default():
            write = tf.summary.histogram if np.ndim(value) else tf.summary.scalar
            write(tag, value, step=epoch)


def _with_interval(entry):
    metric, every = entry if isinstance(entry, (tuple, list)) else (entry, 1)
    update_of(metric)  # or an error, at this call
    return metric, check_whole_number("every", every, at_least=1)


def _without_labels(metrics):
    return [metric for metric in metrics if not needs_labels(metric)]


def _fields(metric):
    """`(name, number or array)` of all that a metric's result holds."""
    result = metric.result()
    if dataclasses.is_dataclass(result):
        result = dataclasses.asdict(result)
    elif hasattr(result, "_asdict"):
        result = result._asdict()
    if not isinstance(result, dict):
        return [(metric.name, keras.ops.convert_to_numpy(result))]
    flat = keras.tree.flatten_with_path(result)
    return [
        ("/".join([metric.name, *map(str, path)]), keras.ops.convert_to_numpy(value))
        for path, value in flat
    ]
