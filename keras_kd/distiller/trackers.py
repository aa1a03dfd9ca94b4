"""What a step logs about its losses and about the fidelity of its batch."""

from keras import ops

from keras_kd._common.checks import may_equal
from keras_kd._common.examples import weigh, weighted_sum
from keras_kd._common.metric_update import needs_labels, update_of
from keras_kd._common.streaming import SumOfMeans, SumsOfMeans
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
        self._labels = _TermSums(
            "student_loss", {name: (f"{name}_loss", 1) for name in outputs_with_loss}
        )
        self._distillation = _TermSums(
            "distillation_loss", {n: (n, size) for n, size in distillation.items()}
        )
        prefixes = {n: "" if len(names) == 1 else f"{n}_" for n in fidelity_outputs}
        self._fidelity = {
            name: (f"{prefix}agreement", f"{prefix}teacher_student_kl")
            for name, prefix in prefixes.items()
        }
        fidelity = [name for pair in self._fidelity.values() for name in pair]
        sizes = [*self._labels.sizes, *self._distillation.sizes]
        terms = dict(sizes)
        extra_names = [metric.name for metric in extra or ()]
        _check_distinct(["loss", *(n for n, _ in sizes), *fidelity, *extra_names])
        # The terms, each over the examples that count for it, and all else.
        self._num_parts = len(outputs_with_loss) + sum(distillation.values())
        self._means = SumsOfMeans(
            {"loss": self._num_parts + 1, **terms, **dict.fromkeys(fidelity, 1)},
            empty=dict.fromkeys(fidelity, float("nan")),
        )
        self._extra = [(metric, update_of(metric)) for metric in extra or ()]
        # Whether a fidelity metric needs the labels as classes.
        self.take_labels = any(needs_labels(metric) for metric, _ in self._extra)
        self.of_losses = [self._means, *(SumOfMeans(n, self._means) for n in terms)]
        self.of_fidelity = [SumOfMeans(name, self._means) for name in fidelity]
        self.of_fidelity += [metric for metric, _ in self._extra]

    def update(self, loss, step, sides, batch):
        """Take note of a step; names of what it says nothing of."""
        absent = set()
        if step.objective is None:  # another loss than the distiller's own
            absent = {metric.name for metric in self.of_losses[1:]}
            step.objective = objective({}, None, 0.0, [], batch)
        found = step.objective
        rest = (loss - found.of_parts) * found.all_examples
        num_examples = ops.cast(found.num_examples, "float32")
        parts = [(factor * total, size) for total, size, factor in found.parts]
        padding = [(0.0, 0.0)] * (self._num_parts - len(parts))  # what this batch lacks
        sums = {
            "loss": tuple(zip(*parts, *padding, (rest, num_examples), strict=True)),
            **self._labels.sums(found.label_terms),
            **self._distillation.sums(found.distillation_terms or {}),
        }
        if step.teacher is None:
            self._means.update_state(sums)
            names = [name for name, _ in self._distillation.sizes]
            return {"loss", *names, *(metric.name for metric in self.of_fidelity)}
        examples = step.examples
        if sides.has_probabilities:
            examples = sides.with_logits(examples)
        # Masked positions and weights of 0 do not count.
        for output, (agreement, kl) in self._fidelity.items():
            one = examples[output]
            if one.teacher is None:
                continue
            shapes = tuple(one.teacher.shape), tuple(one.student.shape)
            if shapes[0] != shapes[1] and not may_equal(*shapes):
                continue  # only features of them are compared
            both = one.teacher, one.student
            sums[agreement] = _sums_of([weigh(agreement_values(*both), one)])
            sums[kl] = _sums_of([weigh(predictive_kl_values(*both), one)])
        self._means.update_state(sums)
        for _, update in self._extra:
            update(next(iter(examples.values())))
        return absent


def metrics_result(model):
    """`keras.Model.get_metrics_result`, with one look at numbers that share a state."""
    logs, together, named = {}, {}, set()
    for metric in model.metrics:
        if isinstance(metric, SumsOfMeans):
            together = metric.results()
        if isinstance(metric, SumsOfMeans | SumOfMeans):
            logs[metric.name] = together[metric.name]
            named.add(metric.name)
            continue
        result = metric.result()
        several = isinstance(result, dict)  # those that were compiled
        result = result if several else {metric.name: result}
        if not named.isdisjoint(result):
            _check_distinct([*named, *result])
        if several:
            named.update(result)
        logs.update(result)
    return logs


def _check_distinct(names):
    """One number would be logged in place of another, without a word."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"Two numbers of the logs have the same name: {twice}. Rename the loss, "
            "metric or output that is called so (`name=`); a Distiller logs some names "
            f"by itself. Received: {names}."
        )


class _TermSums:
    """The weighted sum of several terms, and each of them where there are several."""

    def __init__(self, total, parts):
        """`parts`: `{term: (name in the logs, how many outputs it compares)}`."""
        self._total = total
        self._parts = parts if len(parts) > 1 else {}
        size = sum(n for _, n in parts.values())
        self.sizes = [(total, size), *self._parts.values()] if parts else []

    def sums(self, terms):
        """`{name in the logs: (weighted sums, weights)}` of the terms of a batch."""
        if not self.sizes or not terms:
            return {}
        sums, of_total = {}, ([], [])
        for name, term in terms.items():
            totals, counts = _sums_of(term.parts)
            if name in self._parts:
                sums[self._parts[name][0]] = totals, counts
            factor = ops.cast(term.coefficient, "float32")
            of_total[0].extend(factor * total for total in totals)
            of_total[1].extend(counts)
        return {self._total: of_total, **sums}


def _sums_of(parts):
    """`(weighted sums, sums of weights)` of several `Values`."""
    totals = [ops.cast(weighted_sum(values), "float32") for values in parts]
    return totals, [ops.cast(ops.sum(values.weight), "float32") for values in parts]
