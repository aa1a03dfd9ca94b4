"""Small arrays as datasets that start and end at once, where Keras's take longest.

Keras 3.15 batches arrays by four functions of tf.data and a prefetch: each epoch pays
for starting them, and its end waits for tf.data's autotuner.
"""

import inspect

import keras
import numpy as np
import tensorflow as tf

from keras_kd._common.batch import without_waiting

# Of larger sets, examples one by one take longer than what is saved.
MAX_EXAMPLES = 10_000
MAX_BYTES = 2**26
_SIGNATURES = {
    name: inspect.signature(getattr(keras.Model, name))
    for name in ("fit", "evaluate", "predict")
}


def with_small_sets(method, *args, **kwargs):
    """Keyword arguments of a method of `keras.Model`, small arrays in them as datasets.

    Arrays that are not plain and small stay as they are; so do all of them with an
    argument that says how Keras is to cut them: `validation_split`, a number of steps,
    `shuffle="batch"`.

    Args:
        method: "fit", "evaluate" or "predict".
        args, kwargs: Of the method.
    """
    arguments = dict(_SIGNATURES[method].bind(None, *args, **kwargs).arguments)
    arguments.pop("self")
    arguments.update(arguments.pop("kwargs", {}))
    if method == "fit":
        _replace_validation(arguments)
    if arguments.get("validation_split") or arguments.get("_use_cached_eval_dataset"):
        return arguments
    if any(arguments.get(steps) for steps in ("steps", "steps_per_epoch")):
        return arguments
    shuffle = arguments.get("shuffle", method == "fit")
    arrays = [arguments.get(name) for name in ("x", "y", "sample_weight")]
    dataset = small_set(arrays, arguments.get("batch_size"), shuffle)
    if dataset is None:
        return arguments
    batch_size = arguments.pop("batch_size", None)
    for name in ("x", "y", "sample_weight", "shuffle"):
        arguments.pop(name, None)
    if method == "fit":
        arguments["shuffle"] = False
        arguments["validation_batch_size"] = (
            arguments.get("validation_batch_size") or batch_size
        )
    return {"x": dataset, **arguments}


def small_set(arrays, batch_size, shuffle):
    """A dataset of batches, or None where the arrays are not plain and small.

    Args:
        arrays: `(x, y, sample_weight)`, the last two may be None.
        batch_size: Defaults to 32, as in Keras.
        shuffle: Whether each pass has an order of its own.
    """
    batch_size = 32 if batch_size is None else batch_size
    x, y, sample_weight = arrays
    known = (np.ndarray, tf.Tensor)
    parts = [part for part in arrays if part is not None]
    leaves = keras.tree.flatten(parts)  # an optional input that is None is not plain
    if shuffle not in (True, False) or x is None:
        return None
    if sample_weight is not None and (y is None or keras.tree.is_nested(y)):
        return None  # Keras spreads one weight over all outputs
    if not all(isinstance(leaf, known) and _is_plain(leaf) for leaf in leaves):
        return None
    sizes = {leaf.shape[0] for leaf in leaves}
    if len(sizes) != 1 or not 0 < min(sizes) <= MAX_EXAMPLES:
        return None
    if sum(int(np.prod(a.shape)) * _item_size(a) for a in leaves) > MAX_BYTES:
        return None
    parts = _of_floatx(parts)
    dataset = tf.data.Dataset.from_tensor_slices(
        parts if len(parts) > 1 or keras.tree.is_nested(x) else parts[0]
    )
    if shuffle:
        dataset = dataset.shuffle(min(sizes))
    return without_waiting(dataset.batch(batch_size))


def _replace_validation(arguments):
    given = arguments.get("validation_data")
    known = isinstance(given, (tuple, list)) and 1 < len(given) < 4
    if not known or arguments.get("validation_steps"):
        return
    size = arguments.get("validation_batch_size") or arguments.get("batch_size")
    arrays = [*given, None][:3]
    found = small_set(arrays, size, shuffle=False)
    arguments["validation_data"] = given if found is None else found


def _is_plain(array):
    """Numbers, eager and dense: no text, no objects, no symbolic tensors."""
    if isinstance(array, np.ndarray):
        return array.ndim > 0 and array.dtype.kind in "biuf"
    is_eager = hasattr(array, "numpy")
    return is_eager and array.shape.rank > 0 and array.dtype != tf.string


def _item_size(array):
    return tf.as_dtype(array.dtype).size


def _of_floatx(parts):
    """Tuples for lists, and floats of one type, as Keras makes them."""
    floatx = keras.config.floatx()

    def cast(leaf):
        if not tf.as_dtype(leaf.dtype).is_floating:
            return leaf
        is_array = isinstance(leaf, np.ndarray)
        return leaf.astype(floatx, copy=False) if is_array else tf.cast(leaf, floatx)

    return keras.tree.lists_to_tuples(
        tuple(keras.tree.map_structure(cast, part) for part in parts)
    )
