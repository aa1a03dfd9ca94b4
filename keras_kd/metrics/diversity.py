"""How much the members of an ensemble differ."""

import itertools

import keras
from keras import ops

from keras_kd._common.examples import combined_mask, examples_of, weigh
from keras_kd._common.numerics import at_least_float32, kl_divergence
from keras_kd.metrics._segment_sums import SegmentSums, segment_means, segment_sums

_VALUES = ("disagreement", "kl", "variance")


def ensemble_diversity(member_logits, *, sample_weight=None):
    """How much the members of an ensemble differ, in three ways. 0: not at all.

    Args:
        member_logits: `(members, n, ..., classes)`, or a list of `(n, ..., classes)`
            arrays; at least 2 members.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.

    Returns:
        Dict of scalars; NaN for an empty set. `"disagreement"`: share of examples on
        which two members predict different classes, mean over the pairs. `"kl"`:
        KL(p_i || p_j) in nats, mean over ordered pairs and examples. `"variance"`: of
        the members' probabilities (mean square distance from their mean), summed over
        classes, mean over examples.

    Example:

    >>> members = [np.array([[9.0, -9.0]]), np.array([[-9.0, 9.0]])]
    >>> found = keras_kd.metrics.ensemble_diversity(members)
    >>> {name: round(float(value), 4) for name, value in found.items()}
    {'disagreement': 1.0, 'kl': 18.0, 'variance': 0.5}
    """
    return _by_name(_means(_sums(member_logits, sample_weight)))


def diversity_values(members):
    """Disagreement, KL and variance of each example or position."""
    return _disagreement(members), _mean_kl(members), _variance(members)


def _sums(member_logits, sample_weight):
    mask = None
    if isinstance(member_logits, (list, tuple)):
        mask = combined_mask(*member_logits)
    members = _members(member_logits)
    examples = examples_of(None, members[0], None, sample_weight, mask=mask)
    values = diversity_values(members)
    weight = weigh(values[0], examples).weight
    return segment_sums(1, ops.zeros_like(weight), weight, *values)


def _means(sums):
    return [mean[0] for mean in segment_means(sums)[1:]]


def _by_name(means):
    return dict(zip(_VALUES, means, strict=True))


@keras.saving.register_keras_serializable(package="keras_kd")
class EnsembleDiversity(SegmentSums):
    """Streaming `ensemble_diversity`: exact on any batching. Higher is more diverse.

    Args:
        name: Defaults to `"ensemble_diversity"`.
        dtype: Of the result. Defaults to `keras.config.floatx()`.

    Example:

    >>> metric = keras_kd.metrics.EnsembleDiversity()
    >>> metric.update_state([np.array([[9.0, -9.0]]), np.array([[-9.0, 9.0]])])
    >>> round(float(metric.result()["kl"]), 4)
    18.0
    """

    _direction = "up"

    def __init__(self, name="ensemble_diversity", dtype=None):
        super().__init__(1, num_values=len(_VALUES), name=name, dtype=dtype)

    def update_state(self, member_logits, sample_weight=None):
        """Take in a batch: `(members, batch, ..., classes)`, or a list by member."""
        self.add_table(_sums(member_logits, sample_weight))

    def result(self):
        """Dict of `"disagreement"`, `"kl"` and `"variance"`."""
        return _by_name(self.in_dtype(*_means(self.totals())))


def _members(member_logits):
    if isinstance(member_logits, (list, tuple)):
        members = at_least_float32(*member_logits)
    else:
        (stacked,) = at_least_float32(member_logits)
        members = tuple(stacked[i] for i in range(stacked.shape[0]))
    shapes = [tuple(m.shape) for m in members]
    if len(members) < 2 or len(set(shapes)) > 1 or len(shapes[0]) < 2:
        raise ValueError(
            "`member_logits` must be (members, batch, ..., classes), or a list of at "
            "least 2 arrays (batch, ..., classes) of one shape. Received: shapes "
            f"{shapes}."
        )
    return members


def _disagreement(members):
    said = [ops.argmax(m, axis=-1) for m in members]
    pairs = list(itertools.combinations(said, 2))
    dtype = members[0].dtype
    return sum(ops.cast(ops.not_equal(*p), dtype) for p in pairs) / len(pairs)


def _mean_kl(members):
    pairs = list(itertools.permutations(members, 2))
    return sum(kl_divergence(*pair) for pair in pairs) / len(pairs)


def _variance(members):
    probs = ops.stack([ops.softmax(m, axis=-1) for m in members])
    return ops.sum(ops.var(probs, axis=0), axis=-1)
