"""The Distiller: one training step that teaches a student from frozen teachers."""

from contextlib import nullcontext

import keras
import tensorflow as tf

from keras_kd._common.batch import unpack_batch
from keras_kd._common.calls import build_outside_a_call, inputs_for
from keras_kd._common.fused_batch_norm import fused_batch_norm
from keras_kd._common.hyperparameter import HyperparameterAttribute, at_step
from keras_kd._common.saving import LiveConfig, architecture
from keras_kd.distiller import arguments
from keras_kd.distiller.distillation_terms import DistillationTerms
from keras_kd.distiller.keras_trainer import KerasTrainer, Steps, StepUnderWay
from keras_kd.distiller.label_metrics import update_label_metrics
from keras_kd.distiller.label_terms import LabelLoss, check_takes_logits
from keras_kd.distiller.loss_weights import LossWeights
from keras_kd.distiller.objective import objective
from keras_kd.distiller.sides import Sides
from keras_kd.distiller.trackers import Trackers, metrics_result
from keras_kd.losses.keras_distillation import as_distillation_loss


@keras.saving.register_keras_serializable(package="keras_kd")
class Distiller(KerasTrainer, keras.Model):
    """Trains a student on labels and on what frozen teachers say of the same inputs.

    A step minimises, over the examples of the global batch,
    `w * label_loss + (1 - w) * sum_k weight_k * distillation_loss_k + regularisation`,
    with w = `student_loss_weight`. It calls the student once and each teacher member
    once, whatever the number of losses, and logs how faithful the batch was
    (`agreement`, `teacher_student_kl`).

    The arguments are those of `keras.distillation.Distiller`. The student trains in
    place, a plain model; teachers never change, and no training checkpoint has them.

    Args:
        teacher: A built `keras.Model` that gives logits, a list of them (averaged as
            probabilities), a `keras_kd.TeacherEnsemble`, or None when each batch brings
            stored answers: `(x, {"labels": y, "teacher_logits": z})`, or
            `"teacher_probs"` for probabilities over classes. With None and
            `student_loss_weight=1` it trains on labels alone.
        student: The `keras.Model` to train; gives logits where losses compare them.
        distillation_losses: A `keras_kd.losses.DistillationLoss` or a list of them; a
            dict of them by output compares one output with each. Objects of
            `keras.distillation` are taken too. Outputs of teacher and student belong
            together by name where both have names, else by place; a teacher with one
            output goes with any.
        distillation_loss_weights: One factor a loss, in the same structure; a schedule
            (`keras_kd.schedules`) may stand for a number. Defaults to 1 each.
        student_loss_weight: w in [0, 1], the weight of the label loss, or a schedule.
            Defaults to 0.5.
        name: Name of the model. Defaults to `"distiller"`.

    Raises:
        ValueError: For models that do not fit together, with how to fix it.

    Example:

    >>> def mlp(units, name):
    ...     return keras.Sequential(
    ...         [keras.Input((4,)), keras.layers.Dense(units, activation="relu"),
    ...          keras.layers.Dense(3)], name=name)
    >>> distiller = keras_kd.Distiller(
    ...     mlp(16, "teacher"), mlp(4, "student"),
    ...     keras_kd.losses.KnowledgeDistillation(temperature=4.0))
    >>> distiller.compile(
    ...     optimizer="adam",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ...     metrics=["accuracy"])
    >>> x, y = np.random.rand(32, 4).astype("float32"), np.arange(32) % 3
    >>> history = distiller.fit(x, y, epochs=1, verbose=0)
    >>> sorted(history.history)  # doctest: +NORMALIZE_WHITESPACE
    ['accuracy', 'agreement', 'distillation_loss', 'loss', 'student_loss',
     'teacher_student_kl']

    Reference: Hinton et al. 2015; Stanton et al. 2021, equations 1 and 2 (alpha = w).
    """

    student_loss_weight = HyperparameterAttribute(
        "w: a number takes effect at the next step, a schedule at the next `fit`.",
        **arguments.STUDENT_LOSS_WEIGHT,
    )

    def __init__(
        self,
        teacher,
        student,
        distillation_losses,
        distillation_loss_weights=None,
        student_loss_weight=0.5,
        name="distiller",
        **kwargs,
    ):
        arguments.check_backend()
        super().__init__(name=name, autocast=False, **kwargs)  # each model casts
        teacher = arguments.as_teacher(teacher)
        members = [] if teacher is None else list(teacher.members)
        arguments.check_student(student, members)
        given, outputs = arguments.check_losses(distillation_losses)
        given = [arguments.own_loss(loss) for loss in given]
        losses = [as_distillation_loss(loss) for loss in given]
        self.student_loss_weight = student_loss_weight
        self._loss_weights = LossWeights(distillation_loss_weights, outputs)
        self.student = student
        self._projectors = []
        self.distillation_losses = given
        self._terms = DistillationTerms(losses, outputs, members, student)
        self._sides = Sides(teacher, student, self._terms)
        self._label_loss = self._trackers = None
        self._steps = Steps()
        if student.built:
            self._build_projectors()
            self.built = True

    @property
    def teacher(self):
        """The `TeacherEnsemble`, or None where batches bring stored answers."""
        return self._sides.teacher

    def get_projectors(self):
        """`{loss name: layers}`: what trains with the student, and is no part of it."""
        return self._terms.layers_by_loss

    @property
    def distillation_loss_weights(self):
        """The list of factors. An entry that is set takes effect at the next step."""
        return self._loss_weights.as_list()

    @distillation_loss_weights.setter
    def distillation_loss_weights(self, values):
        self._loss_weights.assign(values)

    @property
    def ignore_class(self):
        """The class index that the label loss of a single output ignores, or None."""
        return self._label_loss and self._label_loss.ignore_class

    def build(self, input_shape=None):
        """Build the student and, where losses need them, the projectors."""
        build_outside_a_call(self.student, input_shape)
        self._build_projectors()
        self.built = True

    def compile(
        self,
        optimizer="adam",
        loss=None,
        metrics=None,
        *,
        loss_weights=None,
        weighted_metrics=None,
        fidelity_metrics=None,
        run_eagerly=False,
        steps_per_execution=1,
        jit_compile="auto",
        auto_scale_loss=True,
        fuse_batch_norm=True,
    ):
        """Configure training.

        Args:
            optimizer: Of the student (and projectors).
            loss: Label loss on the student's outputs, as in `keras.Model.compile`; not
                needed with `student_loss_weight=0`. It gets the labels as you give them
                and says what they mean. Of Keras's sparse categorical cross-entropy,
                `keras_kd.UNLABELED` (-1) and its `ignore_class` stand for no label, of
                its categorical one a row of zeros, of any other nothing. A loss of your
                own may have an attribute `labels`, "class_indices" or "one_hot".
            metrics: Label metrics, without sample weights, of rows that have a label.
            loss_weights: One factor an output, where there are several.
            weighted_metrics: Label metrics, with sample weights.
            fidelity_metrics: List of metric objects of `keras_kd.metrics`, such as
                `Agreement(k=5)`, or of your own that say by an attribute `takes` what
                they are updated with. Those of labels get the labels and the student.
            run_eagerly, steps_per_execution: See `keras.Model.compile`.
            jit_compile: True, False, or `"auto"`: XLA only where it measures faster (a
                few steps of each on an accelerator, never on a CPU).
            auto_scale_loss: Scale the loss for a float16 student.
            fuse_batch_norm: Run `BatchNormalization` of images in both models by
                TensorFlow's fused kernel, for the same numbers in less time.
        """
        arguments.check_compile(loss, fidelity_metrics, self.student_loss_weight)
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
            "fidelity_metrics": fidelity_metrics,
            "jit_compile": jit_compile,
            "auto_scale_loss": auto_scale_loss,
            "fuse_batch_norm": fuse_batch_norm,
        }
        if auto_scale_loss:
            optimizer = arguments.with_loss_scaling(optimizer, self.student)
        self._compile_metrics = None  # Keras keeps those of an earlier compile
        self._chooses_jit = jit_compile == "auto" and not run_eagerly
        super().compile(
            optimizer=optimizer,
            jit_compile=False if jit_compile == "auto" else jit_compile,
            auto_scale_loss=False,
            **for_keras,
        )
        vars(self).update(_compiled_with=compiled_with, loss=loss)  # not tracked
        fuses = fuse_batch_norm and not run_eagerly
        self._sides.scope_of_a_pass = fused_batch_norm if fuses else nullcontext
        self._label_loss = loss and LabelLoss(loss, loss_weights)
        self._trackers = None
        if (names := self._sides.student_names()) is not None:
            self._make_trackers(names)

    def call(self, inputs, training=None):
        """The student's output."""
        return self.student(inputs_for(self.student, inputs), training=training)

    def train_step(self, data):
        batch = unpack_batch(data)
        if self._class_weight is not None:
            batch = self._sides.weighed_by_class(
                batch, self._class_weight, self._label_loss
            )
        alone = self._student_loss_weight.number == 1.0  # the labels
        teacher = self._sides.teacher_forward(batch, labels_suffice=alone)
        with tf.GradientTape() as tape:
            student = self._sides.student_forward(self, batch, training=True)
            loss, step = self._loss_of_step(batch, teacher, student, training=True)
            scaled_loss = self.optimizer.scale_loss(loss)
        weights = self.trainable_weights
        if not weights:
            arguments.raise_untrainable(self.student)
        gradients = tape.gradient(scaled_loss, weights)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return self._logs(batch, loss, step)

    def test_step(self, data):
        batch = unpack_batch(data)
        teacher = self._sides.teacher_forward(batch, labels_suffice=True)
        student = self._sides.student_forward(self, batch, training=False)
        return self._logs(batch, *self._loss_of_step(batch, teacher, student, False))

    @property
    def metrics(self):
        """Loss trackers, label metrics, fidelity of the batches; in logging order."""
        if not self.compiled or self._trackers is None:
            return []
        compiled = [self._compile_metrics] if self._compile_metrics else []
        parts = self.student._flatten_layers()  # not what it was compiled with
        layers = [x for x in parts if not isinstance(x, keras.Model)]
        ours, inner = self._trackers, [m for layer in layers for m in layer.metrics]
        return [*ours.of_losses, *compiled, *ours.of_fidelity, *inner]

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The objective of a batch; under a strategy, this replica's share of it.

        In a step, teacher and features are those of the forward passes that it has run;
        elsewhere both models are called. A subclass may override it, and call it.
        Arguments as in `keras.Model.compute_loss`; `y` as in `fit`, and `y_pred`
        defaults to the outputs of a forward pass in mode `training`.
        """
        if not self.compiled:
            arguments.raise_uncompiled()
        batch, step = unpack_batch((x, y, sample_weight)), self._steps.now
        if step is None:
            step = StepUnderWay(
                self._sides.teacher_forward(batch),
                self._sides.student_forward(self, batch, training, y_pred),
            )
        if y_pred is not None and y_pred is not step.student.structure:
            step.student = self._sides.with_outputs(step.student, y_pred)
        self._resolve(batch, step)
        return step.objective.loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Update the compiled label metrics and give all logs."""
        if self._compile_metrics is not None:
            update_label_metrics(
                self._compile_metrics,
                unpack_batch((x, y, sample_weight)),
                self.student,
                y_pred,
                self._label_loss,
                filters_rows=not self.jit_compile and not self._has_replicas(),
            )
        return self.get_metrics_result()

    get_metrics_result = metrics_result

    def _loss_of_step(self, batch, teacher, student, training):
        """What `compute_loss` gives, and the step with what that has left of it."""
        step = self._steps.now = StepUnderWay(teacher, student)
        try:
            loss = self._compute_loss(
                batch.x, batch.y, student.structure, batch.sample_weight, training
            )
        finally:
            self._steps.now = None
        return loss, step

    def _resolve(self, batch, step):
        """`Examples`, terms and objective of a batch."""
        if self._label_loss and batch.labels is None:
            arguments.raise_unlabelled()
        step.examples = self._examples(batch, step)
        labels = self._label_loss.terms(step.examples) if self._label_loss else {}
        distillation = None
        with at_step(self.optimizer.iterations):
            weight = self._student_loss_weight.tensor
            if step.teacher is not None:
                factors = [w.tensor for w in self._loss_weights.hyperparameters]
                distillation = self._terms(step, factors)
        if len(self._projectors) < self._terms.num_layers:
            self._projectors = self._terms.trained_layers
        step.objective = objective(labels, distillation, weight, self.losses, batch)

    def _examples(self, batch, step):
        """`{output: Examples}`, resolved once for losses and metrics."""
        names = list(step.student.outputs)
        if self._trackers is None:
            self._make_trackers(names)
        return self._sides.examples(
            batch,
            step.teacher,
            step.student,
            self._label_loss.meanings(names) if self._label_loss else {},
            needs_classes=self._terms.take_labels or self._trackers.take_labels,
        )

    def _logs(self, batch, loss, step):
        """All logs, from what the step has computed; no model is called."""
        if step.objective is None:  # a subclass computes another loss
            step.examples = self._examples(batch, step)
        absent = self._trackers.update(loss, step, self._sides, batch)
        if step.teacher is None and self._student_loss_weight.number == 1.0:
            absent.discard("loss")  # that of the labels is all of it
        logs = self.compute_metrics(
            batch.x, batch.y, step.student.structure, batch.sample_weight
        )
        return {name: value for name, value in logs.items() if name not in absent}

    def _has_all_variables(self):
        return self._trackers is not None and self._terms.built

    def _make_variables(self, data):
        batch = unpack_batch(data)
        step = StepUnderWay(
            self._sides.teacher_forward(batch, labels_suffice=True),
            self._sides.student_forward(self, batch, training=False),
        )
        step.examples = self._examples(batch, step)
        if step.teacher is not None:
            self._terms(step, [0.0] * len(self._terms.losses))
            self._build_projectors()

    def _make_trackers(self, names):
        """Create the trackers, in the scope of the strategy that trains."""
        with self.distribute_strategy.scope():
            self._trackers = Trackers(
                self._label_loss.outputs_with_loss(names) if self._label_loss else [],
                self._terms.num_parts(names),
                self._sides.fidelity_outputs(names),
                self._compiled_with["fidelity_metrics"],
                names,
            )

    def _build_projectors(self):
        self._terms.build()
        self._projectors = self._terms.trained_layers

    def _scheduled(self):
        weights = self._loss_weights.hyperparameters
        return [self._student_loss_weight, *weights, *self._terms.losses]

    def get_config(self):
        losses, outputs = self.distillation_losses, self._terms.outputs
        losses = arguments.losses_by_output(losses, outputs)
        weights = self._loss_weights.hyperparameters
        return {
            "name": self.name,
            "teacher": self.teacher and LiveConfig.of(self.teacher),
            "student": architecture(self.student),
            "distillation_losses": keras.saving.serialize_keras_object(losses),
            "distillation_loss_weights": [weight.config for weight in weights],
            "student_loss_weight": self._student_loss_weight.config,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        values = config.items()
        return cls(**{k: LiveConfig.object_of(v, custom_objects) for k, v in values})
