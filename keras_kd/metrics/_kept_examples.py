"""Metrics that need all examples at once: they keep a few numbers of each."""

import keras
import numpy as np
from keras import ops


class KeptExamples(keras.metrics.Metric):
    """Keeps columns of float64 numbers on the host, one row an example."""

    def __init__(self, num_columns, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self._num_columns = num_columns
        self._kept = []

    def keep(self, *columns, weight):
        """Take in columns and the weights, the last column; weight 0 is left out."""
        rows = np.stack([np.ravel(c) for c in (*columns, weight)], axis=-1)
        self._kept.append(rows[rows[:, -1] != 0].astype("float64"))

    def columns(self):
        """All that came so far, in an order that depends on the values alone."""
        rows = np.concatenate([np.empty((0, self._num_columns)), *self._kept])
        return rows[np.lexsort(rows.T[::-1])].T

    def on_host(self, tensor):
        """A tensor as a NumPy array, or what to do where it has no value yet."""
        try:
            return np.asarray(ops.convert_to_numpy(tensor))
        except (NotImplementedError, AttributeError) as error:
            raise RuntimeError(
                f"{type(self).__name__} keeps numbers of every example, which a "
                "compiled step cannot do. Call update_state outside of tf.function, or "
                "compile the model with run_eagerly=True."
            ) from error

    def reset_state(self):
        self._kept = []
        super().reset_state()
