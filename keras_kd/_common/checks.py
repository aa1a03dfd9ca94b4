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


def check_same_shape(teacher, student, *, classes=2):
    """Raise unless both sides have one shape, as far as it is known before the run.

    Args:
        teacher: Logits or other outputs, `(batch, ..., classes)`.
        student: Likewise.
        classes: How many the last axis must have at least: 2 under a softmax.
    """
    theirs, ours = tuple(teacher.shape), tuple(student.shape)
    if not may_equal(theirs, ours):
        fix = "Give both models the same tokens or positions: none is repeated to fit."
        if len(theirs) != len(ours) or not may_equal(theirs[-1:], ours[-1:]):
            fix = (
                f"Give the student's last layer {theirs[-1] if theirs else 'as many'} "
                "units, or map both models to a common set of classes first."
            )
        raise ValueError(
            "Teacher and student logits must have the same rank and number of classes "
            "(last axis), and as many examples and positions, as they are compared "
            f"position by position. Received: teacher {theirs}, student {ours}. {fix}"
        )
    if classes > 1 and ours[-1] == 1:
        raise ValueError(
            "A softmax over one class says nothing: logits need at least 2 classes on "
            f"the last axis. Received: {ours}. Write a binary logit z as the two "
            "logits [0, z], or compare raw outputs by LogitMSE."
        )


def check_leading_axes(name, array, shape, fix):
    """Raise unless `array` has the first axes of `shape`, where both are known."""
    given, wanted = tuple(array.shape), tuple(shape)
    if not may_equal(given, wanted[: len(given)]):
        raise ValueError(
            f"`{name}` must have the first axes of what it belongs to, shape {wanted}: "
            f"nothing is repeated to fit. Received: {name} of shape {given}. {fix}"
        )


def may_equal(shape, other):
    """Whether two shapes agree on each axis that both know."""
    return len(shape) == len(other) and all(
        None in pair or pair[0] == pair[1] for pair in zip(shape, other, strict=True)
    )


def shares(weights, count, of):
    """One number >= 0 for each `of` something, divided by their sum; None is equal."""
    if weights is None:
        return [1.0 / count] * count
    if np.ndim(weights) != 1 or len(weights) != count:
        raise ValueError(
            f"`weights` must hold one number a {of} ({count}). Received: "
            f"weights={weights!r}."
        )
    weights = [check_number("weights", w, at_least=0) for w in weights]
    total = math.fsum(weights)
    if total == 0:
        raise ValueError(f"`weights` must not all be 0. Received: weights={weights!r}.")
    return [w / total for w in weights]


def nearest(value, choices):
    """' Did you mean ...?' for the closest of `choices`, or an empty string."""
    close = difflib.get_close_matches(str(value), [str(c) for c in choices], n=3)
    return f" Did you mean {' or '.join(repr(c) for c in close)}?" if close else ""
