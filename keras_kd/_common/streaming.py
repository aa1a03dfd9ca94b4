"""Running means that come out the same however a set is cut into batches."""

import keras
import numpy as np
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


def _wide(metric):
    """Type of its sums: that of the results, though float32 at least."""
    return "float64" if metric.dtype == "float64" else "float32"


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
        self._sums, self._errors = (  # of the values, then of the weights
            self.add_variable((2, *self._shape), "zeros", dtype=_wide(self), name=name)
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


class SumsOfMeans(keras.metrics.Metric):
    """Several numbers in one state: each a sum of means over what counts for them.

    It is the metric of the first of them; `SumOfMeans` are those of the others.
    """

    def __init__(self, sizes, empty=None):
        """`sizes`: `{name: how many means it is the sum of}`.

        `empty`: `{name: what a mean of it is before any}`; 0 where it says nothing.
        """
        super().__init__(name=next(iter(sizes)))
        self._names, self._sizes = list(sizes), list(sizes.values())
        fill = [(empty or {}).get(name, 0.0) for name in self._names]
        self._empty = np.repeat(fill, self._sizes).astype("float32")
        self._sums, self._errors = (  # all totals, then all counts
            self.add_variable(
                (2 * len(self._empty),), "zeros", dtype=_wide(self), name=name
            )
            for name in ("sums", "errors")
        )

    def update_state(self, sums):
        """Add `{name: (weighted sums of this batch, the weights they are over)}`."""
        totals, counts = [], []
        for name, size in zip(self._names, self._sizes, strict=True):
            of_name = sums.get(name, ((), ()))
            for columns, found in zip((totals, counts), of_name, strict=True):
                columns += [*found, *[0.0] * (size - len(found))]
        add_to(self._sums, self._errors, ops.stack([*totals, *counts]))

    def results(self):
        """`{name: sum of its means}`."""
        sums = ops.convert_to_tensor(self._sums) + ops.convert_to_tensor(self._errors)
        totals, counts = ops.split(sums, 2)
        means = ops.where(counts == 0, self._empty, totals / counts)
        means, results = ops.unstack(means, num=len(self._empty)), {}
        for name, size in zip(self._names, self._sizes, strict=True):
            results[name], means = sum(means[1:size], means[0]), means[size:]
        return results

    def result(self):
        return self.results()[self.name]


class SumOfMeans(keras.metrics.Metric):
    """One of several `SumsOfMeans`, which hold its state."""

    def __init__(self, name, sums_of_means):
        super().__init__(name=name)
        self._results = sums_of_means.results  # not the metric: its state is its own

    def result(self):
        return self._results()[self.name]
