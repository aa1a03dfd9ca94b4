"""What a step logs about its losses and about the fidelity of its batch."""

import keras
from keras import ops

from keras_kd._common.examples import weighted_sum
from keras_kd._common.metric_update import needs_labels, update_of
from keras_kd._common.streaming import SumOfMeans
from keras_kd._common.weights import position_weight
from keras_kd.metrics import Agreement, PredictiveKL


class Trackers:
    """All that a step logs by itself: its objective, its terms, its fidelity.

    `loss` is the mean over examples of what is optimised; the terms are means over the
    examples that count for them (labelled, weight above 0). Exact for any batch sizes.
    """

    def __init__(self, outputs_with_loss, distillation, fidelity_outputs, extra, names):
        """`distillation`: `{loss name: number of outputs that it compares}`.

        `names`: of all outputs of the student; the logs leave out that of a single one.
        """
        if extra and len(names) > 1:
            raise ValueError(
                "`fidelity_metrics` compare one output, but the student has "
                f"{list(names)}. Leave them out; agreement and KL are logged for each "
                "output."
            )
        self.fidelity_outputs = fidelity_outputs
        self.loss = SumOfMeans("loss")
        self._labels = _TermTrackers(
            "student_loss", {name: (f"{name}_loss", 1) for name in outputs_with_loss}
        )
        self._distillation = _TermTrackers(
            "distillation_loss", {n: (n, size) for n, size in distillation.items()}
        )
        prefixes = {
            name: "" if len(names) == 1 else f"{name}_" for name in fidelity_outputs
        }
        self._fidelity = {
            name: (
                Agreement(name=f"{prefix}agreement"),
                PredictiveKL(name=f"{prefix}teacher_student_kl"),
            )
            for name, prefix in prefixes.items()
        }
        self._extra = [(metric, update_of(metric)) for metric in extra or ()]

    @property
    def loss_metrics(self):
        return [self.loss, *self._labels.metrics, *self._distillation.metrics]

    @property
    def fidelity_metrics(self):
        ours = [metric for pair in self._fidelity.values() for metric in pair]
        return [*ours, *(metric for metric, _ in self._extra)]

    @property
    def take_labels(self):
        """Whether a fidelity metric needs the labels as classes."""
        return any(needs_labels(metric) for metric, _ in self._extra)

    def names_of_terms(self):
        """Names of what another loss than the distiller's own says nothing of."""
        metrics = [*self._labels.metrics, *self._distillation.metrics]
        return {metric.name for metric in metrics}

    def names_without_a_teacher(self):
        """Names of what a batch without the teacher's answers says nothing of."""
        metrics = [*self._distillation.metrics, *self.fidelity_metrics]
        return {"loss", *(metric.name for metric in metrics)}

    def update_losses(self, loss, objective):
        """Take note of a batch: what was optimised, and the terms of it."""
        self.loss.update_state(
            [loss * objective.all_examples], [objective.num_examples]
        )
        self._labels.update(objective.label_terms)
        if objective.distillation_terms is not None:
            self._distillation.update(objective.distillation_terms)

    def update_fidelity(self, examples):
        """`{output: Examples}`; masked positions and weights of 0 do not count."""
        for name, metrics in self._fidelity.items():
            one = examples[name]
            if one.teacher is None:
                continue
            weight = position_weight(one.sample_weight, one.mask, one.student)
            for metric in metrics:
                metric.update_state(one.teacher, one.student, sample_weight=weight)
        for _, update in self._extra:
            update(next(iter(examples.values())))


def metrics_of_layers(model):
    """Metrics that layers of a model own; its compiled ones are no part of them."""
    return [
        metric
        for layer in model._flatten_layers()
        if not isinstance(layer, keras.Model)
        for metric in layer.metrics
    ]


class _TermTrackers:
    """The weighted sum of several terms, and each of them where there are several."""

    def __init__(self, total_name, parts):
        """`parts`: `{term: (name in the logs, how many outputs it compares)}`."""
        sizes = [size for _, size in parts.values()]
        self._total = SumOfMeans(total_name, sum(sizes)) if parts else None
        self._parts = [SumOfMeans(*part) for part in parts.values()]
        if len(parts) < 2:
            self._parts = []

    @property
    def metrics(self):
        return [] if self._total is None else [self._total, *self._parts]

    def update(self, terms):
        if self._total is None or not terms:  # none: a subclass has another loss
            return
        sums, counts = [], []
        for term in terms.values():
            for part in term.parts:
                sums.append(ops.cast(weighted_sum(part), "float32"))
                counts.append(ops.cast(ops.sum(part.weight), "float32"))
        factors = [
            ops.cast(term.coefficient, "float32")
            for term in terms.values()
            for _ in term.parts
        ]
        self._total.update_state(
            [f * s for f, s in zip(factors, sums, strict=True)], counts
        )
        start = 0
        for tracker, term in zip(self._parts, terms.values(), strict=False):
            end = start + len(term.parts)
            tracker.update_state(sums[start:end], counts[start:end])
            start = end
