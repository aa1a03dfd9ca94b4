"""The Distiller: one training step that teaches a student from frozen teachers."""

import types

import keras
import tensorflow as tf
from keras import ops

from keras_kd._common import distiller_checks as checks
from keras_kd._common.batch import unpack_batch
from keras_kd._common.class_weights import ClassWeights
from keras_kd._common.distillation_terms import DistillationTerms, Forward
from keras_kd._common.distribution import BuildBeforeReplicas
from keras_kd._common.hyperparameter import StepOfPresentSchedules
from keras_kd._common.inputs import build_outside_a_call, inputs_for
from keras_kd._common.jit_choice import JitChoice
from keras_kd._common.label_loss import LabelLoss, check_takes_logits
from keras_kd._common.label_metrics import update_label_metrics
from keras_kd._common.mixed_precision import with_loss_scaling
from keras_kd._common.objective import local_objective
from keras_kd._common.objective_weights import ObjectiveWeights, make_weights
from keras_kd._common.outputs import (
    as_float32,
    named_outputs,
    symbolic_outputs,
    without_gradient,
)
from keras_kd._common.saving import DistillerFiles, architecture
from keras_kd._common.step_metrics import StepMetrics, metrics_of_layers
from keras_kd._common.taps import record_outputs
from keras_kd.losses.keras_distillation import as_distillation_loss
from keras_kd.metrics import Agreement, PredictiveKL
from keras_kd.teacher_ensemble import TeacherEnsemble


@keras.saving.register_keras_serializable(package="keras_kd")
class Distiller(
    StepOfPresentSchedules,
    JitChoice,
    ClassWeights,
    BuildBeforeReplicas,
    ObjectiveWeights,
    DistillerFiles,
    keras.Model,
):
    """Trains a student on labels and on what frozen teachers say of the same inputs.

    A step minimises, over the examples of the global batch,
    `w * label_loss + (1 - w) * sum_k weight_k * distillation_loss_k + regularisation`,
    with w = `student_loss_weight`. It calls the student once and each teacher member
    once, whatever the number of losses, and logs how faithful the batch was:
    `agreement` and `teacher_student_kl`.

    The arguments are those of `keras.distillation.Distiller`. The student is trained
    in place and stays a plain Keras model; teachers are never changed, and are no part
    of training checkpoints.

    Args:
        teacher: A built `keras.Model` that gives logits, a list of them (averaged as
            probabilities), a `keras_kd.TeacherEnsemble`, or None when each batch brings
            stored logits: `(x, {"labels": y, "teacher_logits": z})`.
        student: The `keras.Model` to train; gives logits.
        distillation_losses: A `keras_kd.losses.DistillationLoss` or a list of them; a
            dict of them by output compares one output with each. Objects of
            `keras.distillation` are taken too.
        distillation_loss_weights: One factor a loss, in the same structure; a schedule
            (`keras_kd.schedules`) may stand for a number. Defaults to 1 each.
        student_loss_weight: w in [0, 1], the weight of the label loss, or a schedule.
            Defaults to 0.5.
        name: Name of the model. Defaults to `"distiller"`.

    Raises:
        ValueError: For models that do not fit together; the message says how to mend
            it.

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
        checks.check_backend()
        # Inputs reach both models as they come: each casts for itself.
        super().__init__(name=name, autocast=False, **kwargs)
        if teacher is not None and not isinstance(teacher, TeacherEnsemble):
            teacher = TeacherEnsemble(teacher)
        members = [] if teacher is None else list(teacher.members)
        checks.check_student(student, members)
        checks.check_class_counts(members, student)
        given, outputs = checks.check_losses(distillation_losses)
        weight, weights = make_weights(
            student_loss_weight, distillation_loss_weights, outputs
        )

        self.student = student
        self._projectors = []
        self.distillation_losses = given
        losses = [as_distillation_loss(loss) for loss in given]
        # Keras neither tracks nor saves what a plain object holds.
        self._held = types.SimpleNamespace(
            teacher=teacher,
            student_loss_weight=weight,
            loss_weights=weights,
            loss_outputs=outputs,
            terms=DistillationTerms(losses, outputs, members, student),
        )
        if student.built:
            self._build_projectors()
            self.built = True

    @property
    def output_names(self):
        return getattr(self.student, "output_names", None)  # Keras names metrics so

    @property
    def teacher(self):
        """The `TeacherEnsemble`, or None where batches bring stored logits."""
        return self._held.teacher

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
    ):
        """Configure training.

        Args:
            optimizer: Of the student (and projectors).
            loss: Label loss on the student's logits, as in `keras.Model.compile`; not
                needed with `student_loss_weight=0`.
            metrics: Label metrics, without sample weights.
            loss_weights: One factor an output, where there are several.
            weighted_metrics: Label metrics, with sample weights.
            fidelity_metrics: List of metric objects that are updated with
                `(teacher, student, sample_weight)`, such as
                `keras_kd.metrics.Agreement(k=5)`.
            run_eagerly, steps_per_execution: See `keras.Model.compile`.
            jit_compile: True, False, or `"auto"`: XLA only where it measures faster (a
                few steps of each on an accelerator, never on a CPU).
            auto_scale_loss: Scale the loss for a float16 student.
        """
        checks.check_compile(loss, fidelity_metrics, self.student_loss_weight)
        check_takes_logits(loss)
        optimizer = keras.optimizers.get(optimizer)
        for_keras = {
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
        }
        self._held.compile_arguments = {
            **for_keras,
            "optimizer": optimizer,
            "loss": loss,
            "loss_weights": loss_weights,
            "fidelity_metrics": fidelity_metrics,
            "jit_compile": jit_compile,
            "auto_scale_loss": auto_scale_loss,
        }
        if auto_scale_loss:
            optimizer = with_loss_scaling(optimizer, self.student)
        self._compile_metrics = None  # Keras keeps those of an earlier compile
        self._chooses_jit = jit_compile == "auto" and not run_eagerly
        super().compile(
            optimizer=optimizer,
            jit_compile=False if jit_compile == "auto" else jit_compile,
            auto_scale_loss=False,
            **for_keras,
        )
        self._held.label_loss = loss and LabelLoss(loss, loss_weights)
        self._held.step_metrics = None
        outputs = symbolic_outputs(self.student)
        if outputs is not None:
            self._make_step_metrics(named_outputs(self.student, outputs))

    def call(self, inputs, training=None):
        """The student's output."""
        return self.student(inputs_for(self.student, inputs), training=training)

    def train_step(self, data):
        batch = unpack_batch(data)
        teacher = self._teacher_forward(batch)
        with tf.GradientTape() as tape:
            student = self._student_forward(batch, training=True)
            loss = self._loss(batch, teacher, student)
            scaled_loss = self.optimizer.scale_loss(loss)
        weights = self.trainable_weights
        checks.check_trainable(self.student, weights)
        self.optimizer.apply_gradients(
            zip(tape.gradient(scaled_loss, weights), weights, strict=True)
        )
        return self._fidelity_logs(batch, teacher, student)

    def test_step(self, data):
        batch = unpack_batch(data)
        teacher = self._teacher_forward(batch)
        student = self._student_forward(batch, training=False)
        self._loss(batch, teacher, student)  # for the trackers
        return self._fidelity_logs(batch, teacher, student)

    def predict_step(self, data):
        return self(unpack_batch(data).x, training=False)

    @property
    def metrics(self):
        """Loss trackers, label metrics, fidelity of the batches; in logging order."""
        if not self.compiled or self._held.step_metrics is None:
            return []
        step, inner = self._held.step_metrics, metrics_of_layers(self.student)
        compiled = [self._compile_metrics] if self._compile_metrics else []
        return [*step.loss_metrics, *compiled, *step.fidelity_metrics, *inner]

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """The objective of a batch, from one forward pass of each model.

        `y_pred` is not used: features come from the same pass as the predictions.
        """
        batch = unpack_batch((x, y, sample_weight))
        teacher = self._teacher_forward(batch)
        return self._loss(batch, teacher, self._student_forward(batch, training))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Update the compiled label metrics and give all logs."""
        outputs, batch = as_float32(y_pred), unpack_batch((x, y, sample_weight))
        if self._compile_metrics is not None:
            update_label_metrics(
                self._compile_metrics,
                batch.labels,
                outputs,
                batch.sample_weight,
                named_outputs(self.student, outputs),
                self._held.label_loss,
            )
        return self.get_metrics_result()

    def _teacher_forward(self, batch):
        """Logits of the teacher, stored or live, and its tapped features."""
        checks.check_batch(
            batch,
            has_teacher=self.teacher is not None,
            needs_labels=self._held.label_loss or self._compile_metrics is not None,
            needs_features=bool(self._held.terms.teacher_layers),
            needs_members=self._held.terms.takes_members,
        )
        if batch.teacher_logits is not None:
            return Forward(as_float32(batch.teacher_logits), {})
        with record_outputs(self._held.terms.teacher_layers) as features:
            members = self.teacher.member_logits(batch.x)
        return Forward(
            as_float32(self.teacher.combine_members(members)),
            without_gradient(features),
            [as_float32(outputs) for outputs in members],
            self.teacher.member_weights,
        )

    def _student_forward(self, batch, training):
        """Logits of the student and its tapped features, in one pass."""
        with record_outputs(self._held.terms.student_layers) as features:
            outputs = self(batch.x, training=training)
        return Forward(as_float32(outputs), features)

    def _loss(self, batch, teacher, student):
        """This replica's share of the objective; takes note of it in the trackers."""
        outputs = named_outputs(self.student, student.outputs)
        with self._at_this_step():
            terms = self._distillation_terms(batch, teacher, student)
            weight = self._held.student_loss_weight.tensor
        labels, label_terms = self._held.label_loss, {}
        if labels:
            label_terms = labels.terms(batch.labels, outputs, batch.sample_weight)
        num_examples = ops.shape(keras.tree.flatten(batch.x)[0])[0]
        loss, all_examples = local_objective(
            label_terms.values(), terms.values(), weight, self.losses, num_examples
        )
        self._held.step_metrics.update_losses(
            loss, num_examples, all_examples, label_terms, terms
        )
        return loss

    def _distillation_terms(self, batch, teacher, student):
        """Terms of the losses; trackers and projectors come with the first ones."""
        if self._held.step_metrics is None:
            self._make_step_metrics(named_outputs(self.student, student.outputs))
        terms = self._held.terms(
            teacher,
            student,
            batch,
            [weight.tensor for weight in self._held.loss_weights],
        )
        if len(self._projectors) < len(self._held.terms.trainable_layers):
            self._projectors = self._held.terms.trainable_layers
        return terms

    def _has_all_variables(self):
        return self._held.step_metrics is not None and self._held.terms.built

    def _make_variables(self, data):
        batch = unpack_batch(data)
        sides = self._teacher_forward(batch), self._student_forward(batch, False)
        self._distillation_terms(batch, *sides)

    def _fidelity_logs(self, batch, teacher, student):
        """Metrics of outputs that are there already; no model is called."""
        self._held.step_metrics.update_fidelity(
            named_outputs(self.student, teacher.outputs),
            named_outputs(self.student, student.outputs),
            batch.sample_weight,
        )
        return self.compute_metrics(
            batch.x, batch.labels, student.outputs, batch.sample_weight
        )

    def _make_step_metrics(self, outputs):
        """Create the trackers, in the scope of the strategy that trains."""
        names, loss = list(outputs), self._held.label_loss
        with self.distribute_strategy.scope():
            self._held.step_metrics = StepMetrics(
                names,
                loss.outputs_with_loss(names) if loss else [],
                self._held.terms.names,
                _fidelity_of_batches,
                self._held.compile_arguments["fidelity_metrics"],
            )

    def _build_projectors(self):
        self._held.terms.build()
        self._projectors = self._held.terms.trainable_layers

    def _lock_state(self):
        """Stay open: projectors may only come with the first batch."""

    def get_config(self):
        return {
            "name": self.name,
            "teacher": keras.saving.serialize_keras_object(self.teacher),
            "student": architecture(self.student),
            "distillation_losses": keras.saving.serialize_keras_object(
                checks.losses_by_output(
                    self.distillation_losses, self._held.loss_outputs
                )
            ),
            "distillation_loss_weights": [w.config for w in self._held.loss_weights],
            "student_loss_weight": self._held.student_loss_weight.config,
        }


def _fidelity_of_batches(prefix):
    return [
        Agreement(name=f"{prefix}agreement"),
        PredictiveKL(name=f"{prefix}teacher_student_kl"),
    ]
