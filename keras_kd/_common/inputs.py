"""What a model takes: its part of a batch, and the specification of its inputs."""

import contextlib

import keras
import tensorflow as tf

from keras_kd._common.unchanged import unchanged


def symbolic_inputs(model):
    """The structure of symbolic inputs of a functional or Sequential model, or None."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return None
    return inputs[0] if isinstance(model, keras.Sequential) else model.input


def inputs_for(model, x):
    """The part of `x` that `model` takes: a dict is narrowed to the model's own names.

    So a teacher with three inputs and a student with two train on one batch.
    """
    check_not_raw_text(model, x)
    structure = symbolic_inputs(model)
    if not isinstance(x, dict) or structure is None:
        return x
    names = (
        list(structure)
        if isinstance(structure, dict)
        else [t.name for t in keras.tree.flatten(structure)]
    )
    missing = [name for name in names if name not in x]
    if missing:
        raise ValueError(
            f"Model {model.name!r} takes the inputs {names}, but the batch has "
            f"{sorted(x)}: {missing} missing. Add them to the dict that the dataset "
            "gives, or rename the model's `keras.Input`s."
        )
    if isinstance(structure, dict):
        return {name: x[name] for name in names}
    return x[names[0]] if len(names) == 1 else [x[name] for name in names]


def check_not_raw_text(model, x):
    """Raise when strings reach a model whose preprocessor `fit` would have run."""
    strings = any(
        getattr(leaf, "dtype", None) == tf.string for leaf in keras.tree.flatten(x)
    )
    if strings and getattr(model, "preprocessor", None) is not None:
        raise ValueError(
            f"Strings reached model {model.name!r}, whose attached `preprocessor` is "
            "not applied inside a distiller (teacher and student must see the same "
            "tokens). Preprocess in the pipeline: "
            "`ds.map(lambda x, y: (model.preprocessor(x), y))`."
        )


def build_outside_a_call(model, input_shape):
    """Build a model unless it is built.

    In the call of another model it would be too late: what is built there, a Sequential
    for one, records the `training=True` of that call for good.
    """
    if model.built:
        return
    if isinstance(model, keras.Sequential):
        model.build(input_shape)
        return
    floats = keras.tree.map_shape_structure(
        lambda shape: keras.KerasTensor(shape, keras.config.floatx()), input_shape
    )
    # An input that is no float may not come through: then the call has to build.
    with contextlib.suppress(Exception):
        model(floats)


def input_spec(model):
    """Structure of `tf.TensorSpec` that the model was built for, None if unknown."""
    symbolic = symbolic_inputs(model)
    if symbolic is not None:
        return keras.tree.map_structure(
            lambda t: tf.TensorSpec(t.shape, t.dtype), symbolic
        )
    shape = (model.get_build_config() or {}).get("input_shape")
    if shape is None:
        return None
    # A subclassed model records the shapes of its first batch, and no dtypes: floats
    # are Keras's own guess too.
    return keras.tree.map_shape_structure(
        lambda s: tf.TensorSpec((None, *s[1:]), keras.config.floatx()), shape
    )


def check_same_inputs(x, networks):
    """Raise where networks that read the same tensor take unlike shapes of it.

    Args:
        x: The input. Of a dict each network reads its own entries.
        networks: `{side: list of models}`.
    """
    if isinstance(x, dict):
        return
    taken = [
        (s, m, _single_shape(m)) for s, members in networks.items() for m in members
    ]
    taken = [known for known in taken if known[2] is not None]
    for side, model, shape in taken[1:]:
        first_side, first, one = taken[0]
        fits = len(one) == len(shape) and all(
            a is None or b is None or a == b for a, b in zip(one, shape, strict=True)
        )
        if not fits:
            raise ValueError(
                "Models to compare must take the same inputs. Received: "
                f"{first_side} {first.name!r} takes {one}, {side} {model.name!r} takes "
                f"{shape}. Put what adapts the input, such as keras.layers.Resizing, "
                "into one of the models."
            )


def _single_shape(model):
    """Of a single input, None where it is not known or there are several."""
    spec = keras.tree.flatten(input_spec(model) or [])
    if len(spec) != 1 or spec[0].shape.rank is None:
        return None
    return tuple(spec[0].shape)


def trace(model, function, spec):
    """Static outputs of a function that calls `model`, on a specification."""
    with unchanged(model):
        compiled = tf.function(function, autograph=False)
        return compiled.get_concrete_function(spec).structured_outputs
