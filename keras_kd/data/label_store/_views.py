"""The views of a source, in order and batched: what a store is written from."""

import tensorflow as tf

from keras_kd._common.batch import without_waiting
from keras_kd.data import _examples
from keras_kd.data.sources import Source
from keras_kd.data.targets import inputs_and_labels


def unchanged(dataset):
    """The pipeline where none is given."""
    return dataset


class Views:
    """Passes over a source through a pipeline, without shuffling.

    Args:
        source: `Source`.
        pipeline: Function from a dataset of examples to one of examples; see
            `LabelStore.write`.
    """

    def __init__(self, source, pipeline):
        if not isinstance(source, Source):
            raise TypeError(
                "`source` must be a `keras_kd.data.Source`, as `keras_kd.data.load` "
                f"and `from_arrays` give one. Received: {source!r}."
            )
        self.source = source
        self._pipeline = unchanged if pipeline is None else pipeline
        self.size = int(self.of(0).cardinality())
        if self.size < 1:
            raise ValueError(
                "The pipeline must keep the number of examples known, of which a store "
                "has one record each. Put `.filter` and the like before the store, or "
                "tell by `.apply(tf.data.experimental.assert_cardinality(size))`."
            )

    def of(self, view, skip=0):
        """A dataset of the examples of one pass, from a row on."""
        if skip and self.size == self.source.size:  # nothing is put in between
            examples = self.source.examples(
                shuffle=False, initial_epoch=view, initial_step=skip
            )
            return self.through(examples)
        examples = self.source.examples(shuffle=False, initial_epoch=view)
        return self.through(examples).skip(skip)

    def through(self, examples):
        """Examples after the pipeline, still one by one."""
        found = self._pipeline(examples)
        spec = _examples.check_examples(found, "LabelStore")
        if _examples.is_batch(spec):
            raise ValueError(
                "The pipeline of a store works on single examples: its key is one "
                "example and one view. Received batches. What mixes the examples of a "
                "batch (mixup, cutmix) makes images that no store has seen."
            )
        return found

    def batches(self, view, batch_size, first=0, count=None):
        """`(index, inputs, labels)` of a pass as arrays, some rows at a time."""
        dataset = self.of(view, first)
        dataset = dataset if count is None else dataset.take(count)
        dataset = dataset.batch(batch_size).map(_parts).prefetch(1)
        yield from without_waiting(dataset).as_numpy_iterator()

    def first_rows(self, view, count):
        """The inputs of the first rows of a pass."""
        rows = self.batches(view, count, count=count)
        return next(rows)[1]


def _parts(batch):
    inputs = {k: v for k, v in batch.items() if k not in ("temperature", "label")}
    x = inputs_and_labels(inputs)[0]
    labels = batch.get("label")
    if labels is None:
        labels = tf.fill([tf.shape(x)[0]], -1)
    elif labels.shape.rank == 2:  # one-hot
        known = tf.reduce_sum(labels, -1) > 0
        labels = tf.where(known, tf.argmax(labels, -1), -1)
    return batch["index"], x, tf.cast(labels, tf.int64)
