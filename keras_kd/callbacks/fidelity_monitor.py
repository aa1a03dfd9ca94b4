"""Fidelity and generalisation on named sets, along training."""

import os

import keras
import tensorflow as tf

from keras_kd._common.checks import check_whole_number
from keras_kd._common.datasets import as_dataset
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
        batch_size: For sets given as arrays. Defaults to 256.

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
        self._passes = {
            name: FidelityPass(
                teacher, {"student": student}, strategy=self.model.distribute_strategy
            )
            for name in self._datasets
        }

    def on_epoch_end(self, epoch, logs=None):
        logs = {} if logs is None else logs
        while_training = dict(logs)
        is_last = epoch + 1 == self.params.get("epochs")
        if (epoch + 1) % self._every and not is_last:
            return
        for key, value in while_training.items():
            if not key.startswith("val_") and "/" not in key:
                self._write("student", f"while_training/{key}", value, epoch)
        for name, dataset in self._datasets.items():
            result = self._passes[name].run(dataset, steps=self._steps)
            self._log(name, result, epoch, logs)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs=None):
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _log(self, name, result, epoch, logs):
        for key in _GENERALIZATION + _FIDELITY:
            value = getattr(result.student, key)
            if value is not None:
                logs[f"{name}/{key}"] = value
                self._write("student", f"{name}/{key}", value, epoch)
        for key in _GENERALIZATION:
            value = getattr(result.teacher, key)
            if value is not None:
                logs[f"{name}/teacher_{key}"] = value
                self._write("teacher", f"{name}/{key}", value, epoch)
        bound = result.student.agreement_upper_bound
        if bound is not None:
            self._write("upper_bound", f"{name}/agreement", bound, epoch)

    def _write(self, run, tag, value, epoch):
        if self._log_dir is None:
            return
        if run not in self._writers:
            path = os.path.join(self._log_dir, run)
            self._writers[run] = tf.summary.create_file_writer(path)
        with self._writers[run].as_default():
            tf.summary.scalar(tag, value, step=epoch)
