"""Models from files and sets by name, with errors that say what to do."""

import os
import re

import keras
import numpy as np
import tensorflow as tf

from keras_kd import data
from keras_kd._common.checks import check_choice, check_whole_number

PIXELS = ("unit", "unit_cube", "z_score")


def as_models(side, model):
    """The model, or what is in a file; lists are ensembles."""
    if isinstance(model, (str, os.PathLike)):
        return load_model(side, os.fspath(model))
    if isinstance(model, (list, tuple)):
        return [as_models(side, member) for member in model]
    model = getattr(model, "student", model)  # a Distiller stands for its student
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"The {side} must be a keras.Model, the path of one, or a list of them. "
            f"Received: {model!r} of type {type(model).__name__}."
        )
    return model


def load_model(side, path):
    """A model saved by `model.save("name.keras")`."""
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"The {side} {path!r} is not there. Give the path of a model saved by "
            '`model.save("name.keras")`.'
        )
    try:
        model = keras.saving.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(
            f"The {side} {path!r} cannot be read as a Keras model: "
            f"{_first_sentence(error)} Give a file saved by "
            '`model.save("name.keras")`; a model with classes of your own needs them '
            "imported first, so compare it from Python with keras_kd.report.compare."
        ) from error
    return as_models(side, model)


def _first_sentence(error):
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    line = re.split(r"(?<=\.)\s", line)[0][:300]
    return line if line.endswith(".") else f"{line}."


def dataset_by_name(name, split, *, limit=None, pixels="unit", batch_size=256, seed=0):
    """`(dataset of batches, class names or None)` of a set that `data.load` knows."""
    check_choice("pixels", pixels, PIXELS)
    source = data.load(name, split)
    if limit is not None:
        limit = check_whole_number("limit", limit, at_least=1)
        if limit < source.size:
            source = data.subsample(source, limit, stratify=False, seed=seed)
    batches = source.dataset.batch(batch_size)
    if source.feature == "image":
        if pixels == "unit":
            batches = batches.map(_in_unit_interval)
        else:
            statistics = {"mean": source.mean, "std": source.std}
            statistics = statistics if pixels == "z_score" else {}
            batches = batches.apply(data.normalize(pixels, **statistics))
    batches = batches.map(data.inputs_and_labels)
    if (source.labels < 0).all():
        batches = batches.map(lambda x, y: x)
    return batches.prefetch(tf.data.AUTOTUNE), source.class_names


def preprocessed(dataset, model):
    """Strings as the model's own preprocessor, if it has one, makes tokens of them."""
    member = model[0] if isinstance(model, list) else model
    member = member.members[0] if hasattr(member, "members") else member
    preprocessor = getattr(member, "preprocessor", None)
    spec = dataset.element_spec
    inputs = spec[0] if isinstance(spec, tuple) else spec
    if preprocessor is None or getattr(inputs, "dtype", None) != tf.string:
        return dataset
    if isinstance(spec, tuple):
        return dataset.map(lambda x, y: (preprocessor(x), y))
    return dataset.map(preprocessor)


def _in_unit_interval(batch):
    image = batch["image"]
    scale = image.dtype.max if image.dtype.is_integer else 1
    return {**batch, "image": tf.cast(image, "float32") / np.float32(scale)}
