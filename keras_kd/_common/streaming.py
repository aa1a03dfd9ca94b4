"""Running means that come out the same however a set is cut into batches."""

import keras
from keras import ops

from keras_kd._common.examples import Values, broadcast_weight


def add_to(total, error, addend):
    """Add to a variable and carry its rounding error (Knuth's two-sum)."""
    before = ops.convert_to_tensor(total)
    addend = ops.cast(addend, before.dtype)
    after = before + addend
    part = after - before
    lost = (before - (after - part)) + (addend - part)
    lost = ops.where(ops.isfinite(after), lost, ops.zeros_like(lost))  # inf - inf
    total.assign(after)
    error.assign(ops.convert_to_tensor(error) + lost)


class StreamingMean(keras.metrics.Metric):
    """Weighted mean over all examples of all batches; NaN before the first one.

    Args:
        name: Of the metric.
        dtype: Of the result. Defaults to `keras.config.floatx()`. The sums are of this
            dtype too, though of float32 at least.
        columns: Means at once, of values `(batch, ..., columns)`. Defaults to None: one
            mean of values of any shape.
    """

    def __init__(self, name, dtype=None, *, columns=None):
        super().__init__(name=name, dtype=dtype)
        self._shape = () if columns is None else (columns,)
        wide = "float64" if self.dtype == "float64" else "float32"
        self._sums = [
            self.add_variable(self._shape, "zeros", dtype=wide, name=part)
            for part in ("total", "total_error", "count", "count_error")
        ]

    def add(self, values, sample_weight=None):
        """Take in one value an example (or a position), of any shape."""
        values = ops.cast(values, self._sums[0].dtype)
        if sample_weight is None:
            weight = ops.ones_like(values)
        else:
            weight = broadcast_weight(sample_weight, values)
        values = ops.where(weight == 0, ops.zeros_like(values), values)
        self.add_values(Values(values, weight, None))

    def add_values(self, values):
        """Take in `Values`, which are 0 where they weigh 0."""
        weight = ops.cast(values.weight, self._sums[0].dtype)
        weighted = ops.cast(values.values, weight.dtype) * weight
        axes = tuple(range(len(weight.shape) - len(self._shape)))
        total, total_error, count, count_error = self._sums
        add_to(total, total_error, ops.sum(weighted, axis=axes))
        add_to(count, count_error, ops.sum(weight, axis=axes))

    @property
    def count(self):
        """Sum of the weights so far (eager): examples, where all weigh 1."""
        return float(ops.convert_to_numpy(self._sums[2])) + float(
            ops.convert_to_numpy(self._sums[3])
        )

    def result(self):
        total, total_error, count, count_error = map(ops.convert_to_tensor, self._sums)
        count = count + count_error
        mean = (total + total_error) / ops.where(count == 0, 1.0, count)
        return ops.cast(ops.where(count == 0, float("nan"), mean), self.dtype)


class SumOfMeans(keras.metrics.Metric):
    """Sum of `size` weighted means, each over what counts for it; 0 before any."""

    def __init__(self, name, size=1):
        super().__init__(name=name)
        self._sums = [
            self.add_variable((size,), "zeros", name=part)
            for part in ("totals", "totals_error", "counts", "counts_error")
        ]

    def update_state(self, totals, counts):
        """Add the weighted sums of this batch and the weights they are sums over."""
        totals_sum, totals_error, counts_sum, counts_error = self._sums
        add_to(totals_sum, totals_error, ops.stack(totals))
        add_to(counts_sum, counts_error, ops.stack(counts))

    def result(self):
        totals, totals_error, counts, counts_error = map(
            ops.convert_to_tensor, self._sums
        )
        return ops.sum(ops.divide_no_nan(totals + totals_error, counts + counts_error))
