"""Do two models look at the same places of an image?"""

import keras
from keras import ops

from keras_kd._common.checks import check_number
from keras_kd._common.examples import Values, broadcast_weight, weighted_mean
from keras_kd._common.numerics import at_least_float32
from keras_kd._common.streaming import StreamingMean


def attention_iou(
    first_maps,
    second_maps,
    *other_maps,
    threshold=0.4,
    pooled=False,
    sample_weight=None,
):
    """Overlap of the places that attention maps stress, as intersection over union.

    Each map is stretched to [0, 1]; what exceeds the threshold is stressed. Between
    teachers, or between teacher and student; of three or more, what all stress over
    what any stresses. Higher is closer.

    Args:
        first_maps: `(n, height, width)`, as `keras_kd.probes.attention_maps` gives.
        second_maps: Same shape, another model's for the same images.
        *other_maps: More of them.
        threshold: In [0, 1). Defaults to 0.4.
        pooled: False (default) takes the mean over images. True divides the sum of all
            intersections by the sum of all unions, as the code of Guo et al. does for
            each batch.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Scalar in [0, 1]; NaN for an empty set. An image on which all maps are constant
        does not count: nobody stresses anything.

    Example:

    >>> first = np.array([[[9.0, 9.0], [1.0, 1.0]]])
    >>> second = np.array([[[9.0, 1.0], [9.0, 1.0]]])
    >>> round(float(keras_kd.metrics.attention_iou(first, second)), 4)
    0.3333

    Reference: Guo et al. 2024 (arXiv 2405.00739), section on attention maps.
    """
    maps = first_maps, second_maps, *other_maps
    return weighted_mean(
        _overlaps(maps, _check_threshold(threshold), pooled, sample_weight)
    )


def _overlaps(maps, threshold, pooled, sample_weight):
    """`Values`: the intersection over union of each image."""
    maps = at_least_float32(*maps)
    _check_same_shape(maps)
    stressed = [_stretched(m) > threshold for m in maps]
    shared, union = stressed[0], stressed[0]
    for other in stressed[1:]:
        shared = ops.logical_and(shared, other)
        union = ops.logical_or(union, other)
    shared, union = (_count(x, maps[0].dtype) for x in (shared, union))
    iou = shared / ops.where(union == 0, 1.0, union)
    for side in maps:  # a map with NaN stresses nothing; it must not pass for that
        iou = iou + 0.0 * ops.sum(side, axis=_positions(side))
    # The pooled form is the mean over images weighted by the size of their unions.
    weight = union if pooled else ops.cast(union > 0, iou.dtype)
    weight = ops.where(ops.isnan(iou), 1.0, weight)
    size = ops.sum(weight)
    if sample_weight is not None:
        weight = weight * broadcast_weight(sample_weight, weight)
    return Values(ops.where(weight == 0, 0.0, iou), weight, size)


def _check_threshold(threshold):
    number = check_number("threshold", threshold, at_least=0, at_most=1)
    if number == 1:
        raise ValueError(
            "`threshold` must be below 1, which no place exceeds. Received: "
            f"threshold={threshold!r}."
        )
    return number


@keras.saving.register_keras_serializable(package="keras_kd")
class AttentionIoU(StreamingMean):
    """Streaming `attention_iou`: exact on any batching. Higher is closer.

    Args:
        threshold: In [0, 1). Defaults to 0.4.
        pooled: Whether to divide sums over all images, see `attention_iou`. Defaults to
            False.
        name: Defaults to `"attention_iou"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.AttentionIoU()
    >>> metric.update_state(np.array([[[1.0, 0.0]]]), np.array([[[1.0, 0.0]]]))
    >>> metric.update_state(np.array([[[1.0, 0.0]]]), np.array([[[0.0, 1.0]]]))
    >>> float(metric.result())
    0.5

    Reference: Guo et al. 2024 (arXiv 2405.00739), section on attention maps.
    """

    takes = ("first_maps", "second_maps")
    _direction = "up"

    def __init__(self, threshold=0.4, pooled=False, name="attention_iou", dtype=None):
        super().__init__(name, dtype)
        self.threshold = _check_threshold(threshold)
        self.pooled = bool(pooled)

    def update_state(self, first_maps, second_maps, sample_weight=None, other_maps=()):
        """Take in maps `(batch, height, width)` of two models, or more."""
        maps = first_maps, second_maps, *other_maps
        self.add_values(_overlaps(maps, self.threshold, self.pooled, sample_weight))

    def get_config(self):
        own = {"threshold": self.threshold, "pooled": self.pooled}
        return {**super().get_config(), **own}


def _stretched(maps):
    """Each map moved and scaled to [0, 1]; 0 where it is constant."""
    axes = _positions(maps)
    # The limits are for batches without an image, which a replica may get.
    low = ops.min(maps, axis=axes, keepdims=True, initial=float("inf"))
    high = ops.max(maps, axis=axes, keepdims=True, initial=-float("inf"))
    spread = high - low
    return (maps - low) / ops.where(spread == 0, 1.0, spread)


def _count(stressed, dtype):
    return ops.sum(ops.cast(stressed, dtype), axis=_positions(stressed))


def _positions(maps):
    return tuple(range(1, len(maps.shape)))


def _check_same_shape(maps):
    shapes = [tuple(m.shape) for m in maps]
    axes = zip(*shapes, strict=True) if len({len(s) for s in shapes}) == 1 else [(0, 1)]
    if len(shapes[0]) < 2 or any(len({*axis} - {None}) > 1 for axis in axes):
        raise ValueError(
            "Attention maps to compare must be of the same images and of one shape, "
            f"(n, height, width). Received: {', '.join(map(str, shapes))}. Bring them "
            "to the size of the images first; `keras_kd.probes.attention_maps` does."
        )
