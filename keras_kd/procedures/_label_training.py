"""What trains a model on labels alone, as a Distiller would train it on its labels."""

import keras
import tensorflow as tf
from keras import ops

from keras_kd._common.batch import unpack_batch
from keras_kd._common.calls import as_float32, build_outside_a_call, inputs_for
from keras_kd._common.outputs import named_outputs
from keras_kd._common.saving import architecture
from keras_kd.distiller import arguments
from keras_kd.distiller.distillation_terms import DistillationTerms
from keras_kd.distiller.keras_trainer import KerasTrainer
from keras_kd.distiller.label_metrics import update_label_metrics
from keras_kd.distiller.label_terms import LabelLoss, check_takes_logits
from keras_kd.distiller.objective import objective
from keras_kd.distiller.sides import Sides
from keras_kd.distiller.trackers import Trackers, metrics_of_layers


@keras.saving.register_keras_serializable(package="keras_kd")
class LabelTraining(KerasTrainer, keras.Model):
    """Trains a model on labels of which some may be missing.

    Logs are those of plain Keras, and so are the numbers where no label is missing.
    What labels mean is the label loss's to say, as in `keras_kd.Distiller`.

    Args:
        student: The `keras.Model` to train, in place.
        name: Defaults to `"label_training"`.
    """

    teacher = None

    def __init__(self, student, name="label_training", **kwargs):
        super().__init__(name=name, autocast=False, **kwargs)
        self.student = student
        self._sides = Sides(None, student, DistillationTerms([], [], [], student))
        self._label_loss = self._trackers = None
        self.built = student.built

    @property
    def output_names(self):
        return getattr(self.student, "output_names", None)  # Keras names metrics so

    def build(self, input_shape=None):
        build_outside_a_call(self.student, input_shape)
        self.built = True

    def compile(
        self,
        optimizer="adam",
        loss=None,
        metrics=None,
        *,
        loss_weights=None,
        weighted_metrics=None,
        jit_compile="auto",
        auto_scale_loss=True,
        run_eagerly=False,
        steps_per_execution=1,
    ):
        """Configure training; see `keras_kd.Distiller.compile`."""
        if loss is None:
            raise ValueError(
                f"Model {self.student.name!r} is to be trained on labels first, but "
                "`compile` got no `loss` for them. Pass one, or a trained model with "
                "`train_teacher=False`."
            )
        check_takes_logits(loss, self._sides.student_gives_probabilities())
        optimizer = keras.optimizers.get(optimizer)
        for_keras = {
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
        }
        compiled_with = {
            **for_keras,
            "optimizer": optimizer,
            "loss": loss,
            "loss_weights": loss_weights,
            "jit_compile": jit_compile,
            "auto_scale_loss": auto_scale_loss,
        }
        if auto_scale_loss:
            optimizer = arguments.with_loss_scaling(optimizer, self.student)
        self._chooses_jit = jit_compile == "auto" and not run_eagerly
        super().compile(
            optimizer=optimizer,
            jit_compile=False if jit_compile == "auto" else jit_compile,
            auto_scale_loss=False,
            **for_keras,
        )
        # Written to __dict__: Keras must not track what is in it.
        vars(self).update(_compiled_with=compiled_with, loss=loss)
        self._label_loss = LabelLoss(loss, loss_weights)
        self._trackers = None

    def call(self, inputs, training=None):
        """The model's output."""
        return self.student(inputs_for(self.student, inputs), training=training)

    def train_step(self, data):
        batch = unpack_batch(data)
        if self._class_weight is not None:
            weights = self._sides.weights_by_class(
                self._class_weight, batch, self._label_loss
            )
            batch = batch._replace(sample_weight=weights)
        with tf.GradientTape() as tape:
            outputs, found = self._forward(batch, training=True)
            scaled_loss = self.optimizer.scale_loss(found.loss)
        weights = arguments.check_trainable(self.student, self.trainable_weights)
        self.optimizer.apply_gradients(
            zip(tape.gradient(scaled_loss, weights), weights, strict=True)
        )
        return self._logs(batch, outputs, found)

    def test_step(self, data):
        batch = unpack_batch(data)
        return self._logs(batch, *self._forward(batch, training=False))

    def predict_step(self, data):
        return self(unpack_batch(data).x, training=False)

    @property
    def metrics(self):
        if not self.compiled or self._trackers is None:
            return []
        # That of the sum over outputs is one of a Distiller; Keras logs none.
        losses = [m for m in self._trackers.loss_metrics if m.name != "student_loss"]
        compiled = [self._compile_metrics] if self._compile_metrics else []
        return [*losses, *compiled, *metrics_of_layers(self.student)]

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Update the compiled label metrics and give all logs."""
        if self._compile_metrics is not None:
            batch = unpack_batch((x, y, sample_weight))
            arguments.check_labels(batch)
            outputs = as_float32(y_pred)
            named = named_outputs(self.student, outputs)
            update_label_metrics(
                self._compile_metrics,
                batch,
                outputs,
                {id(tensor): name for name, tensor in named.items()},
                self._label_loss,
                filters_rows=not self.jit_compile,
            )
        return self.get_metrics_result()

    def _forward(self, batch, training):
        """`(outputs, Objective)` of a batch."""
        arguments.check_labels(batch)
        student = self._sides.student_forward(self, batch, training)
        names = list(student.outputs)
        if self._trackers is None:
            self._make_trackers(names)
        meanings = self._label_loss.meanings(names)
        examples = self._sides.examples(
            batch, None, student, meanings, needs_classes=False
        )
        terms = self._label_loss.terms(examples)
        num_examples = ops.shape(keras.tree.flatten(batch.x)[0])[0]
        found = objective(terms, None, 1.0, self.losses, num_examples)
        return student.structure, found

    def _logs(self, batch, outputs, found):
        self._trackers.update_losses(found.loss, found)
        return self.compute_metrics(batch.x, batch.y, outputs, batch.sample_weight)

    def _has_all_variables(self):
        return self._trackers is not None

    def _make_variables(self, data):
        batch = unpack_batch(data)
        student = self._sides.student_forward(self, batch, training=False)
        self._make_trackers(list(student.outputs))

    def _make_trackers(self, names):
        """Create the trackers, in the scope of the strategy that trains."""
        with self.distribute_strategy.scope():
            with_loss = self._label_loss.outputs_with_loss(names)
            self._trackers = Trackers(with_loss, {}, [], None, names)

    def _scheduled(self):
        return []

    def get_config(self):
        return {"name": self.name, "student": architecture(self.student)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        student = keras.saving.deserialize_keras_object(
            config["student"], custom_objects=custom_objects
        )
        return cls(student, name=config["name"])

    def get_compile_config(self):
        if not self.compiled:
            return {}
        return keras.saving.serialize_keras_object(self._compiled_with)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)
