"""What transformations of examples and of batches share: their keys, checks and rows.

An example is a dict of "index", "view", "image" (or text), "label", and perhaps
"temperature" and "sample_weight"; a batch is the same with one more axis in front.
"""

import tensorflow as tf

from keras_kd._common.batch import UNLABELED

# What a row gets that an operation adds, where other rows have such a key. A
# temperature of 0 stands for that of the loss.
_FILL = {"temperature": 0.0, "sample_weight": 1.0}
_KEYS = {"index", "view", "image", "label", *_FILL}
_IMAGE_RANK = 3


def check_images(dataset, operation, batched=None):
    """The spec of "image" in a dataset of examples (or batches), or an error."""
    spec = check_examples(dataset, operation)
    if "image" not in spec:
        raise ValueError(
            f"`{operation}` works on images, but the examples have only "
            f"{sorted(spec)}. Use a source of images."
        )
    image = spec["image"]
    if image.shape.rank not in (_IMAGE_RANK, _IMAGE_RANK + 1):
        raise ValueError(
            f"`{operation}` takes images of shape (height, width, channels), or "
            f"batches of them. Received: images of shape {image.shape}."
        )
    if batched is not None and batched != is_batch(spec):
        told = "batches: call `.batch(size)` before" if batched else (
            "single examples: put it before `.batch(size)`, not after"
        )  # fmt: skip
        raise ValueError(
            f"`{operation}` works on {told}. Received: images of shape {image.shape}."
        )
    return image


def check_examples(dataset, operation):
    """The element spec of a dataset of example dicts, or an error."""
    spec = getattr(dataset, "element_spec", None)
    if not isinstance(spec, dict) or not {"index", "view"} <= set(spec):
        raise ValueError(
            f"`{operation}` works on dicts of examples with the keys 'index' and "
            "'view', as `source.examples()` gives them; `.map(inputs_and_labels)` "
            f"comes last. Received: {spec if spec is not None else dataset!r}."
        )
    return spec


def check_float(image, operation):
    if not image.dtype.is_floating:
        raise ValueError(
            f"`{operation}` needs images of floating point. Received: "
            f"{image.dtype.name}. Put `.apply(keras_kd.data.normalize(...))` before."
        )


def is_batch(spec):
    return spec["index"].shape.rank == 1


def mapped(dataset, function):
    """`dataset.map(function)`, in parallel and in order."""
    return dataset.map(
        function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def place(batch):
    """Keywords of `stateless_seed` for a whole batch: those of its first example."""
    return {"index": batch["index"][0], "view": batch["view"][0]}


def without_labels(labels, chosen):
    """The labels (indices or one-hot rows), missing where `chosen` is true."""
    labels = signed(labels)
    if labels.dtype.is_floating:
        chosen, missing = chosen[..., None], tf.zeros([], labels.dtype)
    else:
        missing = tf.constant(UNLABELED, labels.dtype)
    return tf.where(chosen, missing, labels)


def signed(labels):
    """Labels in a dtype that holds -1."""
    if labels.dtype.is_floating or labels.dtype in (tf.int32, tf.int64):
        return labels
    return tf.cast(labels, tf.int64 if labels.dtype == tf.uint32 else tf.int32)


def check_can_grow(spec, operation):
    """Raise where rows have a key of which an added row would not know the value."""
    unknown = sorted(set(spec) - _KEYS)
    if unknown:
        raise ValueError(
            f"`{operation}` adds examples, and does not know what to give them for "
            f"{unknown}. Remove these keys before, or add them after. It knows "
            f"{sorted(_KEYS)}."
        )


def with_rows(batch, image, index, temperature=None):
    """The batch with unlabelled rows of these images behind its own."""
    count = tf.shape(index)[0]
    batch = dict(batch)
    if "label" in batch:
        batch["label"] = signed(batch["label"])
    if temperature is not None and "temperature" not in batch:
        batch["temperature"] = tf.zeros(tf.shape(batch["index"]), tf.float32)
    given = {"image": image, "index": tf.cast(index, batch["index"].dtype)}
    for key, value in batch.items():
        if key in given:
            rows = given[key]
        elif key == "label":
            rows = tf.zeros(tf.concat([[count], tf.shape(value)[1:]], 0), value.dtype)
            rows = without_labels(rows, tf.fill([count], True))
        elif key == "view":
            rows = tf.fill([count], value[0])
        else:
            fill = _FILL[key]
            if key == "temperature" and temperature is not None:
                fill = temperature
            rows = tf.cast(tf.fill([count], fill), value.dtype)
        batch[key] = tf.concat([value, rows], axis=0)
    return batch
