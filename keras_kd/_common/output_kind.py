"""What the outputs of a model are, read off its last layer or its graph.

A softmax gives probabilities over classes, a sigmoid independent ones, a linear layer
raw numbers (logits or plain ones). What is none of these is not guessed: None.
"""

import contextlib

import keras
import tensorflow as tf

from keras_kd._common.calls import input_spec, trace, with_mask_of
from keras_kd._common.numerics import at_least_float32
from keras_kd._common.outputs import symbolic_outputs

LINEAR = "linear"
CLASS_PROBABILITIES = "class_probabilities"
INDEPENDENT_PROBABILITIES = "independent_probabilities"
PROBABILITIES = (CLASS_PROBABILITIES, INDEPENDENT_PROBABILITIES)

_ACTIVATIONS = {
    "linear": LINEAR,
    "log_softmax": LINEAR,  # logits, up to a constant of each row
    "softmax": CLASS_PROBABILITIES,
    "sparsemax": CLASS_PROBABILITIES,
    "sigmoid": INDEPENDENT_PROBABILITIES,
    "hard_sigmoid": INDEPENDENT_PROBABILITIES,
}
_LAYERS = {"Softmax": CLASS_PROBABILITIES, "Sigmoid": INDEPENDENT_PROBABILITIES}
# What hands numbers on as they are: in part, in another shape, side by side, averaged.
_SHAPING = {
    *("GetItem", "Take", "Split", "Reshape", "Flatten", "Identity", "Dropout"),
    *("Permute", "Squeeze", "ExpandDims", "Cast", "Transpose", "Cropping1D"),
    *("Cropping2D", "Clip", "Concatenate", "Stack", "Average"),
}
_KINDS_OF_OPS = {
    "Softmax": CLASS_PROBABILITIES,
    "Sigmoid": INDEPENDENT_PROBABILITIES,
    **dict.fromkeys(("MatMul", "BatchMatMulV2", "BiasAdd", "Conv2D"), LINEAR),
    **dict.fromkeys(("Einsum", "LogSoftmax"), LINEAR),
}
_SHAPING_OPS = {
    *("Identity", "Reshape", "Squeeze", "ExpandDims", "StridedSlice", "Transpose"),
    *("Cast", "EnsureShape", "StopGradient", "CheckNumerics", "Slice", "GatherV2"),
    *("Split", "SplitV", "Unpack", "Pack", "ConcatV2", "ClipByValue", "Minimum"),
    "Maximum",
}


def output_kinds(model, spec=None):
    """Kinds of a model's outputs in their structure, each None where nothing tells.

    Args:
        model: A `keras.Model`.
        spec: Its inputs as `tf.TensorSpec`s, where they are known better than the model
            says. A model that its layers do not explain is traced on them.
    """
    structure = symbolic_outputs(model)
    if structure is not None:
        kinds = keras.tree.map_structure(_kind_of_symbolic, structure)
        if None not in keras.tree.flatten(kinds):
            return kinds
    spec = spec if spec is not None else input_spec(model)
    if spec is None:
        return None if structure is None else kinds
    found = []

    def traced(inputs):
        outputs = model(inputs, training=False)
        found.append(keras.tree.map_structure(_kind_of_op, outputs))
        return outputs

    # A model that cannot be traced so says nothing of its outputs.
    with contextlib.suppress(Exception):
        trace(model, traced, spec)
        return found[-1]
    return None if structure is None else kinds


def output_kind(model):
    """'logits', 'probabilities', or None: of all outputs together."""
    kinds = keras.tree.flatten(output_kinds(model))
    if any(kind in PROBABILITIES for kind in kinds):
        return "probabilities"
    return "logits" if all(kind == LINEAR for kind in kinds) else None


def log_of(probs):
    """log p, finite where p is 0, in float32 at least."""
    (probs_,) = at_least_float32(probs)
    tiny = 1e-37 if probs_.dtype == "float32" else 1e-300
    return with_mask_of(probs, keras.ops.log(keras.ops.maximum(probs_, tiny)))


def logits_of_stored(answers):
    """Stored answers as logits: where each row is a distribution, they are log p of it.

    As logits such rows would say that no class is more than e times as likely as
    another. Single rows settle nothing: logits of two classes may add up to 1.
    """
    (answers_,) = at_least_float32(answers)
    if len(answers_.shape) < 2 or answers_.shape[-1] == 1:
        return answers
    are = _are_distributions(answers_, _rounding(answers))
    log_p = log_of(tf.where(are, answers_, tf.ones_like(answers_)))
    return with_mask_of(answers, tf.where(are, log_p, answers_))


def refuse_distributions(outputs, message):
    """The outputs, or an error where each row is a distribution: a doubt about logits.

    One unit, and no row at all, raise none.
    """
    if not outputs.dtype.is_floating or outputs.shape.rank in (0, 1):
        return outputs
    if outputs.shape.rank is not None and outputs.shape[-1] == 1:
        return outputs
    doubt = _are_distributions(tf.cast(outputs, "float32"), _rounding(outputs))
    return _unless(doubt, outputs, message)


def refuse_probabilities(outputs, message):
    """The outputs, or an error where all lie in [0, 1]: a doubt about logits."""
    if not outputs.dtype.is_floating:
        return outputs
    inside = ((outputs >= 0) & (outputs <= 1)) | tf.math.is_nan(outputs)
    return _unless(tf.reduce_all(inside) & tf.reduce_any(outputs > 0), outputs, message)


def check_probabilities(outputs, message, *, of_classes):
    """What was stated to be probabilities, or an error where it is none.

    `of_classes`: whether each row has to be a distribution too.
    """
    numbers, rounding = tf.cast(outputs, "float32"), _rounding(outputs)
    wrong = tf.reduce_any((numbers < -rounding) | (numbers > 1 + rounding))
    if of_classes:
        has_any = tf.reduce_any(numbers > 0)
        wrong |= has_any & ~_are_distributions(numbers, rounding)
    return _unless(wrong, outputs, message)


def _unless(wrong, outputs, message):
    with tf.control_dependencies([tf.raw_ops.Assert(condition=~wrong, data=[message])]):
        return with_mask_of(outputs, tf.identity(outputs))


def _are_distributions(outputs, tolerance):
    """Whether each row is one, but for padding: rows of zeros or without numbers."""
    if outputs.shape.rank == 0:
        return tf.constant(False)
    sums = tf.reduce_sum(outputs, axis=-1)
    least = tf.reduce_min(outputs, axis=-1)
    is_one = (least >= 0) & (tf.abs(sums - 1.0) < tf.cast(tolerance, sums.dtype))
    is_padding = tf.math.is_nan(sums) | tf.reduce_all(outputs == 0, axis=-1)
    return tf.reduce_all(is_one | is_padding) & tf.reduce_any(is_one)


def _rounding(outputs):
    """How far from 1 the sum of a distribution may be in a type of floats."""
    dtype = keras.backend.standardize_dtype(outputs.dtype)
    return {"float16": 5e-3, "bfloat16": 2e-2}.get(dtype, 1e-3)


def _kind_of_symbolic(tensor):
    history = getattr(tensor, "_keras_history", None)
    operation = getattr(history, "operation", None)
    if operation is None:
        return None
    inputs = operation._inbound_nodes[history.node_index].input_tensors
    return _kind_of_layer(operation, history.tensor_index, inputs)


def _kind_of_layer(operation, index, inputs):
    """Kind of an output of a layer or operation that is called on `inputs`."""
    if isinstance(operation, keras.Model):
        inner = keras.tree.flatten(getattr(operation, "outputs", None) or [])
        return _kind_of_symbolic(inner[index]) if index < len(inner) else None
    if isinstance(operation, keras.layers.TimeDistributed):
        return _kind_of_layer(operation.layer, 0, ())
    name = type(operation).__name__
    activation = getattr(operation, "activation", None)
    activation = getattr(activation, "__name__", None)
    if name in _SHAPING or (name == "Activation" and activation == "linear"):
        return _of_all(map(_kind_of_symbolic, inputs))
    if name in _LAYERS:
        return _LAYERS[name]
    weighted = hasattr(operation, "kernel") or name == "Activation"
    return _ACTIVATIONS.get(activation) if weighted else None


def _of_all(kinds):
    """Kind of several put together: probabilities among them make logits of none."""
    kinds = set(kinds)
    probabilities = kinds & set(PROBABILITIES)
    if probabilities:
        return probabilities.pop() if len(probabilities) == 1 else CLASS_PROBABILITIES
    return kinds.pop() if len(kinds) == 1 else None


def _kind_of_op(tensor):
    """Kind of a tensor by the operation of a TensorFlow graph that made it."""
    op = tensor.op
    if op.type in _SHAPING_OPS:
        data = [x for x in op.inputs if not _is_constant(x)]
        return _of_all(map(_kind_of_op, data))
    if op.type in ("PartitionedCall", "StatefulPartitionedCall"):
        function = op.graph._get_function(op.get_attr("f").name)
        return _kind_of_op(function.graph.outputs[tensor.value_index])
    if op.type == "AddV2" and any(_is_variable(term) for term in op.inputs):
        return LINEAR  # a bias
    return _KINDS_OF_OPS.get(op.type)


def _is_constant(tensor):
    return tensor.op.type == "Const" or not tensor.dtype.is_floating


def _is_variable(tensor):
    op = tensor.op
    while op.type in _SHAPING_OPS:
        op = op.inputs[0].op
    return op.type == "ReadVariableOp"
