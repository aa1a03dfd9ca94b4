"""Weighted sums in numbered segments: bins, kinds, or cells of a table."""

import keras
from keras import ops

from keras_kd._common.weights import weighted


class SegmentSums(keras.metrics.Metric):
    """Sums of the weights, and of weighted values, in each of `num_segments`.

    In float64, so that neither the batching nor the order shows in a float32 result.
    """

    def __init__(self, num_segments, num_values=0, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.num_segments = num_segments
        self._table = self.add_variable(
            (num_segments, 1 + num_values), "zeros", dtype="float64", name="sums"
        )

    def add(self, segments, weight, *values):
        """Take in segment numbers, weights and values, all of one shape."""
        weight = ops.cast(weight, "float64")
        columns = [weight, *(weighted(ops.cast(v, "float64"), weight) for v in values)]
        rows = ops.stack([ops.reshape(c, [-1]) for c in columns], axis=-1)
        segments = ops.reshape(ops.cast(segments, "int32"), [-1])
        sums = ops.segment_sum(rows, segments, num_segments=self.num_segments)
        self._table.assign(ops.convert_to_tensor(self._table) + sums)

    def sums(self):
        """The weights, then each of the values, summed: `(num_segments,)` each."""
        table = ops.convert_to_tensor(self._table)
        return tuple(table[:, i] for i in range(table.shape[1]))

    def means(self):
        """The sums of weights, then the mean of each value; NaN where none weighs."""
        weights, *sums = self.sums()
        divisor = ops.where(weights == 0, float("nan"), weights)
        return weights, *(total / divisor for total in sums)

    def in_dtype(self, *tensors):
        """The tensors in the dtype of the result."""
        return tuple(ops.cast(t, self.dtype) for t in tensors)
