"""Metrics that need all examples at once: they keep a few numbers of each."""

import keras
import numpy as np
from keras import ops


def on_host(name, *tensors):
    """Tensors as NumPy arrays, or what to do where they have no value yet."""
    try:
        return tuple(np.asarray(ops.convert_to_numpy(tensor)) for tensor in tensors)
    except (NotImplementedError, AttributeError) as error:
        raise RuntimeError(
            f"{name} keeps numbers of every example, which a compiled step cannot do. "
            "Call update_state outside of tf.function, or compile the model with "
            "run_eagerly=True."
        ) from error


def kept_rows(*columns, weight):
    """Arrays as columns, the weight last: a row for each example that weighs."""
    rows = np.stack([np.ravel(c) for c in (*columns, weight)], axis=-1)
    return rows[rows[:, -1] != 0].astype("float64")


def in_order(rows):
    """The columns of the rows, in an order that depends on the values alone."""
    return rows[np.lexsort(rows.T[::-1])].T


class KeptExamples(keras.metrics.Metric):
    """Keeps columns of float64 numbers on the host, one row an example."""

    def __init__(self, num_columns, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self._num_columns = num_columns
        self._kept = []

    def keep(self, rows):
        """Take in what `kept_rows` gave of a batch."""
        self._kept.append(rows)

    def columns(self):
        """All that came so far, `in_order`."""
        nothing = np.empty((0, self._num_columns))
        return in_order(np.concatenate([nothing, *self._kept]))

    def reset_state(self):
        self._kept = []
        super().reset_state()
