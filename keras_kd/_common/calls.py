"""Call a model: its part of a batch goes in, nothing of it changes, logits come out."""

import contextlib

import keras
import tensorflow as tf


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
    if tf.is_tensor(x) and x.dtype != tf.string:
        return x
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


@contextlib.contextmanager
def unchanged(model, states=(), scope=keras.StatelessScope):
    """A scope in which calls of `model` reach neither its variables nor its losses.

    Calling a model empties the lists that its `losses` are read from; they are put
    back. A write to a Keras variable in a stateless scope reaches no variable.

    Args:
        model: The model that is called inside.
        states: Pairs of a variable and the value that it shows inside.
        scope: Type of the stateless scope, or a function in its place.

    Yields:
        The stateless scope, which knows the values that were written.
    """
    kept = [(layer._losses, [*layer._losses]) for layer in model._flatten_layers()]
    try:
        with scope(states, initialize_variables=False) as made:
            yield made
    finally:
        for losses, values in kept:
            losses[:] = values


class CarriedState:
    """Copies of the RNN states of frozen models, which go from batch to batch.

    A plain object: Keras neither tracks nor saves what it holds.
    """

    def __init__(self, models):
        self._pairs = {
            id(model): [(own, tf.Variable(own, trainable=False)) for own in states]
            for model in models
            if (states := _rnn_states(model))
        }
        self.present = bool(self._pairs)

    def start(self):
        """Begin a pass over a set with the states that the models have now."""
        for own, copy in self._all():
            copy.assign(own)

    def of(self, model):
        """`[(variable of the model, its present value)]` for a stateless scope."""
        pairs = self._pairs.get(id(model), ())
        if pairs and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise ValueError(
                f"Teacher {model.name!r} is stateful: its answers depend on the batch "
                "before, which replicas do not share. Run it on one device, or store "
                "its answers and distil from these."
            )
        return [(own, tf.convert_to_tensor(copy)) for own, copy in pairs]

    def carry(self, model, scope):
        """Keep the states that a call inside `scope` has left."""
        for own, copy in self._pairs.get(id(model), ()):
            copy.assign(scope.get_current_value(own))

    def _all(self):
        return [pair for pairs in self._pairs.values() for pair in pairs]


def _rnn_states(model):
    layers = [
        layer for layer in model._flatten_layers() if getattr(layer, "stateful", False)
    ]
    states = keras.tree.flatten([getattr(layer, "states", None) for layer in layers])
    variables = {id(s): s for s in states if isinstance(s, keras.Variable)}
    return list(variables.values())


def as_float32(structure):
    """Cast half-precision leaves up; float64 stays, masks ride along."""
    if tf.is_tensor(structure) and structure.dtype in (tf.float32, tf.float64):
        return structure

    def cast(tensor):
        tensor = keras.ops.convert_to_tensor(tensor)
        if keras.backend.standardize_dtype(tensor.dtype) not in ("float16", "bfloat16"):
            return tensor
        return with_mask_of(tensor, keras.ops.cast(tensor, "float32"))

    return keras.tree.map_structure(cast, structure)


def without_gradient(structure):
    """Stop gradients at the leaves; masks ride along."""
    if not tf.is_tensor(structure):
        return keras.tree.map_structure(without_gradient, structure)
    constant = tf.stop_gradient(structure)
    if getattr(structure, "_keras_mask", None) is not None:
        constant._keras_mask = structure._keras_mask
    return constant


def with_mask_of(tensor, new):
    """`new`, with the Keras mask that `tensor` carries."""
    mask = getattr(tensor, "_keras_mask", None)
    if mask is not None:
        new._keras_mask = mask
    return new
