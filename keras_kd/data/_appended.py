"""Further images among the examples of each pass, each of them once."""

import tensorflow as tf

from keras_kd.data import _examples
from keras_kd.data._seeds import stateless_seed

# Added images have numbers above those of any source, so that augmentation and label
# stores tell them apart; each operation has its own block.
FIRST_INDEX = {"out_of_distribution": 2**25, "fixed_gan_samples": 2**25 + 2**24}
_shuffle = tf.random.experimental.stateless_shuffle
_CHUNK = 128  # examples handled at once; of no effect on the order


def append(dataset, images, operation, seed, *, temperature=None, evenly):
    """A dataset of examples with unlabelled images put in at places drawn in each pass.

    Args:
        dataset: Of single examples, its size known.
        images: `(count, h, w, c)`, of the dtype of those in the dataset.
        operation: Name of the calling function.
        seed: Draws depend on it and on the view number of the pass.
        temperature: Of the added examples, None for that of the loss.
        evenly: True: at the same distance from one another, in an order drawn anew in
            each pass. False: as if all examples had been shuffled together.
    """
    check(dataset, images, operation)
    size, count = int(dataset.cardinality()), len(images)
    images = tf.constant(images)
    draw = _evenly if evenly else _at_random

    def add(state, chunk):
        start, before, numbers = state
        if start == 0:  # once a pass; autograph makes it a part of the graph
            place = {"index": tf.zeros([], tf.int64), "view": chunk["view"][0]}
            seed_of_pass = stateless_seed(seed, f"{operation}/places", **place)
            before, numbers = draw(size, count, seed_of_pass)
        end = start + tf.shape(chunk["index"], tf.int64)[0]
        due = (before >= start) & ((before < end) | (end == size))
        index = FIRST_INDEX[operation] + numbers[due]
        rows = tf.gather(images, numbers[due])
        grown = _examples.with_rows(chunk, rows, index, temperature)
        position = tf.concat([2 * tf.range(start, end) + 1, 2 * before[due]], axis=0)
        order = tf.argsort(position, stable=True)
        grown = {key: tf.gather(value, order) for key, value in grown.items()}
        return (end, before, numbers), grown

    empty = tf.zeros([count], tf.int64)
    state = tf.zeros([], tf.int64), empty, empty
    chunks = dataset.batch(_CHUNK).scan(state, add)
    return _claiming(chunks, size + count)


def _claiming(chunks, total):
    """Single examples whose number is known, as Keras asks: `total`.

    A pass that `initial_step` cuts short has fewer, so this must not be checked.
    """
    claim = -(-total // int(chunks.cardinality()))

    def claim_rows(chunk):
        for column in chunk.values():
            column.set_shape([claim, *column.shape[1:]])  # no operation reads it
        return chunk

    return chunks.map(claim_rows).unbatch().take(total)


def check(dataset, images, operation):
    spec = _examples.check_images(dataset, operation, batched=False)
    _examples.check_can_grow(dataset.element_spec, operation)
    if tuple(spec.shape) != images.shape[1:] or spec.dtype != images.dtype:
        raise ValueError(
            f"`{operation}` adds images of shape {images.shape[1:]} and dtype "
            f"{images.dtype} to images of shape {tuple(spec.shape)} and dtype "
            f"{spec.dtype.name}. Both must be alike: bring them to one size, and put "
            "the step where pixels have the range of the images that it adds."
        )
    if dataset.cardinality() < 1:
        raise ValueError(
            f"`{operation}` must know how many examples a pass has, to spread the "
            "images over it. Tell with "
            "`.apply(tf.data.experimental.assert_cardinality(size))`."
        )


def _evenly(size, count, seed):
    """How many examples stand before each added image, and which images these are."""
    before = tf.range(1, count + 1, dtype=tf.int64) * size // count
    return before, _shuffle(tf.range(count, dtype=tf.int64), seed)


def _at_random(size, count, seed):
    shuffled = _shuffle(tf.range(size + count, dtype=tf.int64), seed)
    places = tf.where(shuffled >= size)[:, 0]
    before = places - tf.range(count, dtype=tf.int64)
    return tf.ensure_shape(before, [count]), tf.ensure_shape(
        tf.gather(shuffled, places) - size, [count]
    )
