"""What a step logs about its losses and about the fidelity of its batch."""

from keras import ops

from keras_kd._common.checks import may_equal
from keras_kd._common.examples import weigh, weighted_sum
from keras_kd._common.metric_update import needs_labels, update_of
from keras_kd._common.streaming import StreamingMean, SumOfMeans
from keras_kd.distiller.objective import objective
from keras_kd.metrics.scores import agreement_values, predictive_kl_values


class Trackers:
    """All that a step logs by itself: its objective, its terms, its fidelity.

    `loss` is what is optimised, over all batches: each term over the examples that it
    counts, all else over all examples; the terms are means over the examples that count
    for them (labelled, weight above 0). Exact for any batch sizes.
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
        # The terms, each over the examples that count for it, and all else.
        self._num_parts = len(outputs_with_loss) + sum(distillation.values())
        self.loss = SumOfMeans("loss", self._num_parts + 1)
        self._labels = _TermTrackers(
            "student_loss", {name: (f"{name}_loss", 1) for name in outputs_with_loss}
        )
        self._distillation = _TermTrackers(
            "distillation_loss", {n: (n, size) for n, size in distillation.items()}
        )
        prefixes = {n: "" if len(names) == 1 else f"{n}_" for n in fidelity_outputs}
        self._fidelity = {
            name: (
                StreamingMean(f"{prefix}agreement"),
                StreamingMean(f"{prefix}teacher_student_kl"),
            )
            for name, prefix in prefixes.items()
        }
        self._extra = [(metric, update_of(metric)) for metric in extra or ()]
        # Whether a fidelity metric needs the labels as classes.
        self.take_labels = any(needs_labels(metric) for metric, _ in self._extra)
        self.of_losses = [
            self.loss,
            *self._labels.metrics,
            *self._distillation.metrics,
        ]
        self.of_fidelity = [
            metric for pair in self._fidelity.values() for metric in pair
        ]
        self.of_fidelity += [metric for metric, _ in self._extra]

    def update(self, loss, step, sides, batch):
        """Take note of a step; names of what it says nothing of."""
        absent = set()
        if step.objective is None:  # another loss than the distiller's own
            absent = {metric.name for metric in self.of_losses[1:]}
            step.objective = objective({}, None, 0.0, [], batch)
        found = step.objective
        rest = (loss - found.of_parts) * found.all_examples
        totals = [factor * total for total, _, factor in found.parts]
        sizes = [size for _, size, _ in found.parts]
        padding = [0.0] * (self._num_parts - len(totals))  # what this batch has not
        num_examples = ops.cast(found.num_examples, "float32")
        self.loss.update_state(
            [*totals, *padding, rest], [*sizes, *padding, num_examples]
        )
        self._labels.update(found.label_terms)
        self._distillation.update(found.distillation_terms)
        if step.teacher is None:
            metrics = [*self._distillation.metrics, *self.of_fidelity]
            return {"loss", *(metric.name for metric in metrics)}
        examples = step.examples
        if sides.has_probabilities:
            examples = sides.with_logits(examples)
        # Masked positions and weights of 0 do not count.
        for name, (agreement, kl) in self._fidelity.items():
            one = examples[name]
            if one.teacher is None:
                continue
            shapes = tuple(one.teacher.shape), tuple(one.student.shape)
            if shapes[0] != shapes[1] and not may_equal(*shapes):
                continue  # only features of them are compared
            both = one.teacher, one.student
            agreement.add_values(weigh(agreement_values(*both), one))
            kl.add_values(weigh(predictive_kl_values(*both), one))
        for _, update in self._extra:
            update(next(iter(examples.values())))
        return absent


class _TermTrackers:
    """The weighted sum of several terms, and each of them where there are several."""

    def __init__(self, total_name, parts):
        """`parts`: `{term: (name in the logs, how many outputs it compares)}`."""
        sizes = [size for _, size in parts.values()]
        self._total = SumOfMeans(total_name, sum(sizes)) if parts else None
        several = parts.values() if len(parts) > 1 else ()
        self._parts = [SumOfMeans(*part) for part in several]
        self.metrics = [] if self._total is None else [self._total, *self._parts]

    def update(self, terms):
        if self._total is None or not terms:
            return
        sums, counts, factors = [], [], []
        for term in terms.values():
            sums.append([])
            counts.append([])
            for part in term.parts:
                sums[-1].append(ops.cast(weighted_sum(part), "float32"))
                counts[-1].append(ops.cast(ops.sum(part.weight), "float32"))
                factors.append(ops.cast(term.coefficient, "float32"))
        totals = [total for of_term in sums for total in of_term]
        self._total.update_state(
            [f * s for f, s in zip(factors, totals, strict=True)],
            [count for of_term in counts for count in of_term],
        )
        for tracker, *update in zip(self._parts, sums, counts, strict=False):
            tracker.update_state(*update)
