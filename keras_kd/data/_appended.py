"""Further images among the examples of each pass, each of them once."""

import tensorflow as tf

from keras_kd._common.seeds import stateless_seed
from keras_kd.data import _examples

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
            each pass. False: each behind an example drawn at random, as if all had been
            shuffled together.
    """
    check(dataset, images, operation)
    size, count = int(dataset.cardinality()), len(images)
    images = tf.constant(images)
    places = _evenly if evenly else _at_random
    drawn = count if evenly else size

    def add(state, chunk):
        start, shuffled = state
        if start == 0:  # autograph: once a pass
            place = {"index": tf.zeros([], tf.int64), "view": chunk["view"][0]}
            seed_of_pass = stateless_seed(seed, f"{operation}/places", **place)
            shuffled = _shuffle(tf.range(drawn, dtype=tf.int64), seed_of_pass)
        end = start + tf.shape(chunk["index"], tf.int64)[0]
        behind, number = places(tf.range(start, end), shuffled, size, count)
        index = FIRST_INDEX[operation] + number
        grown = _examples.with_rows(
            chunk, tf.gather(images, number), index, temperature
        )
        position = tf.concat([2 * tf.range(start, end), 2 * behind + 1], axis=0)
        order = tf.argsort(position, stable=True)
        grown = {key: tf.gather(value, order) for key, value in grown.items()}
        return (end, shuffled), grown

    state = tf.zeros([], tf.int64), tf.zeros([drawn], tf.int64)
    grown = dataset.batch(_CHUNK).scan(state, add).unbatch()
    return grown.apply(tf.data.experimental.assert_cardinality(size + count))


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


def _evenly(positions, shuffled, size, count):
    """Of the images due at these positions: the example before each, its number."""
    first, end = positions[0] * count // size, (positions[-1] + 1) * count // size
    turn = tf.range(first, end)
    behind = ((turn + 1) * size + count - 1) // count - 1  # the first to make it due
    return behind, shuffled[first:end]


def _at_random(positions, shuffled, size, count):
    """Image r is behind the example that the permutation of this pass sends to r."""
    rounds = size * tf.range(
        -(-count // size), dtype=tf.int64
    )  # over 1 if count > size
    number = tf.gather(shuffled, positions)[:, None] + rounds
    behind = tf.broadcast_to(positions[:, None], tf.shape(number))
    return behind[number < count], number[number < count]
