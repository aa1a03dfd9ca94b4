"""The images of a set of any kind that `answers` reads, without what is beside them."""

import itertools

import numpy as np

from keras_kd._common.checks import check_whole_number
from keras_kd.answers import as_dataset, batches, num_steps


def all_images(images, batch_size):
    """Iterate over the images of a whole set in its own batches; no endless set.

    Args:
        images: Array or list of images, batched by `batch_size`; or batches that are
            images, have them first in a tuple, or as "image" in a dict.
        batch_size: Images at a time where the set is not batched.
    """
    dataset = _as_set(images, batch_size)
    num_steps(dataset, None)
    return map(_images_of, batches(dataset))


def first_images(images, count, batch_size):
    """Iterate over `count` images, `batch_size` at a time however a set is batched."""
    of_set = map(_images_of, batches(_as_set(images, batch_size, count)))
    single = (image for batch in of_set for image in np.asarray(batch))
    single = itertools.islice(single, count)
    return map(np.stack, iter(lambda: [*itertools.islice(single, batch_size)], []))


def _as_set(images, batch_size, count=None):
    check_whole_number("batch_size", batch_size, at_least=1)
    if isinstance(images, list) or hasattr(images, "__array__"):
        images = np.asarray(images)[:count]
    return as_dataset(images, batch_size)


def _images_of(batch):
    first = batch[0] if isinstance(batch, (tuple, list)) else batch
    if isinstance(first, dict):
        if "image" not in first:
            raise ValueError(
                "A batch that is a dict must have its images as 'image'. Received the "
                f"keys {sorted(first)}. Map the set to its images."
            )
        return first["image"]
    return first
