"""How a metric given by a user is updated: its class states what it takes."""

import inspect

import keras
from keras import ops

from keras_kd._common.examples import weigh

_BOTH = ("teacher", "student")
_LABELS = ("labels", "logits")
_ALL = ("labels", "teacher", "student")


def update_of(metric):
    """A function of `Examples` that updates a metric rightly.

    The class attribute `takes` of the metric states what its `update_state` is given,
    before `sample_weight`: `("teacher", "student")` compares both sides,
    `("labels", "logits")` is of the student, `("labels", "teacher", "student")` is of
    all. Labels reach it as the user gave them, but for missing ones, which are 0. A
    position that the mask leaves out, and for a metric of labels a row without one,
    weighs 0. Where there are no labels, metrics that want them are left as they are.

    Raises:
        TypeError: For what is no metric, or a metric that declares nothing.
    """
    takes = _takes(metric)

    def update(examples):
        if takes == _BOTH:
            metric.update_state(
                examples.teacher, examples.student, sample_weight=_weight(examples)
            )
        elif examples.labels is not None:
            sides = [examples.student]
            if takes == _ALL:
                sides = [examples.teacher, examples.student]
            weight = _weight(examples, of_labels=True)
            metric.update_state(_safe_labels(examples), *sides, sample_weight=weight)

    return update


def needs_labels(metric):
    """Whether a metric compares with labels."""
    return "labels" in _takes(metric)


def _takes(metric):
    if not isinstance(metric, keras.metrics.Metric):
        raise TypeError(
            "A metric must be an object of keras_kd.metrics, such as "
            f"keras_kd.metrics.TotalVariation(). Received: {metric!r} of type "
            f"{type(metric).__name__}."
        )
    takes = getattr(metric, "takes", None)
    if takes not in (_BOTH, _LABELS, _ALL):
        raise TypeError(
            f"Metric {metric.name!r} of type {type(metric).__name__} does not state "
            f"what its `update_state{inspect.signature(metric.update_state)}` is "
            f"given. Of logits say so on the class: `takes = {_BOTH}`, "
            f"`takes = {_LABELS}` (the student's), or `takes = {_ALL}`, each with "
            f"`sample_weight`. Received: takes={takes!r}. For all else give "
            "FidelityMonitor a function of both models by `probes={name: function}`."
        )
    return takes


def _weight(examples, *, of_labels=False):
    each = ops.ones_like(examples.student[..., 0])
    return weigh(each, examples, of_labels=of_labels).weight


def _safe_labels(examples):
    """The labels in the user's form; 0, which no kernel trips over, where missing."""
    labels, labelled = examples.labels, examples.labelled
    if labelled is None:
        return labels
    labels = ops.convert_to_tensor(labels)
    while len(labelled.shape) < len(labels.shape):
        labelled = ops.expand_dims(labelled, axis=-1)
    return ops.where(labelled > 0, labels, ops.zeros_like(labels))
