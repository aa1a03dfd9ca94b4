"""Do inner layers of teacher and student represent a set of examples alike?

Centred kernel alignment (CKA), `HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))`, compares two
layers by the similarities K and L between examples that each sees, so their widths may
differ. Rotating or scaling a layer's features changes nothing.
"""

import keras
from keras import ops

from keras_kd._common.checks import check_choice
from keras_kd.metrics._cka_sums import (
    SPATIAL,
    centred,
    check_memory,
    check_same_examples,
    cka_of_pairs,
    layer_rows,
    product,
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

    Under a strategy call `build` before the first batch. Means far above the standard
    deviations cost digits: at a ratio of 1,000 about 5 are left.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(50, 6))
    >>> metric = keras_kd.metrics.CKAMatrix()
    >>> metric.update_state([x[:20], x[:20, :3]], [2 * x[:20]])
    >>> metric.update_state([x[20:], x[20:, :3]], [2 * x[20:]])
    >>> np.asarray(metric.result(), "float64").round(2).tolist()
    [[1.0], [0.72]]

    Reference: Kornblith et al. 2019, figure 2.
    """

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
        both = [*widths[0], *widths[1]]
        shapes = {
            "size": (),
            "features": (sum(both),),
            "norms": (len(both),),
            "norm_products": (len(both), len(both)),
            "norms_by_features": (len(both), sum(both)),
            "products": (sum(widths[0]), sum(widths[1])),
            **{f"products_{i}": (d, d) for i, d in enumerate(both)},
        }
        with keras.StatelessScope():  # which makes variables on leaving it, in no graph
            for key, shape in shapes.items():
                self._sums[key] = self.add_variable(shape, "zeros", "float64", name=key)

    def update_state(self, teacher_layers, student_layers, sample_weight=None):
        """Take in a batch: one array `(batch, ..., d)` a layer, teacher first."""
        teachers = layer_rows("teacher_layers", teacher_layers, self.spatial)
        students = layer_rows("student_layers", student_layers, self.spatial)
        check_same_examples(teachers + students)
        self.build(*([x.shape[-1] for x in side] for side in (teachers, students)))
        weight = weight_of(sample_weight, teachers[0])
        both = [without(x, weight) for x in teachers + students]
        features = ops.concatenate(both, axis=-1)
        norms = ops.stack([ops.sum(x * x, axis=-1) for x in both], axis=-1)
        by_weight = [x * weight[:, None] for x in both]
        middle = len(teachers)
        new = {
            "size": ops.sum(weight),
            "features": ops.matmul(weight, features),
            "norms": ops.matmul(weight, norms),
            "norm_products": product(norms * weight[:, None], norms),
            "norms_by_features": product(norms * weight[:, None], features),
            "products": product(
                ops.concatenate(by_weight[:middle], axis=-1),
                ops.concatenate(both[middle:], axis=-1),
            ),
        }
        for i, (x, weighted) in enumerate(zip(both, by_weight, strict=True)):
            new[f"products_{i}"] = product(weighted, x)
        for key, value in new.items():
            self._sums[key].assign(ops.convert_to_tensor(self._sums[key]) + value)

    def result(self):
        """`(teacher layers, student layers)`; NaN before the first batch."""
        if self._widths is None:
            return ops.convert_to_tensor(float("nan"), dtype=self.dtype)
        sums = {key: ops.convert_to_tensor(v) for key, v in self._sums.items()}
        middle, count = len(self._widths[0]), len(sum(self._widths, ()))
        matrix = cka_of_pairs(
            range(middle),
            range(middle, count),
            lambda i, j: sums_of_moments(sums, self._widths, i, j),
            sums["size"],
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

    def __init__(self, debiased=True, spatial="mean", name="linear_cka", dtype=None):
        super().__init__(debiased, spatial, name, dtype)

    def update_state(self, teacher_features, student_features, sample_weight=None):
        """Take in features `(batch, ..., d)` of one layer each, teacher first."""
        super().update_state([teacher_features], [student_features], sample_weight)

    def result(self):
        matrix = super().result()
        return matrix[0, 0] if self._widths is not None else matrix
