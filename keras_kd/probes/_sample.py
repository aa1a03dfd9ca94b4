"""A fixed sample in batches on its devices, with what the teacher says of it."""

import hashlib

import keras
import numpy as np
import tensorflow as tf

from keras_kd._common.checks import check_whole_number
from keras_kd.answers import as_classifier, over_replicas
from keras_kd.probes._objective import single_logits


class Sample:
    """`batches`: dicts of "x", and of "labels" and "teacher" where there are such.

    Under a strategy of several replicas each leaf holds a part for each of them.
    """

    def __init__(self, x, y, teacher, batch_size):
        self.strategy = tf.distribute.get_strategy()
        self.has_labels = y is not None
        self.has_teacher = teacher is not None
        arrays = {"x": x} if y is None else {"x": x, "labels": y}
        self._arrays = keras.tree.map_structure(np.asarray, arrays)
        self.num_examples = _num_examples(self._arrays)
        self._teacher = None if teacher is None else as_classifier(teacher)
        self.batches = self._placed(
            check_whole_number("batch_size", batch_size, at_least=1)
        )
        if teacher is not None:
            self._ask_teacher()

    def run(self, function, *arguments):
        """Sum over replicas of a function of this batch (inside a graph)."""
        if self.strategy.num_replicas_in_sync == 1:
            return function(*arguments)
        found = self.strategy.run(function, args=arguments)
        return tf.nest.map_structure(
            lambda part: self.strategy.reduce("SUM", part, axis=None), found
        )

    def fingerprint(self):
        """What tells this sample and teacher from others."""
        leaves = [*keras.tree.flatten(self._arrays)]
        if self._teacher is not None:
            leaves += [keras.ops.convert_to_numpy(w) for w in self._teacher.weights]
        return fingerprint(leaves)

    def _placed(self, batch_size):
        starts = range(0, self.num_examples, batch_size)
        parts = (
            keras.tree.map_structure(lambda a, i=i: a[i : i + batch_size], self._arrays)
            for i in starts
        )
        if self.strategy.num_replicas_in_sync > 1:
            return list(over_replicas(parts, self.strategy))
        return [keras.tree.map_structure(tf.convert_to_tensor, part) for part in parts]

    def _ask_teacher(self):
        def logits(x):
            return single_logits(self._teacher(x), self._teacher.members[0].name)

        @tf.function(reduce_retracing=True, autograph=False)
        def ask(x):
            if self.strategy.num_replicas_in_sync == 1:
                return logits(x)
            return self.strategy.run(logits, args=(x,))

        for batch in self.batches:
            batch["teacher"] = ask(batch["x"])


def fingerprint(arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _num_examples(arrays):
    sizes = {len(leaf) if leaf.ndim else 0 for leaf in keras.tree.flatten(arrays)}
    if len(sizes) != 1 or sizes == {0}:
        raise ValueError(
            "`x` (and `y`) must be arrays of the same number of examples, at least "
            f"one. Received lengths {sorted(sizes)}."
        )
    return sizes.pop()
