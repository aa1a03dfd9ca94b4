"""Any loss as values of examples: against a teacher, or against labels."""

import keras
import tensorflow as tf

from keras_kd._common.calls import as_float32
from keras_kd._common.examples import Examples, combined_mask, weigh
from keras_kd.distiller.label_terms import LabelLoss, check_takes_logits
from keras_kd.losses import DistillationLoss, KnowledgeDistillation


class Objective:
    """`objective(batch, logits)` -> one value an example (or position), and weights."""

    def __init__(self, loss, *, has_teacher, has_labels):
        if loss is None:
            loss = (
                KnowledgeDistillation()
                if has_teacher
                else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            )
        self._loss = loss
        self.of_teacher = isinstance(loss, DistillationLoss)
        if self.of_teacher:
            _check_compares_outputs(loss)
        elif isinstance(loss, keras.distillation.DistillationLoss):
            raise TypeError(
                "`loss` must be a loss of keras_kd.losses, a Keras loss of labels, or "
                "a function (labels, logits) of one value an example. Received: "
                f"{type(loss).__name__} of keras.distillation. Use its kin in "
                "keras_kd.losses."
            )
        else:
            check_takes_logits(loss)
            self._label_loss = LabelLoss(loss)
        if self.of_teacher and not has_teacher:
            raise ValueError(
                f"The loss {self.name!r} compares with a teacher. Pass `teacher=...`, "
                "or a loss of labels."
            )
        if not self.of_teacher and not has_labels:
            raise ValueError(
                f"The loss {self.name!r} needs labels, but `y` is None. Pass `y`, or a "
                "loss of keras_kd.losses, which compares with the teacher."
            )

    @property
    def name(self):
        named = (getattr(self._loss, key, None) for key in ("name", "__name__"))
        return next(filter(None, named), str(self._loss))

    def describe(self):
        """What tells this loss from others, as text."""
        config = getattr(self._loss, "get_config", dict)()
        return f"{type(self._loss).__name__} {self.name} {sorted(config.items())}"

    def __call__(self, batch, logits):
        if self.of_teacher:
            examples = Examples(batch["teacher"], logits)
            mask = combined_mask(*examples[:2])
            values = weigh(self._loss.call(*examples[:2]), examples._replace(mask=mask))
        else:
            values = self._label_loss.values(batch["labels"], logits)
        return values.values, values.weight


def single_logits(outputs, name, *, from_probabilities=False):
    """The one output of a classifier as logits, float32 or wider."""
    leaves = keras.tree.flatten(as_float32(outputs))
    if len(leaves) != 1:
        raise ValueError(
            f"{name!r} has {len(leaves)} outputs, but a probe looks at one. Make a "
            "`keras.Model(model.inputs, model.outputs[i])` for the one that you mean."
        )
    if from_probabilities:
        return tf.math.log(tf.maximum(leaves[0], 1e-37))
    return leaves[0]


def _check_compares_outputs(loss):
    names = [loss.teacher_layer_name, loss.student_layer_name]
    if any(name is not None for name in names):
        raise ValueError(
            f"The loss {loss.name!r} compares layers ({names[0]!r} with {names[1]!r}), "
            "but a probe looks at outputs. Use a loss of logits such as "
            "keras_kd.losses.KnowledgeDistillation()."
        )
