"""Weights along training, for probes after it."""

import dataclasses
import os
import re
import zipfile

import numpy as np

from keras_kd._common.checks import check_whole_number
from keras_kd._common.files import replacing
from keras_kd._common.table import InTable
from keras_kd.callbacks._every import EveryEpochs

_NAME = re.compile(r"weights_(\d+)\.npz")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Snapshot(InTable):
    """Weights of one moment of training.

    Attributes:
        step: Steps of the optimizer before it; 0 for the initial weights.
        epoch: Whole epochs before it.
        weights: List of arrays, for `model.set_weights`.

    Example:

    >>> keras_kd.callbacks.Snapshot(step=0, epoch=0, weights=[np.zeros(3)]).step
    0
    """

    step: int
    epoch: int
    weights: list


class CheckpointTrajectory(EveryEpochs):
    """Keeps the weights at chosen moments of training as files.

    The initial weights, those at the end of epochs, and those after given steps. Of a
    Distiller it keeps the student's. Probes read them back by
    `CheckpointTrajectory.load(directory)`: the first is the `initial` of a
    `keras_kd.probes.loss_surface`, all are those of an `eigenspace_trajectory`.

    Args:
        directory: Folder for `weights_0000000123.npz` and so on, named by step. Files
            are written to a temporary name and renamed, and hold no pickles. A run that
            goes on from a restored optimizer adds to them; one from step 0 needs a
            folder without later steps.
        every: Epochs from one snapshot to the next; the last is always kept, also of a
            training that stops early. Defaults to 1. None for `steps` alone.
        steps: Steps after which to keep weights too. Defaults to none.

    Example:

    >>> import tempfile
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> model.compile("sgd", "mse")
    >>> folder = tempfile.mkdtemp()
    >>> keeper = keras_kd.callbacks.CheckpointTrajectory(folder)
    >>> history = model.fit(np.ones((8, 4)), np.ones((8, 3)), batch_size=4, epochs=2,
    ...                     verbose=0, callbacks=[keeper])
    >>> [s.step for s in keras_kd.callbacks.CheckpointTrajectory.load(folder)]
    [0, 2, 4]
    """

    def __init__(self, directory, every=1, *, steps=()):
        super().__init__()
        self._directory = os.fspath(directory)
        self._every = (
            None if every is None else check_whole_number("every", every, at_least=1)
        )
        self._steps = sorted(
            check_whole_number("steps", step, at_least=0) for step in steps
        )
        self._epoch = None
        self._start = self._step = 0

    @staticmethod
    def load(directory):
        """List of `Snapshot`, in the order of their steps."""
        files = _files(directory)
        if not files:
            raise ValueError(
                f"There are no snapshots (weights_*.npz) in {os.fspath(directory)!r}. "
                "Train with CheckpointTrajectory on that folder first."
            )
        return [_read(os.path.join(directory, name)) for _, name in files]

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        os.makedirs(self._directory, exist_ok=True)
        self._step = int(self.model.optimizer.iterations)
        later = [name for step, name in _files(self._directory) if step > self._step]
        if self._step == 0 and later:
            raise ValueError(
                f"{self._directory!r} holds snapshots of another run, such as "
                f"{later[-1]!r}. Choose another folder or empty it; to go on with that "
                "run, restore its optimizer before (a callback that does comes first)."
            )
        if self._step == 0:
            self._keep(0)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._start = epoch, self._step

    def on_train_batch_end(self, batch, logs=None):
        before, self._step = self._step, self._start + batch + 1
        if any(before < step <= self._step for step in self._steps):
            self._keep(self._epoch)

    def _at_epoch(self, epoch, logs, is_due):
        if is_due(self._every):
            self._keep(epoch + 1)

    def _keep(self, epoch):
        model = getattr(self.model, "student", self.model)
        weights = {f"weight_{i:05d}": w for i, w in enumerate(model.get_weights())}
        path = os.path.join(self._directory, f"weights_{self._step:010d}.npz")
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, step=self._step, epoch=epoch, **weights)


def _files(directory):
    found = [(_NAME.fullmatch(name), name) for name in os.listdir(directory)]
    return sorted((int(match[1]), name) for match, name in found if match)


def _read(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            names = sorted(name for name in file.files if name.startswith("weight_"))
            weights = [file[name] for name in names]
            return Snapshot(int(file["step"]), int(file["epoch"]), weights)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path!r} is not a snapshot of CheckpointTrajectory ({error}). Remove it "
            "from the folder."
        ) from error
