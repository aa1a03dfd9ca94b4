"""The student's loss surface along its training, as pictures."""

import os
import time
import warnings

import keras
import numpy as np
import tensorflow as tf

from keras_kd._common.checks import check_choice, check_whole_number
from keras_kd.callbacks._every import EveryEpochs
from keras_kd.callbacks._results import picture
from keras_kd.probes.loss_surface import SurfacePass
from keras_kd.probes.sections import (
    line_through,
    plane_through,
    random_line,
    random_plane,
)
from keras_kd.probes.weights import network_of, state_of

_SECTIONS = ("line", "plane", "random_line", "random_plane")


class LossSurfaceProbe(EveryEpochs):
    """Looks at the loss around the student at the end of epochs.

    TensorBoard gets pictures of loss, agreement and (with labels) accuracy, named
    `loss_surface/500_examples/loss` for a sample of 500, and the seconds that they
    took, which the logs have too, as `loss_surface/seconds`. On the line from teacher
    to student the logs gain `loss_surface/barrier`: the most by which the loss exceeds
    the straight line between both.

    Args:
        x: Array of inputs (the sample), or a dict or list of arrays.
        y: Labels. Defaults to None.
        log_dir: Folder of TensorBoard logs. Defaults to None: logs of `fit` only.
        section: `"line"` (default) from teacher to student and `"plane"` through both
            and the student's weights at the start of the first `fit`, for networks of
            one architecture; `"random_line"` and `"random_plane"` around any student.
        every: Look at every so many epochs, and at the last, also of a training that
            stops early (as `FidelityMonitor` does). Defaults to 1.
        resolution: Points along each axis. Defaults to 21, and to 11 on planes.
        loss: As in `keras_kd.probes.loss_surface`. Defaults to
            `keras_kd.losses.KnowledgeDistillation()`.
        teacher: The teacher, to watch a plain `keras.Model`. Defaults to that of the
            Distiller which is being fitted.
        limit: Examples of the sample to use, the first ones. Defaults to 500.
        batch_size: Examples at a time. Defaults to 256.

    Example:

    >>> def model():
    ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> x = np.random.rand(8, 4).astype("float32")
    >>> distiller = keras_kd.Distiller(
    ...     model(), model(), keras_kd.losses.KnowledgeDistillation(),
    ...     student_loss_weight=0.0)
    >>> distiller.compile("adam")
    >>> probe = keras_kd.callbacks.LossSurfaceProbe(x, resolution=5)
    >>> history = distiller.fit(x, verbose=0, callbacks=[probe]).history
    >>> history["loss_surface/barrier"][0] < 1e-6  # a linear model has a convex loss
    True

    Reference: Stanton et al. 2021, figure 6c.
    """

    def __init__(
        self,
        x,
        y=None,
        log_dir=None,
        *,
        section="line",
        every=1,
        resolution=None,
        loss=None,
        teacher=None,
        limit=500,
        batch_size=256,
    ):
        super().__init__()
        limit = check_whole_number("limit", limit, at_least=1)
        self._x = keras.tree.map_structure(lambda a: np.asarray(a)[:limit], x)
        self._y = None if y is None else np.asarray(y)[:limit]
        self._log_dir = None if log_dir is None else os.fspath(log_dir)
        self._section = check_choice("section", section, _SECTIONS)
        self._every = check_whole_number("every", every, at_least=1)
        self._resolution = resolution or (11 if section.endswith("plane") else 21)
        self._arguments = {
            "loss": loss,
            "batch_size": batch_size,
            "reestimate_statistics": False,
        }
        self._teacher = teacher
        self._looked_at = None

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        teacher = self._teacher or getattr(self.model, "teacher", None)
        if teacher is None:
            raise ValueError(
                "LossSurfaceProbe has no teacher to compare with: the fitted model is "
                "no Distiller with a teacher. Pass `teacher=...`."
            )
        student = network_of(self.model)
        if self._looked_at == (teacher, student):
            return  # compiled by an earlier fit of the same models
        members = list(getattr(teacher, "members", [teacher]))
        self._one_teacher = members[0] if len(members) == 1 else None
        if not self._section.startswith("random"):
            self._check_architecture(student)
        self._initial = [np.array(w) for w in student.get_weights()]
        with self.model.distribute_strategy.scope():
            self._look = SurfacePass(
                teacher, student, self._x, self._y, **self._arguments
            )
        self._looked_at = (teacher, student)

    def _at_epoch(self, epoch, logs, is_due):
        if not is_due(self._every):
            return
        started = time.perf_counter()
        try:
            section = self._lay_section(network_of(self.model))
        except ValueError as error:  # training goes on
            warnings.warn(
                f"No loss surface after epoch {epoch + 1}: {error}", stacklevel=2
            )
            return
        with self.model.distribute_strategy.scope():
            surface = self._look.run(section, self._resolution)
        scalars = {"barrier": _barrier(surface)} if self._section == "line" else {}
        scalars["seconds"] = time.perf_counter() - started
        logs.update({f"loss_surface/{name}": v for name, v in scalars.items()})
        if self._log_dir is not None:
            self._write(surface, scalars, epoch)

    def _check_architecture(self, student):
        if self._one_teacher is None:
            raise ValueError(
                f"section={self._section!r} goes through the teacher, which is an "
                "ensemble. Take 'random_line' or 'random_plane'."
            )
        try:
            state_of(self._one_teacher, like=student, role="teacher")
        except ValueError as error:
            raise ValueError(
                f"section={self._section!r} goes through the teacher. {error} Take "
                "'random_line' or 'random_plane'."
            ) from error

    def _lay_section(self, student):
        if self._section == "line":
            return line_through(self._one_teacher, student)
        if self._section == "plane":
            return plane_through(self._one_teacher, student, self._initial)
        lay = random_line if self._section == "random_line" else random_plane
        return lay(student)

    def _write(self, surface, scalars, epoch):
        prefix = f"loss_surface/{surface.num_examples}_examples"
        writer = tf.summary.create_file_writer(self._log_dir)
        with writer.as_default(step=epoch):
            for name, value in scalars.items():
                tf.summary.scalar(f"{prefix}/{name}", value)
            for value in ("loss", "agreement", "accuracy"):
                if not np.isnan(getattr(surface, value)).all():
                    pixels = picture(lambda ax, v=value: surface.plot(ax, v))
                    tf.summary.image(f"{prefix}/{value}", pixels)
        writer.close()


def _barrier(surface):
    """Height of the loss above the straight line between teacher and student."""
    ends = [surface.anchors[name] for name in ("teacher", "student")]
    length = ends[1].coordinates[0]
    between = (surface.coordinates[0] >= 0) & (surface.coordinates[0] <= length)
    share = surface.coordinates[0][between] / length
    line = (1 - share) * ends[0].loss + share * ends[1].loss
    return float(np.max(surface.loss[between] - line, initial=0.0))
