"""Fidelity of a student to its teacher on a set, in one pass over the data."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from keras_kd._common.batch import unpack_batch
from keras_kd._common.datasets import as_dataset, batches, num_steps
from keras_kd._common.distribution import over_replicas
from keras_kd._common.examples import broadcast_weight, combined_mask, examples_of
from keras_kd._common.inputs import check_same_inputs
from keras_kd._common.labels import sparse_labels
from keras_kd._common.metric_update import update_of
from keras_kd._common.output_kind import output_kind
from keras_kd._common.outputs import as_float32
from keras_kd._common.streaming import StreamingMean
from keras_kd._common.table import format_table
from keras_kd._common.weights import position_weight
from keras_kd.metrics import (
    Agreement,
    ExpectedCalibrationError,
    NegativeLogLikelihood,
    PredictiveKL,
)
from keras_kd.metrics._kept_examples import KeptExamples
from keras_kd.teacher_ensemble import TeacherEnsemble


@dataclasses.dataclass(frozen=True)
class Generalization:
    """How well one model predicts the labels of a set; None without labels."""

    accuracy: float | None
    nll: float | None
    ece: float | None


@dataclasses.dataclass(frozen=True)
class Fidelity(Generalization):
    """Generalisation of a student, and how it follows the teacher on the same inputs.

    The bounds are what the two accuracies alone imply for the agreement:
    acc_t + acc_s - 1 <= agreement <= 1 - |acc_t - acc_s|.
    """

    agreement: float
    agreement_top5: float | None  # None where there are 5 classes or fewer
    kl: float
    agreement_lower_bound: float | None
    agreement_upper_bound: float | None


@dataclasses.dataclass(frozen=True)
class FidelityResult:
    """What `evaluate_fidelity` found; prints as a table.

    Attributes:
        num_examples: Examples (or positions) that the set held.
        teacher: `Generalization` of the teacher.
        student: `Fidelity` of the student to the teacher.
        control: `Fidelity` of the control to the same teacher, or None.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> x = np.random.rand(8, 4).astype("float32")
    >>> result = keras_kd.evaluate_fidelity(model, model, (x,), verbose=0)
    >>> result.student.agreement, result.as_dict()["student_kl"]
    (1.0, 0.0)
    """

    num_examples: int
    teacher: Generalization
    student: Fidelity
    control: Fidelity | None = None

    def as_dict(self):
        """Flat dict of numbers: `teacher_accuracy`, `student_agreement`, ..."""
        numbers = {"num_examples": self.num_examples}
        for side in ("teacher", "student", "control"):
            scores = getattr(self, side)
            if scores is not None:
                for name, value in dataclasses.asdict(scores).items():
                    numbers[f"{side}_{name}"] = value
        return numbers

    def __str__(self):
        sides = {"teacher": self.teacher, "student": self.student}
        if self.control is not None:
            sides["control"] = self.control
        rows = [
            [label, *(_shown(scores, key) for scores in sides.values())]
            for key, label in _ROWS.items()
        ]
        table = format_table([f"{self.num_examples} examples", *sides], rows)
        if self.teacher.accuracy is not None:
            return table
        return f"{table}\nThe set has no labels, so what needs them is left out."


_ROWS = {
    "accuracy": "accuracy",
    "nll": "NLL (nats)",
    "ece": "ECE",
    "agreement": "agreement with teacher",
    "agreement_top5": "teacher's class in top 5",
    "kl": "KL(teacher || model), nats",
    "agreement_lower_bound": "agreement, lower bound",
    "agreement_upper_bound": "agreement, upper bound",
}


def _shown(scores, key):
    value = getattr(scores, key, None)
    return "-" if value is None else f"{value:.4f}"


def evaluate_fidelity(
    teacher,
    student,
    dataset,
    control=None,
    *,
    steps=None,
    batch_size=256,
    num_bins=15,
    verbose="auto",
):
    """Compare two classifiers, distilled here or not, on the same inputs.

    The control answers the question whether the student learnt *this* teacher: a
    student distilled by the same recipe from another teacher. A student that agrees
    with its teacher no more than the control does has learnt the task, not the teacher.

    Args:
        teacher: Classifier: `keras.Model`, list of models, or `TeacherEnsemble`. Models
            that end in a softmax are recognised.
        student: Classifier: `keras.Model` (of a `Distiller`, its student).
        dataset: `tf.data.Dataset` of batches `x`, `(x, y)` or `(x, y, sample_weight)`,
            `keras.utils.PyDataset`, or a tuple of arrays. Without labels only the
            comparison of both models is made.
        control: Independent control student. Defaults to None.
        steps: Batches to read. Defaults to all; needed for endless sets.
        batch_size: For arrays. Defaults to 256.
        num_bins: Bins of the calibration error. Defaults to 15.
        verbose: 0 for no progress bar. Defaults to `"auto"`.

    Returns:
        `FidelityResult`. One pass over the data; each model is called once a batch.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> x, y = np.ones((8, 4), "float32"), np.zeros(8, int)
    >>> result = keras_kd.evaluate_fidelity(
    ...     model, keras.models.clone_model(model), (x, y), verbose=0)
    >>> result.num_examples
    8

    Reference: Stanton et al. 2021, sections 3.2 and 4.
    """
    models = {"student": student}
    if control is not None:
        models["control"] = control
    comparison = FidelityPass(teacher, models, num_bins=num_bins)
    return comparison.run(as_dataset(dataset, batch_size), steps=steps, verbose=verbose)


class FidelityPass:
    """Compiled comparison of a teacher with students; runs again without a new trace.

    `run(dataset)` reads the current weights of all models each time. Private to this
    package: `evaluate_fidelity` and `FidelityMonitor` are its faces.
    """

    def __init__(self, teacher, students, *, num_bins=15, strategy=None, metrics=()):
        self._teacher = as_classifier(teacher)
        self._students = {k: as_classifier(m) for k, m in students.items()}
        self._strategy = strategy or tf.distribute.get_strategy()
        with self._strategy.scope():
            self._generalization = {
                side: _generalization_metrics(num_bins)
                for side in ("teacher", *self._students)
            }
            self._fidelity = {side: _fidelity_metrics() for side in self._students}
            self._size = StreamingMean("size")
        self._given = list(metrics)
        on_host = [isinstance(metric, KeptExamples) for metric in metrics]
        pairs = list(zip(map(update_of, metrics), on_host, strict=True))
        self._updates = [update for update, is_on_host in pairs if not is_on_host]
        self._host_updates = [update for update, is_on_host in pairs if is_on_host]
        self._step = None
        self._num_classes = None
        self._has_labels = None

    def run(self, dataset, *, steps=None, verbose=0):
        """`FidelityResult` on a `tf.data.Dataset` or an iterable of batches."""
        steps = num_steps(dataset, steps)
        for metric in self._all_metrics():
            metric.reset_state()
        progress = keras.utils.Progbar(steps, verbose=1 if verbose else 0)
        if self._strategy.num_replicas_in_sync > 1:
            dataset = over_replicas(dataset, self._strategy)
        self._step = self._step or self._compiled_step(dataset)
        done = 0
        for batch in batches(dataset):
            self._update_on_host(self._step(batch))
            done += 1
            progress.update(done, finalize=done == steps)
            if done == steps:
                break
        if verbose and done and done != steps:
            progress.update(done, finalize=True)
        if not done:
            raise ValueError(
                "The set to compare on is empty. Give at least one batch (an exhausted "
                "generator cannot be read twice)."
            )
        return self._result()

    def bins(self, side):
        """Reliability bins of a side after a run; see `ExpectedCalibrationError`."""
        return [np.asarray(b) for b in self._generalization[side]["ece"].bins()]

    def _compiled_step(self, dataset):
        """One trace for all batches, a smaller last one too, where shapes are told."""

        def step(batch):
            parts = self._strategy.run(self._compare, args=(batch,))
            return keras.tree.map_structure(
                self._strategy.experimental_local_results, parts
            )

        spec = getattr(dataset, "element_spec", None)
        if spec is None:
            return tf.function(step, reduce_retracing=True, autograph=False)
        return tf.function(step, input_signature=[spec], autograph=False)

    def _compare(self, data):
        batch = unpack_batch(data)
        models = {"teacher": self._teacher, **self._students}
        check_same_inputs(batch.x, {side: m.members for side, m in models.items()})
        teacher = _single_output(self._teacher(batch.x))
        self._num_classes = teacher.shape[-1]
        self._has_labels = batch.labels is not None
        logits = {"teacher": teacher}
        for side, model in self._students.items():
            logits[side] = _single_output(model(batch.x))
        mask = combined_mask(*logits.values())
        weight = position_weight(batch.sample_weight, mask, teacher)
        self._size.add(tf.ones_like(teacher[..., 0]), mask)
        for side, metrics in self._fidelity.items():
            for metric in metrics.values():
                metric.update_state(teacher, logits[side], sample_weight=weight)
        sides = (teacher, logits["student"]) if self._given else ()
        for update in self._updates:
            update(examples_of(*sides, batch.labels, batch.sample_weight, mask=mask))
        if batch.labels is not None:
            for side, metrics in self._generalization.items():
                _update_generalization(metrics, batch.labels, logits[side], weight)
        if not self._host_updates:
            return {}
        parts = {"labels": batch.labels, "sides": sides, "weight": weight}
        return {name: part for name, part in parts.items() if part is not None}

    def _update_on_host(self, parts):
        """Metrics that keep numbers of every example, which no graph can do."""
        for i in range(self._strategy.num_replicas_in_sync if parts else 0):
            teacher, student = (side[i] for side in parts["sides"])
            labels, weight = (
                parts[name][i] if name in parts else None
                for name in ("labels", "weight")
            )
            for update in self._host_updates:
                update(examples_of(teacher, student, labels, weight))

    def _all_metrics(self):
        groups = [*self._generalization.values(), *self._fidelity.values()]
        ours = [metric for group in groups for metric in group.values()]
        return [self._size, *ours, *self._given]

    def _result(self):
        scores = {
            side: Generalization(
                **{
                    name: _value(metric) if self._has_labels else None
                    for name, metric in metrics.items()
                }
            )
            for side, metrics in self._generalization.items()
        }
        students = {
            side: self._fidelity_of(side, scores["teacher"], scores[side])
            for side in self._students
        }
        return FidelityResult(round(self._size.count), scores["teacher"], **students)

    def _fidelity_of(self, side, teacher, student):
        values = {name: _value(m) for name, m in self._fidelity[side].items()}
        if self._num_classes <= 5:
            values["agreement_top5"] = None
        lower = upper = None
        if self._has_labels:
            lower = max(0.0, teacher.accuracy + student.accuracy - 1.0)
            upper = 1.0 - abs(teacher.accuracy - student.accuracy)
        return Fidelity(
            **dataclasses.asdict(student),
            **values,
            agreement_lower_bound=lower,
            agreement_upper_bound=upper,
        )


def as_classifier(model):
    """Any trained classifier as a frozen model that gives logits."""
    if isinstance(model, TeacherEnsemble):
        return model
    if isinstance(model, (list, tuple)):
        kinds = [output_kind(member) for member in model]
    else:
        model = getattr(model, "student", model)  # a Distiller stands for its student
        kinds = [output_kind(model)] if isinstance(model, keras.Model) else [None]
    from_logits = {"logits": True, "probabilities": False}  # a doubt is for it to say
    return TeacherEnsemble(model, from_logits=[from_logits.get(k) for k in kinds])


def _generalization_metrics(num_bins):
    return {
        "accuracy": StreamingMean("accuracy"),
        "nll": NegativeLogLikelihood(),
        "ece": ExpectedCalibrationError(num_bins),
    }


def _fidelity_metrics():
    return {
        "agreement": Agreement(),
        "agreement_top5": Agreement(k=5),
        "kl": PredictiveKL(),
    }


def _update_generalization(metrics, labels, logits, weight):
    labels, labelled = sparse_labels(labels, logits)
    weight = (
        labelled if weight is None else labelled * broadcast_weight(weight, labelled)
    )
    predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
    metrics["accuracy"].add(tf.cast(predicted == labels, "float32"), weight)
    metrics["nll"].update_state(labels, logits, sample_weight=weight)
    metrics["ece"].update_state(labels, logits, sample_weight=weight)


def _single_output(outputs):
    leaves = keras.tree.flatten(as_float32(outputs))
    if len(leaves) != 1:
        raise ValueError(
            f"Models to compare must have one output; this one has {len(leaves)}. Make "
            "a `keras.Model(model.inputs, model.outputs[i])` for the one that you mean."
        )
    return leaves[0]


def _value(metric):
    return float(keras.ops.convert_to_numpy(metric.result()))
