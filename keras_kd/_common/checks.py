"""Argument checks whose messages say what came, the rule and the fix."""

import difflib
import math
import numbers

import numpy as np


def check_number(name, value, *, above=None, at_least=None, at_most=None, fix=""):
    """Return `value` as a finite Python float within the bounds, or raise."""
    rule = _rule(above, at_least, at_most)
    hint = f" {fix}" if fix else ""
    is_number = isinstance(value, (numbers.Real, np.number)) and not isinstance(
        value, (bool, np.bool_)
    )
    if not is_number:
        raise TypeError(
            f"`{name}` must be a number{rule}. Received: {name}={value!r} of type "
            f"{type(value).__name__}.{hint}"
        )
    number = float(value)
    inside = (
        math.isfinite(number)
        and (above is None or number > above)
        and (at_least is None or number >= at_least)
        and (at_most is None or number <= at_most)
    )
    if not inside:
        raise ValueError(
            f"`{name}` must be a finite number{rule}. Received: {name}={value!r}.{hint}"
        )
    return number


def check_whole_number(name, value, *, at_least):
    """Return `value` as a Python int of at least `at_least`, or raise."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"`{name}` must be a whole number of at least {at_least}. Received: "
            f"{name}={value!r} of type {type(value).__name__}."
        )
    if value < at_least:
        raise ValueError(
            f"`{name}` must be a whole number of at least {at_least}. Received: "
            f"{name}={value!r}."
        )
    return int(value)


def _rule(above, at_least, at_most):
    bounds = [(">", above), (">=", at_least), ("<=", at_most)]
    stated = [f"{sign} {bound:g}" for sign, bound in bounds if bound is not None]
    return " " + " and ".join(stated) if stated else ""


def check_choice(name, value, choices):
    """Return `value` when it is one of `choices`, or raise with the nearest one."""
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {list(choices)}. Received: {name}={value!r}."
            f"{nearest(value, choices)}"
        )
    return value


def check_same_classes(teacher_logits, student_logits):
    """Raise unless both sides have the same, and at least two, classes."""
    teacher, student = teacher_logits.shape, student_logits.shape
    if len(teacher) != len(student) or teacher[-1] != student[-1]:
        raise ValueError(
            "Teacher and student logits must have the same rank and number of classes "
            f"(last axis). Received: teacher {tuple(teacher)}, student "
            f"{tuple(student)}. Give the student's last layer {teacher[-1]} units, or "
            "map both models to a common set of classes first."
        )
    if student[-1] == 1:
        raise ValueError(
            "A softmax over one class says nothing: logits need at least 2 classes on "
            f"the last axis. Received: {tuple(student)}. Write a binary logit z as the "
            "two logits [0, z]."
        )


def nearest(value, choices):
    """' Did you mean ...?' for the closest of `choices`, or an empty string."""
    close = difflib.get_close_matches(str(value), [str(c) for c in choices], n=3)
    return f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
