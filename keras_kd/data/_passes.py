"""Iterations over a source: each of them is a pass with the next view number."""

import itertools

import numpy as np
import tensorflow as tf

CHUNK = 512  # elements that are handled at once, for speed


def dataset_of_passes(one_pass, size, first_view, skip):
    """A dataset of `size` elements that reads `one_pass(view, skip)` when iterated.

    Args:
        one_pass: Gives the dataset of a pass, from its view number and the number of
            elements to leave out at the start, both int64 scalars.
        size: Elements of a whole pass.
        first_view: View number of the first iteration; each one adds 1.
        skip: Elements that the first iteration leaves out.
    """
    # Counted in Python: a variable made under a strategy has a copy on each replica,
    # and one on a GPU is out of reach of the pipeline.
    next_view = _numbers(itertools.count(first_view))

    def start(_):
        view = next_view()
        left_out = tf.where(view == first_view, tf.constant(skip, tf.int64), 0)
        return one_pass(view, left_out)

    passes = tf.data.Dataset.range(1).flat_map(start)
    if skip == 0:
        return passes.apply(tf.data.experimental.assert_cardinality(size))
    return _claiming(size, passes, skip)


def _claiming(size, passes, skip):
    """Passes that say they have `size` elements, though the first has fewer.

    Keras runs as many steps in each epoch as the dataset claims, and goes on to the
    next one when it ends before. Were the size unknown, it would take that of the short
    pass for all others.
    """
    chunks = -(-size // CHUNK)
    short = -(-(size - skip) // CHUNK)
    next_length = _numbers(itertools.chain([short], itertools.repeat(chunks)))

    def numbers(_):
        found = tf.range(next_length())
        found.set_shape([chunks])  # the first claim
        return found

    def chunk_of(number, chunk):
        for column in chunk.values():
            column.set_shape([CHUNK, *column.shape[1:]])  # the second
        return chunk

    # Chunks behind the last one are never seen, but make a pass endless by its own
    # account, so that the numbers decide. Zip asks once more than there are numbers.
    in_chunks = passes.batch(CHUNK)
    empty = tf.nest.map_structure(
        lambda spec: tf.zeros([1, *spec.shape[1:]], spec.dtype), in_chunks.element_spec
    )
    endless = in_chunks.concatenate(tf.data.Dataset.from_tensors(empty).repeat())
    numbers = tf.data.Dataset.range(1).map(numbers).unbatch()
    zipped = tf.data.Dataset.zip(numbers, endless)
    return zipped.map(chunk_of).unbatch().take(size)


def _numbers(iterator):
    """A function that gives the next number as a tensor, whenever it is run."""

    def following():
        return np.int64(next(iterator))

    def tensor():
        return tf.ensure_shape(tf.numpy_function(following, [], tf.int64), [])

    return tensor
