"""Rows of numbers that are found one by one, kept in a file so that work resumes."""

import os
import time
import zipfile

import numpy as np

from keras_kd._common.files import replacing

_SECONDS = 1.0  # a write takes milliseconds: no more of them than one in so long


class ProgressFile:
    """`rows[i]` of a table, NaN until `put(i, row)`; `done[i]` says which are there.

    Without a path it is only that. With one, an earlier file of the same `identity` is
    read, and the table is written to a temporary name and renamed.
    """

    def __init__(self, path, identity, shape):
        self._path = None if path is None else os.fspath(path)
        self._identity = identity
        self._written = time.monotonic()
        self.rows = np.full(shape, np.nan)
        self.done = np.zeros(shape[0], bool)
        if self._path is not None and os.path.exists(self._path):
            self._read(shape)

    def put(self, index, row):
        self.rows[index] = row
        self.done[index] = True
        if time.monotonic() - self._written > _SECONDS:
            self.write()

    def write(self):
        if self._path is None:
            return
        with replacing(self._path) as temporary, open(temporary, "wb") as file:
            np.savez(file, identity=self._identity, rows=self.rows, done=self.done)
        self._written = time.monotonic()

    def _read(self, shape):
        try:
            with np.load(self._path, allow_pickle=False) as file:
                identity, rows, done = (file[k] for k in ("identity", "rows", "done"))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{self._path!r} is not a file of a loss surface ({error}). Choose "
                "another `path`, or delete it."
            ) from error
        if str(identity) != self._identity or rows.shape != tuple(shape):
            raise ValueError(
                f"{self._path!r} belongs to another surface: other weights, sample, "
                "teacher, loss or points. Choose another `path`, or delete it."
            )
        self.rows, self.done = rows, done
