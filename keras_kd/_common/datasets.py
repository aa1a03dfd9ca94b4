"""The kinds of data that a comparison reads, as iterables of batches."""

import keras
import tensorflow as tf


def as_dataset(data, batch_size):
    """A `tf.data.Dataset`, or another iterable of batches as it is.

    Arrays (`x`, or a tuple `(x, y)` or `(x, y, sample_weight)`) are batched.
    """
    if isinstance(data, (tf.data.Dataset, keras.utils.PyDataset)):
        return data
    if isinstance(data, (tuple, list)) or hasattr(data, "__array__"):
        parts = tuple(data) if isinstance(data, (tuple, list)) else (data,)
        if not 1 <= len(parts) <= 3:
            raise ValueError(
                "Arrays to compare on are `x`, `(x, y)` or `(x, y, sample_weight)`. "
                f"Received {len(parts)} of them."
            )
        slices = parts if len(parts) > 1 else parts[0]
        return tf.data.Dataset.from_tensor_slices(slices).batch(batch_size)
    if hasattr(data, "__iter__"):
        return data
    raise TypeError(
        "A set to compare on must be a tf.data.Dataset of batches, a "
        "keras.utils.PyDataset, a generator of batches, or a tuple of arrays. "
        f"Received: {data!r} of type {type(data).__name__}."
    )


def num_steps(dataset, steps):
    """Batches that a pass reads, None if only reading tells; no endless ones."""
    available = None
    if isinstance(dataset, tf.data.Dataset):
        available = int(dataset.cardinality())
        if available == tf.data.INFINITE_CARDINALITY and steps is None:
            raise ValueError(
                "The dataset repeats without end. Say how many batches one pass reads: "
                "`steps=...`."
            )
    elif isinstance(dataset, keras.utils.PyDataset):
        available = dataset.num_batches
    if available is None or available < 0:
        return steps
    return available if steps is None else min(steps, available)


def batches(dataset):
    """Iterate over the batches of any of these kinds."""
    if isinstance(dataset, keras.utils.PyDataset):
        return (dataset[i] for i in range(dataset.num_batches))
    return iter(dataset)
