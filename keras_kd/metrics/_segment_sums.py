"""Weighted sums in numbered segments: bins, kinds, or cells of a table."""

import keras
from keras import ops

from keras_kd._common.examples import weighted


def segment_sums(num_segments, segments, weight, *values):
    """`(num_segments, 1 + len(values))`: sums of the weights, then of weighted values.

    In float64, so that neither the batching nor the order shows in a float32 result.

    Args:
        num_segments: Rows of the table.
        segments: Whole numbers of any shape, the row of each example.
        weight: Same shape.
        *values: Same shape.
    """
    weight = ops.cast(weight, "float64")
    columns = [weight, *(weighted(ops.cast(v, "float64"), weight) for v in values)]
    rows = ops.stack([ops.reshape(c, [-1]) for c in columns], axis=-1)
    segments = ops.reshape(ops.cast(segments, "int32"), [-1])
    return ops.segment_sum(rows, segments, num_segments=num_segments)


def segment_means(table):
    """The weights, then the mean of each value; NaN where none weighs."""
    weights, *sums = (table[:, i] for i in range(table.shape[1]))
    divisor = ops.where(weights == 0, float("nan"), weights)
    return weights, *(total / divisor for total in sums)


class SegmentSums(keras.metrics.Metric):
    """Adds up tables of `segment_sums`, `(num_segments, 1 + num_values)`."""

    def __init__(self, num_segments, num_values=0, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.num_segments = num_segments
        self._table = self.add_variable(
            (num_segments, 1 + num_values), "zeros", dtype="float64", name="sums"
        )

    def add(self, segments, weight, *values):
        """Take in segment numbers, weights and values, all of one shape."""
        self.add_table(segment_sums(self.num_segments, segments, weight, *values))

    def add_table(self, table):
        """Take in what `segment_sums` gave of a batch."""
        self._table.assign(self.totals() + table)

    def totals(self):
        return ops.convert_to_tensor(self._table)

    def sums(self):
        """The weights, then each of the values, summed: `(num_segments,)` each."""
        table = self.totals()
        return tuple(table[:, i] for i in range(table.shape[1]))

    def in_dtype(self, *tensors):
        """The tensors in the dtype of the result."""
        return tuple(ops.cast(t, self.dtype) for t in tensors)
