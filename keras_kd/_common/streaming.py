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
    lost = ops.where(ops.isfinite(after), lost, 0.0)  # inf - inf
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
        self._sums, self._errors = (  # of the values, then of the weights
            self.add_variable((2, *self._shape), "zeros", dtype=wide, name=name)
            for name in ("sums", "errors")
        )

    def add(self, values, sample_weight=None):
        """Take in one value an example (or a position), of any shape."""
        values = ops.cast(values, self._sums.dtype)
        if sample_weight is None:
            weight = ops.ones_like(values)
        else:
            weight = broadcast_weight(sample_weight, values)
        values = ops.where(weight == 0, ops.zeros_like(values), values)
        self.add_values(Values(values, weight, None))

    def add_values(self, values):
        """Take in `Values`, which are 0 where they weigh 0."""
        weight = ops.cast(values.weight, self._sums.dtype)
        weighted = ops.cast(values.values, weight.dtype) * weight
        axes = tuple(range(len(weight.shape) - len(self._shape)))
        both = [ops.sum(weighted, axis=axes), ops.sum(weight, axis=axes)]
        add_to(self._sums, self._errors, ops.stack(both))

    @property
    def count(self):
        """Sum of the weights so far (eager): examples, where all weigh 1."""
        return float(ops.convert_to_numpy(self._sums + self._errors)[1])

    def result(self):
        sums = ops.convert_to_tensor(self._sums) + ops.convert_to_tensor(self._errors)
        total, count = ops.unstack(sums, num=2)
        mean = ops.where(count == 0, float("nan"), total / count)
        return ops.cast(mean, self.dtype)


class SumOfMeans(keras.metrics.Metric):
    """Sum of `size` weighted means, each over what counts for it; 0 before any."""

    def __init__(self, name, size=1):
        super().__init__(name=name)
        self._size = size
        self._sums, self._errors = (  # all totals, then all counts
            self.add_variable((2 * size,), "zeros", name=name)
            for name in ("sums", "errors")
        )

    def update_state(self, totals, counts):
        """Add the weighted sums of this batch and the weights they are sums over."""
        add_to(self._sums, self._errors, ops.stack([*totals, *counts]))

    def result(self):
        sums = ops.convert_to_tensor(self._sums) + ops.convert_to_tensor(self._errors)
        totals, counts = ops.split(sums, 2)
        return ops.sum(ops.divide_no_nan(totals, counts))
