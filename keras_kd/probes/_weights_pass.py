"""One compiled forward pass of a network over a sample, at any of its weights."""

import keras
import numpy as np
import tensorflow as tf

from keras_kd._common.calls import inputs_for
from keras_kd._common.examples import broadcast_weight
from keras_kd._common.labels import sparse_labels
from keras_kd._common.output_kind import output_kind
from keras_kd.probes._objective import single_logits
from keras_kd.probes.weights import combine, norm_layers, stateless


class WeightsPass:
    """Loss, agreement and accuracy at weighted sums of lists of weights.

    The sum is formed in the graph, and the model called on its tensors: no variable of
    the model is written, so there is nothing to put back.
    """

    def __init__(
        self, model, sample, objective, states, *, reestimate_statistics=False
    ):
        self._model = model
        self._sample = sample
        self._objective = objective
        self._from_probabilities = output_kind(model) == "probabilities"
        with sample.strategy.scope():  # a copy on each device
            self._states = [
                [tf.Variable(w, trainable=False) for w in state] for state in states
            ]
        self._norms = norm_layers(model)
        if reestimate_statistics:
            check_can_reestimate(model)
        self._reestimates = reestimate_statistics and bool(self._norms)
        compiled = {"reduce_retracing": True, "autograph": False}
        self._sums = tf.function(self._sums_of_batch, **compiled)
        self._moments = tf.function(self._moments_of_batch, **compiled)

    def move_to(self, states):
        """Take other lists of weights, without a new trace."""
        for variables, state in zip(self._states, states, strict=True):
            for variable, value in zip(variables, state, strict=True):
                variable.assign(value)

    def __call__(self, coefficients):
        """`[loss, agreement, accuracy]` float64; NaN where there is no such thing."""
        coefficients = tf.constant(coefficients, "float64")
        statistics = self._statistics(coefficients) if self._reestimates else []
        sums = [
            self._sums(coefficients, batch, statistics)
            for batch in self._sample.batches
        ]
        total = np.sum([s.numpy() for s in sums], axis=0)  # waits for the device
        counts = np.where(total[1::2] == 0, np.nan, total[1::2])
        return total[::2] / counts

    def _sums_of_batch(self, coefficients, batch, statistics):
        return self._sample.run(self._local_sums, coefficients, batch, statistics)

    def _local_sums(self, coefficients, batch, statistics):
        values = self._weights(coefficients)
        for (_, *places), found in zip(self._norms, statistics, strict=False):
            for place, value in zip(places, found, strict=True):
                values[place] = tf.cast(value, values[place].dtype)
        with stateless(self._model, values):
            outputs = self._model(inputs_for(self._model, batch["x"]), training=False)
        logits = single_logits(
            outputs, self._model.name, from_probabilities=self._from_probabilities
        )
        values, weight = self._objective(batch, logits)
        parts = [*_weighted(values, weight), *_agreement(batch, logits, weight)]
        parts += _accuracy(batch, logits)
        return tf.stack([tf.cast(p, "float64") for p in parts])

    def _weights(self, coefficients):
        values = combine(
            tf.unstack(coefficients, num=len(self._states)),
            [[tf.convert_to_tensor(v) for v in state] for state in self._states],
            tf.cast,
        )
        for _, _, variance in self._norms:  # beyond the anchors it may fall below 0
            values[variance] = tf.maximum(values[variance], 0)
        return values

    def _statistics(self, coefficients):
        """`[(mean, variance)]` of each batch normalization over the whole sample."""
        sums = [self._moments(coefficients, b) for b in self._sample.batches]
        count, *moments = [tf.add_n(parts) for parts in zip(*sums, strict=True)]
        pairs = zip(moments[::2], moments[1::2], strict=True)
        return [mean_and_variance(m, s, count) for m, s in pairs]

    def _moments_of_batch(self, coefficients, batch):
        return self._sample.run(self._local_moments, coefficients, batch)

    def _local_moments(self, coefficients, batch):
        weights = self._weights(coefficients)
        x = inputs_for(self._model, batch["x"])
        return moments_in_training(self._model, self._norms, weights, x)


def check_can_reestimate(model):
    for layer, _, _ in norm_layers(model):
        if not layer.trainable or layer.momentum == 1:
            raise ValueError(
                f"Statistics of {layer.name!r} cannot be re-estimated: the layer is "
                "frozen (`trainable=False`, or a momentum of 1). Set `trainable=True` "
                "on it, or leave `reestimate_statistics` out."
            )


def moments_in_training(model, norms, weights, x):
    """`[examples, sum of means, sum of squares, ...]`, each times the examples.

    From an old value of 0, a step of training leaves (1 - momentum) times the batch's.
    """
    weights = list(weights)
    for _, *places in norms:
        for place in places:
            weights[place] = tf.zeros_like(weights[place])
    count = tf.cast(tf.shape(keras.tree.flatten(x)[0])[0], "float64")
    with stateless(model, weights) as scope:
        model(x, training=True)
        found = [
            [
                tf.cast(scope.get_current_value(variable), "float64")
                / (1.0 - layer.momentum)
                for variable in (layer.moving_mean, layer.moving_variance)
            ]
            for layer, _, _ in norms
        ]
    sums = [count]
    for mean, variance in found:
        sums += [count * mean, count * (variance + mean**2)]
    # A replica may get none of the last batch: the mean of nothing is NaN.
    return [sums[0], *(tf.where(count > 0, s, tf.zeros_like(s)) for s in sums[1:])]


def mean_and_variance(total, squares, count):
    mean = total / count
    return mean, tf.maximum(squares / count - mean**2, 0)


def _weighted(values, weight):
    values = tf.where(weight == 0, tf.zeros_like(values), values)
    products = tf.cast(values, "float64") * tf.cast(weight, "float64")
    return [tf.reduce_sum(products), tf.reduce_sum(tf.cast(weight, "float64"))]


def _agreement(batch, logits, weight):
    if "teacher" not in batch or logits.shape[-1] == 1:
        return [0.0, 0.0]
    same = tf.argmax(batch["teacher"], -1) == tf.argmax(logits, -1)
    mask = getattr(logits, "_keras_mask", None)
    counts = tf.ones_like(logits[..., 0]) if mask is None else mask
    return _weighted(tf.cast(same, "float32"), tf.cast(counts, "float32"))


def _accuracy(batch, logits):
    if not _are_classes(batch.get("labels"), logits):
        return [0.0, 0.0]
    labels, labelled = sparse_labels(batch["labels"], logits)
    mask = getattr(logits, "_keras_mask", None)
    if mask is not None:
        labelled = labelled * broadcast_weight(mask, labelled)
    right = tf.argmax(logits, -1, output_type="int32") == labels
    return _weighted(tf.cast(right, "float32"), labelled)


def _are_classes(labels, logits):
    """Class indices, or rows over the classes; no float target of a regression."""
    if labels is None or logits.shape[-1] == 1:
        return False
    as_rows = len(labels.shape) == len(logits.shape) and labels.shape[-1] != 1
    return as_rows or not labels.dtype.is_floating
