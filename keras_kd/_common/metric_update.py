"""How a metric given by a user is updated: its arguments say what it compares."""

import inspect

import keras

from keras_kd._common.examples import broadcast_weight
from keras_kd._common.labels import sparse_labels


def update_of(metric):
    """A function `(labels, teacher, student, weight)` that updates a metric.

    A metric of `update_state(teacher, student)` compares both sides, one of
    `update_state(labels, logits)` is of the student, and one of
    `update_state(labels, teacher, student)` takes all. Where there are no labels, those
    that want them are left as they are.
    """
    if not isinstance(metric, keras.metrics.Metric):
        raise TypeError(
            "A metric must be an object of keras_kd.metrics, such as "
            f"keras_kd.metrics.TotalVariation(). Received: {metric!r} of type "
            f"{type(metric).__name__}."
        )
    names = list(inspect.signature(metric.update_state).parameters)
    kinds = [_kind(name) for name in names if name != "sample_weight"]
    if kinds == ["teacher", "student"]:  # logits of both, or what they predict
        return lambda labels, teacher, student, weight: metric.update_state(
            teacher, student, sample_weight=weight
        )
    if kinds == ["labels", "logits"]:
        return _with_labels(
            lambda labels, teacher, student, weight: metric.update_state(
                labels, student, sample_weight=weight
            )
        )
    if kinds == ["labels", "teacher", "student"]:
        return _with_labels(
            lambda labels, teacher, student, weight: metric.update_state(
                labels, teacher, student, sample_weight=weight
            )
        )
    raise TypeError(
        f"Metric {metric.name!r} takes {names}. What can be shown is a metric of "
        "`update_state(teacher, student)`, of `(labels, logits)`, or of `(labels, "
        "teacher, student)`, each with `sample_weight`. For all else give "
        "FidelityMonitor a function of both models by `probes={name: function}`."
    )


def _kind(name):
    return name.removesuffix("_logits") if name != "logits" else name


def _with_labels(update):
    def function(labels, teacher, student, weight):
        if labels is None:
            return
        labels, labelled = sparse_labels(labels, student)
        if weight is not None:
            labelled = labelled * broadcast_weight(weight, labelled)
        update(labels, teacher, student, labelled)

    return function


def needs_labels(metric):
    return "labels" in inspect.signature(metric.update_state).parameters
