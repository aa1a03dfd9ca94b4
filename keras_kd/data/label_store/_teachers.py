"""Who answers: Keras models, or any function of a batch of inputs."""

import keras
import numpy as np
import tensorflow as tf

from keras_kd._common.fused_batch_norm import fused_batch_norm
from keras_kd.data.label_store._fingerprints import fingerprint_of_models
from keras_kd.teacher_ensemble import TeacherEnsemble


class Answers:
    """A function from a batch of inputs to logits `(batch, classes)`, with its mark.

    Attributes:
        fingerprint: SHA-256 of the weights of Keras models; of another function, the
            name that the user gave it.
    """

    def __init__(self, function, fingerprint):
        self._function = function
        self.fingerprint = fingerprint

    def __call__(self, inputs):
        logits = np.asarray(self._function(inputs))
        if logits.ndim != 2 or len(logits) != len(inputs) or logits.dtype.kind != "f":
            raise ValueError(
                "A teacher must answer a batch of inputs with logits of shape (batch, "
                f"classes), floats. Received: {logits.dtype} of shape {logits.shape} "
                f"for {len(inputs)} inputs."
            )
        if not np.isfinite(logits).all():
            raise ValueError(
                "The teacher's logits are not all finite: nothing can learn from them. "
                "Look at its weights, and at the range of the pixels."
            )
        return logits


def answers_of(teacher, name=None):
    """`Answers` of a Keras model, a list of them, a `TeacherEnsemble` or a function."""
    if isinstance(teacher, (keras.Model, list, tuple)):
        if not isinstance(teacher, TeacherEnsemble):
            teacher = TeacherEnsemble(teacher)
        return _of_models(teacher)
    if not callable(teacher):
        raise TypeError(
            "`teacher` must be a keras.Model, a list of them, a TeacherEnsemble, or a "
            "function from a batch of inputs (a NumPy array) to logits. Received: "
            f"{teacher!r} of type {type(teacher).__name__}."
        )
    if not name:
        raise ValueError(
            "Of a function, nobody can tell which teacher it is. Give it a `name` that "
            "you change with the teacher, such as `name='resnet50, run 3'`."
        )
    return Answers(teacher, str(name))


def _of_models(teacher):
    _check_storable(teacher)

    def answer(inputs):
        with fused_batch_norm():
            logits = teacher(inputs, training=False)
        leaves = keras.tree.flatten(logits)
        if len(leaves) != 1:
            raise ValueError(
                f"A store keeps the logits of one output; the teacher has {len(leaves)}"
                ". Make a `keras.Model(model.inputs, model.outputs[i])` for the one "
                "that you mean, and a store for each."
            )
        return tf.cast(leaves[0], tf.float32)

    function = teacher.with_constants(
        lambda: tf.function(answer, autograph=False, reduce_retracing=True)
    )
    settings = {
        "combine": teacher.combine,
        "weights": [float(weight) for weight in teacher.member_weights],
        "from_logits": list(teacher.from_logits),
        "multi_label": teacher.multi_label,
    }
    mark = fingerprint_of_models(teacher.members, settings)
    return Answers(lambda inputs: function(tf.convert_to_tensor(inputs)), mark)


def _check_storable(teacher):
    """Raise unless it gives one distribution an example, whatever came before."""
    if teacher.is_multi_label(None):
        raise ValueError(
            "A store keeps distributions over alternatives, and this teacher is "
            "multi-label: its classes are independent, a sigmoid each. Distil from it "
            "live."
        )

    stateful = [
        layer.name
        for member in teacher.members
        for layer in member._flatten_layers()
        if getattr(layer, "stateful", False)
    ]
    if stateful:
        raise ValueError(
            "The answers of a store are of single examples, and those of this teacher "
            f"depend on the batch before: its layers {stateful} are stateful. Build it "
            "with `stateful=False`, and give it the same weights."
        )
