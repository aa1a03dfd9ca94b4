"""Values of examples given as arrays, weighed: what functions and classes share."""

from keras_kd._common.examples import examples_of, weigh


def of_both(values, teacher, student, sample_weight=None):
    """`Values` of `values(teacher, student)`, one an example or position."""
    examples = examples_of(teacher, student, sample_weight=sample_weight)
    return weigh(values(examples.teacher, examples.student), examples)


def of_labels(values, labels, logits, sample_weight=None):
    """`Values` of `values(classes, logits)`; rows without a label weigh 0."""
    examples = examples_of(None, logits, labels, sample_weight)
    found = values(examples.classes, examples.student)
    return weigh(found, examples, of_labels=True)
