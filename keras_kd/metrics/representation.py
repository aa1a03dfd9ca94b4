"""Do inner layers of teacher and student represent a set of examples alike?

Centred kernel alignment (CKA), `HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))`, compares two
layers by the similarities K and L between examples that each sees, so their widths may
differ. Rotating or scaling a layer's features changes nothing.
"""

import keras
import numpy as np
from keras import ops

from keras_kd._common.checks import check_choice
from keras_kd.metrics._cka_sums import (
    SPATIAL,
    Moments,
    centred,
    check_memory,
    check_same_examples,
    cka_of_pairs,
    layer_rows,
    mean_of,
    moment_shapes,
    moments,
    moved,
    of_two_layers,
    sums_of_moments,
    sums_of_rows,
    weight_of,
    without,
)


def linear_cka(
    teacher_features,
    student_features,
    debiased=True,
    *,
    spatial="mean",
    sample_weight=None,
):
    """Linear CKA of two layers over a set, in float64. Higher is closer.

    The textbook estimate is near 1 for unrelated features when they are wider than the
    set is large. The debiased one (default) has an expectation of 0 there, so it may be
    a little below 0.

    Args:
        teacher_features: Outputs of a layer, `(n, ..., d_t)`, of all examples at once.
        student_features: `(n, ..., d_s)`, of the same examples.
        debiased: Estimate each HSIC without bias (HSIC_1). Defaults to True.
        spatial: What becomes of axes between first and last: `"mean"` (default) over
            positions, or `"flatten"` into features.
        sample_weight: `(n,)`, >= 0: an example of weight 2 counts as two equal ones.
            Defaults to 1 each.

    Returns:
        Scalar: 1 for equal features, whatever their rotation and scale. NaN where a
        layer does not vary, or (debiased) for fewer than 4 examples.

    Memory: what is less work, `8 d_t d_s` bytes or, where features are wider than the
    set is large, blocks of 1,024 rows of the n x n similarities.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(128, 8))
    >>> noise = np.random.default_rng(1).normal(size=(128, 512))
    >>> round(float(keras_kd.metrics.linear_cka(x, 3 * x[:, ::-1])), 6)
    1.0
    >>> round(abs(float(keras_kd.metrics.linear_cka(x, noise))), 1)
    0.0

    References: Kornblith et al. 2019, section 3; Song et al. 2012, theorem 2 (HSIC_1).
    """
    return cka_matrix(
        [teacher_features],
        [student_features],
        debiased,
        spatial=spatial,
        sample_weight=sample_weight,
    )[0, 0]


def cka_matrix(
    teacher_layers, student_layers, debiased=True, *, spatial="mean", sample_weight=None
):
    """`linear_cka` of every layer of the teacher with every layer of the student.

    Higher is closer.

    Args:
        teacher_layers: Features `(n, ..., d)` of each layer: a list, a dict by name, or
            one array.
        student_layers: The same of the student, on the same examples.
        debiased: See `linear_cka`. Defaults to True.
        spatial: See `linear_cka`. Defaults to `"mean"`.
        sample_weight: See `linear_cka`.

    Returns:
        `(teacher layers, student layers)` array, float64.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(50, 6))
    >>> matrix = keras_kd.metrics.cka_matrix([x, x[:, :3]], {"all": 2 * x})
    >>> np.asarray(matrix).round(2).tolist()
    [[1.0], [0.72]]

    Reference: Kornblith et al. 2019, figure 2.
    """
    teachers = layer_rows("teacher_layers", teacher_layers, spatial)
    students = layer_rows("student_layers", student_layers, spatial)
    check_same_examples(teachers + students)
    weight = weight_of(sample_weight, teachers[0])
    size = ops.sum(weight)
    return cka_of_pairs(
        [centred(x, weight, size) for x in teachers],
        [centred(x, weight, size) for x in students],
        lambda x, y: sums_of_rows(x, y, weight),
        size,
        debiased,
    )


@keras.saving.register_keras_serializable(package="keras_kd")
class CKAMatrix(keras.metrics.Metric):
    """Streaming `cka_matrix`: exact on any batching, in float64. Higher is closer.

    Only sums are kept, of products of features: `8 (sum of all d_t x sum of all d_s +
    sum of squares of all widths)` bytes, whatever the number of examples.

    Args:
        debiased: See `linear_cka`. Defaults to True.
        spatial: `"mean"` (default) over positions, or `"flatten"` into features.
        name: Defaults to `"cka_matrix"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Under a strategy call `build` before the first batch. Sums are about the mean of the
    examples so far, of all replicas, so that means far above the standard deviations
    cost no digits but those that the features themselves have lost.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(50, 6))
    >>> metric = keras_kd.metrics.CKAMatrix()
    >>> metric.update_state([x[:20], x[:20, :3]], [2 * x[:20]])
    >>> metric.update_state([x[20:], x[20:, :3]], [2 * x[20:]])
    >>> np.asarray(metric.result(), "float64").round(2).tolist()
    [[1.0], [0.72]]

    Reference: Kornblith et al. 2019, figure 2.
    """

    takes = ("teacher_layers", "student_layers")
    _direction = "up"

    def __init__(self, debiased=True, spatial="mean", name="cka_matrix", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.debiased = bool(debiased)
        self.spatial = check_choice("spatial", spatial, SPATIAL)
        self._widths = None  # of the teacher's and of the student's layers
        self._sums = {}

    def build(self, teacher_widths, student_widths):
        """Make the sums, for layers of so many features each."""
        widths = tuple(teacher_widths), tuple(student_widths)
        if self._widths is not None:
            if self._widths != widths:
                raise ValueError(
                    f"{self.name!r} has seen layers of {self._widths} features "
                    f"(teacher, student) and now gets {widths}. Make a metric for each "
                    "pair of models."
                )
            return
        check_memory(*widths)
        self._widths = widths
        shapes = {"cross": moment_shapes(*widths)}
        for i, d in enumerate(sum(widths, ())):
            shapes[f"own_{i}"] = moment_shapes([d], [d])
        with keras.StatelessScope():  # which makes variables on leaving it, in no graph
            for key, of_both in shapes.items():
                self._sums[key] = [
                    self.add_variable(shape, "zeros", "float64", name=f"{key}_{part}")
                    for part, shape in of_both._asdict().items()
                ]
            self._total = keras.Variable(
                "zeros",
                (1 + sum(sum(widths, ())),),
                "float64",
                trainable=False,
                aggregation="mean",  # when it is assigned, so that replicas read one
                name="total",
            )

    def update_state(self, teacher_layers, student_layers, sample_weight=None):
        """Take in a batch: one array `(batch, ..., d)` a layer, teacher first."""
        teachers = layer_rows("teacher_layers", teacher_layers, self.spatial)
        students = layer_rows("student_layers", student_layers, self.spatial)
        check_same_examples(teachers + students)
        self.build(*([x.shape[-1] for x in side] for side in (teachers, students)))
        weight = weight_of(sample_weight, teachers[0])
        both = [without(x, weight) for x in teachers + students]
        widths = np.cumsum(sum(self._widths, ()))[:-1]
        everything = ops.concatenate(both, axis=-1)
        centre, step = self._move_centre(everything, weight)
        steps = ops.split(step, widths)
        rows = ops.split(everything - centre, widths, axis=-1)
        middle = len(teachers)
        sides = {"cross": (slice(None, middle), slice(middle, None))}
        sides |= {f"own_{i}": (slice(i, i + 1),) * 2 for i in range(len(rows))}
        for key, (a, b) in sides.items():
            before = moved(self._moments(key), steps[a], steps[b])
            new = moments(rows[a], rows[b], weight)
            for part, old, more in zip(self._sums[key], before, new, strict=True):
                part.assign(old + more)

    def _moments(self, key):
        return Moments(*map(ops.convert_to_tensor, self._sums[key]))

    def _move_centre(self, x, weight):
        """`(centre, step)`: the mean so far, of all replicas, and how far it moved.

        Sums of products about a place far from the data lose their digits, and those of
        replicas can be added only where they are about one place.
        """
        before = mean_of(self._total)
        new = ops.append(ops.sum(weight), ops.matmul(weight, x))
        self._total.assign(self._total + new)
        centre = mean_of(self._total)
        return centre, centre - before

    def result(self):
        """`(teacher layers, student layers)`; NaN before the first batch."""
        if self._widths is None:
            return ops.convert_to_tensor(float("nan"), dtype=self.dtype)
        centre = mean_of(self._total)
        centres = ops.split(centre, np.cumsum(sum(self._widths, ()))[:-1])
        middle = len(self._widths[0])
        sums = {key: self._moments(key) for key in self._sums}

        def sums_of(i, j):
            pair = sums[f"own_{i}"]
            if i != j:
                pair = of_two_layers(sums["cross"], *self._widths, i, j - middle)
            return sums_of_moments(pair, (centres[i], centres[j]))

        matrix = cka_of_pairs(
            range(middle),
            range(middle, len(centres)),
            sums_of,
            sums["cross"].heads[0, 0],
            self.debiased,
        )
        return ops.cast(matrix, self.dtype)

    def get_config(self):
        own = {"debiased": self.debiased, "spatial": self.spatial}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="keras_kd")
class LinearCKA(CKAMatrix):
    """Streaming `linear_cka`: exact on any batching, in float64. Higher is closer.

    Only sums are kept: `8 (d_t + d_s)^2` bytes at most, whatever the number of
    examples. For layers too wide for that, see `linear_cka`.

    Args:
        debiased: See `linear_cka`. Defaults to True.
        spatial: `"mean"` (default) over positions, or `"flatten"` into features.
        name: Defaults to `"linear_cka"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(50, 6))
    >>> metric = keras_kd.metrics.LinearCKA()
    >>> metric.update_state(x[:20], 2 * x[:20])
    >>> metric.update_state(x[20:], 2 * x[20:])
    >>> round(float(metric.result()), 4)
    1.0

    Reference: Kornblith et al. 2019, section 3.
    """

    takes = ("teacher_features", "student_features")

    def __init__(self, debiased=True, spatial="mean", name="linear_cka", dtype=None):
        super().__init__(debiased, spatial, name, dtype)

    def update_state(self, teacher_features, student_features, sample_weight=None):
        """Take in features `(batch, ..., d)` of one layer each, teacher first."""
        super().update_state([teacher_features], [student_features], sample_weight)

    def result(self):
        matrix = super().result()
        return matrix[0, 0] if self._widths is not None else matrix
