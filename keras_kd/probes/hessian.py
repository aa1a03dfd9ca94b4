"""The Hessian of a loss with respect to a network's parameters, as products only."""

import numpy as np
import tensorflow as tf

from keras_kd._common.calls import inputs_for
from keras_kd._common.output_kind import output_kind
from keras_kd.probes._objective import Objective, single_logits
from keras_kd.probes._sample import Sample
from keras_kd.probes.weights import is_parameter, network_of, stateless


class LossHessian:
    """The Hessian of the mean loss over a sample: multiply it, never hold it.

    A product takes about four forward passes over the sample (a gradient of a
    gradient), whatever the number of parameters. Batches count by their examples, so a
    short last one is right. Networks run in inference mode: batch normalization with
    its statistics, no dropout. Regularisation is left out. Nothing of the model is
    written; its weights are read at each product.

    Args:
        model: A built `keras.Model` with one output; of a Distiller, its student.
        x: Array of inputs, or a dict or list of arrays.
        y: Labels. Defaults to None.
        loss: A loss of `keras_kd.losses` (then with `teacher`), a Keras loss of labels,
            or a function `(labels, logits)` of one value an example. Defaults to
            `KnowledgeDistillation()` with a teacher, and to cross-entropy of class
            indices without.
        teacher: Classifier, list of them, or `TeacherEnsemble`. Defaults to None.
        batch_size: Examples at a time. Defaults to 256.

    Example:

    >>> layers = [keras.Input((3,)), keras.layers.Dense(2)]
    >>> x, y = np.random.rand(8, 3), np.arange(8) % 2
    >>> hessian = keras_kd.probes.LossHessian(keras.Sequential(layers), x, y)
    >>> hessian.size, hessian.matvec(np.ones(8)).shape
    (8, (8,))

    References: Pearlmutter 1994 (the product); Yao et al. 2020, PyHessian.
    """

    def __init__(self, model, x, y=None, *, loss=None, teacher=None, batch_size=256):
        self._model = network_of(model, "model")
        self._sample = Sample(x, y, teacher, batch_size)
        self._objective = Objective(
            loss, has_teacher=teacher is not None, has_labels=y is not None
        )
        self._from_probabilities = output_kind(self._model) == "probabilities"
        self._places = [i for i, p in enumerate(is_parameter(self._model)) if p]
        self._shapes = [tuple(self._model.weights[i].shape) for i in self._places]
        compiled = {"reduce_retracing": True, "autograph": False}
        self._products = tf.function(self._products_of_batch, **compiled)
        self._gradients = tf.function(self._gradients_of_batch, **compiled)

    @property
    def size(self):
        """Number of parameters: rows and columns."""
        return sum(int(np.prod(shape)) for shape in self._shapes)

    @property
    def num_examples(self):
        return self._sample.num_examples

    def matvec(self, vector):
        """The product with a vector `(size,)`: float64 `(size,)`.

        Parameters are in the order of `model.weights`, each flattened.
        """
        vector = np.asarray(vector, "float64")
        if vector.shape != (self.size,):
            raise ValueError(
                f"The Hessian of {self._model.name!r} has {self.size} rows. Received: "
                f"a vector of shape {vector.shape}. Give one number a parameter."
            )
        parts = self._split(vector)
        return self._mean(self._products(parts, b) for b in self._sample.batches)

    def gradient(self):
        """Gradient of the mean loss: float64 `(size,)`."""
        return self._mean(self._gradients(b) for b in self._sample.batches)

    def _split(self, vector):
        ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes])
        return [
            tf.constant(part.reshape(shape), self._model.weights[i].dtype)
            for part, shape, i in zip(
                np.split(vector, ends[:-1]), self._shapes, self._places, strict=True
            )
        ]

    def _mean(self, sums):
        total, weight = np.zeros(self.size), 0.0
        for parts, batch_weight in sums:
            flat = [np.ravel(p.numpy()).astype("float64") for p in parts]
            total += np.concatenate(flat)
            weight += float(batch_weight)
        return total / weight if weight else np.full_like(total, np.nan)

    def _products_of_batch(self, vectors, batch):
        return self._sample.run(self._local_products, vectors, batch)

    def _gradients_of_batch(self, batch):
        return self._sample.run(self._local_gradients, batch)

    def _local_gradients(self, batch):
        values, parameters = self._values()
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            loss, weight = self._loss(values, batch)
        return _dense(tape, loss, parameters), weight

    def _local_products(self, vectors, batch):
        values, parameters = self._values()
        with tf.GradientTape() as outer:
            outer.watch(parameters)
            with tf.GradientTape() as inner:
                inner.watch(parameters)
                loss, weight = self._loss(values, batch)
            gradients = _dense(inner, loss, parameters)
            pairs = zip(gradients, vectors, strict=True)
            along = tf.add_n([tf.reduce_sum(g * v) for g, v in pairs])
        return _dense(outer, along, parameters), weight

    def _values(self):
        values = [tf.convert_to_tensor(w.value) for w in self._model.weights]
        return values, [values[i] for i in self._places]

    def _loss(self, values, batch):
        """Weighted sum over the batch, and the weight."""
        with stateless(self._model, values):
            outputs = self._model(inputs_for(self._model, batch["x"]), training=False)
        logits = single_logits(
            outputs, self._model.name, from_probabilities=self._from_probabilities
        )
        losses, weight = self._objective(batch, logits)
        losses = tf.where(weight == 0, tf.zeros_like(losses), losses)
        return tf.reduce_sum(losses * weight), tf.reduce_sum(tf.cast(weight, "float64"))


def _dense(tape, target, sources):
    gradients = tape.gradient(target, sources, unconnected_gradients="zero")
    return [tf.convert_to_tensor(g) for g in gradients]  # of embeddings: only rows
