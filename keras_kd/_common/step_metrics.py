"""What a step logs about its losses and about the fidelity of its batch."""

import keras
from keras import ops

from keras_kd._common.outputs import match_to_outputs
from keras_kd._common.streaming import SumOfMeans
from keras_kd._common.weights import combined_mask, position_weight, weighted_sum


class StepMetrics:
    """All that a step logs by itself: its objective, its terms, its fidelity.

    `loss` is the mean over examples of what is optimised; the terms are means over the
    examples that count for them (labelled, weight above 0). Exact for any batch sizes.
    """

    def __init__(
        self, output_names, outputs_with_loss, loss_names, make_fidelity, extra
    ):
        """`make_fidelity(prefix)` gives the fidelity metrics of one output."""
        self.loss = SumOfMeans("loss")
        self._labels = _TermTrackers(
            "student_loss", outputs_with_loss, [f"{n}_loss" for n in outputs_with_loss]
        )
        self._distillation = _TermTrackers("distillation_loss", loss_names, loss_names)
        self._fidelity = _FidelityTrackers(output_names, make_fidelity, extra)

    @property
    def loss_metrics(self):
        return [self.loss, *self._labels.metrics, *self._distillation.metrics]

    @property
    def fidelity_metrics(self):
        return self._fidelity.metrics

    def update_losses(
        self, objective, num_examples, all_examples, labels, distillation
    ):
        """Terms are dicts of name to `Term`; `all_examples` spans the replicas."""
        self.loss.update_state([objective * all_examples], [num_examples])
        self._labels.update(labels)
        self._distillation.update(distillation)

    def update_fidelity(self, teacher_outputs, student_outputs, sample_weight):
        """Outputs by name; no model is called."""
        self._fidelity.update(teacher_outputs, student_outputs, sample_weight)


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

    def __init__(self, total_name, names, part_names):
        self._names = list(names)
        size = len(self._names)
        self._total = SumOfMeans(total_name, size) if size else None
        self._parts = [SumOfMeans(name) for name in part_names] if size > 1 else []

    @property
    def metrics(self):
        return [] if self._total is None else [self._total, *self._parts]

    def update(self, terms):
        if self._total is None:
            return
        sums, counts = [], []
        for name in self._names:
            term = terms[name]
            sums.append(ops.cast(weighted_sum(term), "float32"))
            counts.append(ops.cast(ops.sum(term.weight), "float32"))
        factors = [ops.cast(terms[n].coefficient, "float32") for n in self._names]
        self._total.update_state(
            [f * s for f, s in zip(factors, sums, strict=True)], counts
        )
        for part, total, count in zip(self._parts, sums, counts, strict=False):
            part.update_state([total], [count])


class _FidelityTrackers:
    """Fidelity metrics of each output, updated from logits that are there already."""

    def __init__(self, output_names, make_metrics, extra_metrics):
        if extra_metrics and len(output_names) > 1:
            raise ValueError(
                "`fidelity_metrics` compare one output, but the student has "
                f"{list(output_names)}. Leave them out; agreement and KL are logged "
                "for each output."
            )
        single = len(output_names) == 1
        self._by_output = {
            name: make_metrics("" if single else f"{name}_") for name in output_names
        }
        if extra_metrics:
            self._by_output[output_names[0]] += list(extra_metrics)

    @property
    def metrics(self):
        return [metric for metrics in self._by_output.values() for metric in metrics]

    def update(self, teacher_outputs, student_outputs, sample_weight):
        """Outputs by name; masked positions and weights of 0 do not count."""
        weights = match_to_outputs(
            "sample_weight", sample_weight, list(student_outputs), shared=True
        )
        for name, student in student_outputs.items():
            teacher = teacher_outputs[name]
            mask = combined_mask(teacher, student)
            weight = position_weight(weights[name], mask, student)
            for metric in self._by_output[name]:
                metric.update_state(teacher, student, sample_weight=weight)
