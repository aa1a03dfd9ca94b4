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
# What hands numbers on as they are, in part or in another shape.
_SHAPING = {
    *("GetItem", "Reshape", "Flatten", "Identity", "Dropout", "Permute", "Squeeze"),
    *("ExpandDims", "Cast", "Transpose", "Cropping1D", "Cropping2D"),
}
_KINDS_OF_OPS = {
    "Softmax": CLASS_PROBABILITIES,
    "Sigmoid": INDEPENDENT_PROBABILITIES,
    **dict.fromkeys(("MatMul", "BatchMatMulV2", "BiasAdd", "Conv2D"), LINEAR),
    **dict.fromkeys(("Einsum", "LogSoftmax"), LINEAR),
}
_SHAPING_OPS = {
    *("Identity", "Reshape", "Squeeze", "ExpandDims", "StridedSlice", "Transpose"),
    *("Cast", "EnsureShape", "StopGradient", "CheckNumerics", "Slice"),
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


def logits_of_rows(outputs):
    """Stored answers as logits: a row that is a distribution holds probabilities.

    Such a row stands for log p; as logits it would say that no class is more than e
    times as likely as another.
    """
    (outputs_,) = at_least_float32(outputs)
    if len(outputs_.shape) < 2 or outputs_.shape[-1] == 1:
        return outputs
    is_row = _is_distribution(outputs_, 1e-4)[..., None]
    log_p = log_of(tf.where(is_row, outputs_, tf.ones_like(outputs_)))
    return with_mask_of(outputs, tf.where(is_row, log_p, outputs_))


def _is_distribution(outputs, tolerance):
    sums = tf.abs(tf.reduce_sum(tf.cast(outputs, "float32"), axis=-1) - 1.0)
    return (tf.reduce_min(outputs, axis=-1) >= 0) & (sums < tolerance)


def refuse_distributions(outputs, message):
    """The outputs, or an error where each row is a distribution: a doubt about logits.

    One unit, and no row at all, raise none.
    """
    if not outputs.dtype.is_floating or outputs.shape.rank in (0, 1):
        return outputs
    if outputs.shape.rank is not None and outputs.shape[-1] == 1:
        return outputs
    is_row = _is_distribution(outputs, 1e-3)
    doubt = tf.reduce_all(is_row) & (tf.size(is_row) > 0)
    with tf.control_dependencies([tf.debugging.Assert(~doubt, [message])]):
        return with_mask_of(outputs, tf.identity(outputs))


def _kind_of_symbolic(tensor):
    history = getattr(tensor, "_keras_history", None)
    operation = getattr(history, "operation", None)
    if operation is None:
        return None
    if isinstance(operation, keras.Model):
        inner = keras.tree.flatten(getattr(operation, "outputs", None) or [])
        index = history.tensor_index
        return _kind_of_symbolic(inner[index]) if index < len(inner) else None
    name = type(operation).__name__
    if name in _SHAPING:
        inputs = operation._inbound_nodes[history.node_index].input_tensors
        return _kind_of_symbolic(inputs[0])
    if name in _LAYERS:
        return _LAYERS[name]
    weighted = hasattr(operation, "kernel") or name == "Activation"
    activation = getattr(operation, "activation", None)
    activation = getattr(activation, "__name__", None)
    return _ACTIVATIONS.get(activation) if weighted else None


def _kind_of_op(tensor):
    """Kind of a tensor by the operation of a TensorFlow graph that made it."""
    op, index = tensor.op, tensor.value_index
    while op.type in _SHAPING_OPS:
        op, index = op.inputs[0].op, op.inputs[0].value_index
    if op.type in ("PartitionedCall", "StatefulPartitionedCall"):
        function = op.graph._get_function(op.get_attr("f").name)
        return _kind_of_op(function.graph.outputs[index])
    if op.type == "AddV2" and any(_is_variable(term) for term in op.inputs):
        return LINEAR  # a bias
    return _KINDS_OF_OPS.get(op.type)


def _is_variable(tensor):
    op = tensor.op
    while op.type in _SHAPING_OPS:
        op = op.inputs[0].op
    return op.type == "ReadVariableOp"
