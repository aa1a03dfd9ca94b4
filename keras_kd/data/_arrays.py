"""Checks of arrays that a user makes a source of."""

import numpy as np

from keras_kd._common import checks
from keras_kd._common.batch import UNLABELED


def check_inputs(inputs):
    """`(array, feature)` of images or texts, or an error."""
    array = np.asarray(inputs)
    if len(array) == 0 if array.ndim else True:
        raise ValueError(
            f"A source has at least one example. Received: inputs of shape "
            f"{array.shape}."
        )
    if array.ndim == 1 and all(isinstance(text, (str, bytes)) for text in array):
        return array.astype(object), "text"
    if array.ndim != 4:
        hint = " Add the channel axis: `images[..., None]`." if array.ndim == 3 else ""
        raise ValueError(
            "`inputs` must be images of shape (n, height, width, channels), or texts "
            f"of shape (n,). Received: {array.dtype} of shape {array.shape}.{hint}"
        )
    if array.dtype.kind == "f":
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):
            raise ValueError(
                "Images of floating point must lie in [0, 1]. Received: values from "
                f"{low:g} to {high:g}. Divide by 255, or pass uint8."
            )
        return array.astype(np.float32), "image"
    if array.dtype != np.uint8:
        raise TypeError(
            "Images must be uint8, or floating point in [0, 1]. Received: "
            f"{array.dtype}. Convert with `images.astype('uint8')`."
        )
    return array, "image"


def check_labels(labels, num_classes, size):
    """`(int64 array, number of classes)`, or an error."""
    if num_classes is not None:
        num_classes = checks.check_whole_number("num_classes", num_classes, at_least=1)
    if labels is None:
        return np.full(size, UNLABELED, np.int64), num_classes
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]  # as keras.datasets gives those of CIFAR
    if array.shape != (size,):
        hint = " Of one-hot rows take `labels.argmax(-1)`." if array.ndim == 2 else ""
        raise ValueError(
            f"`labels` must be one class index an example, of shape ({size},). "
            f"Received: shape {array.shape}.{hint}"
        )
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"`labels` must be class indices, whole numbers. Received: {array.dtype}."
        )
    highest = int(array.max())
    if num_classes is None and highest >= 0:
        num_classes = highest + 1
    if array.min() < UNLABELED or (num_classes and highest >= num_classes):
        raise ValueError(
            f"`labels` must lie between 0 and {num_classes} - 1 (`num_classes`), or be "
            f"{UNLABELED} where unknown. Received: values from {array.min()} to "
            f"{highest}."
        )
    return array.astype(np.int64), num_classes


def check_channels(name, values, shape):
    """One float for each channel, from one number or as many, or an error."""
    if values is None:
        return None
    if shape is None:
        raise ValueError(f"Texts have no pixels, and so no `{name}`.")
    numbers = np.atleast_1d(np.asarray(values, np.float64))
    if len(numbers) == 1:
        numbers = np.repeat(numbers, shape[-1])
    rule = "> 0" if name == "std" else "in [0, 1]"
    fits = numbers > 0 if name == "std" else (numbers >= 0) & (numbers <= 1)
    if numbers.shape != (shape[-1],) or not fits.all():
        raise ValueError(
            f"`{name}` must be one number {rule} for each of {shape[-1]} channels, of "
            f"pixels in [0, 1]. Received: {name}={values!r}."
        )
    return tuple(float(number) for number in numbers)


def check_shuffle(shuffle):
    """The buffer that `shuffle` asks for, None where it names none."""
    if isinstance(shuffle, (bool, np.bool_)):
        return None
    return checks.check_whole_number("shuffle", shuffle, at_least=1)
