"""The numbers of a report, from what a pass has seen."""

import dataclasses

import numpy as np

from keras_kd.metrics import scores
from keras_kd.report.bootstrap import (
    DIFFERENCES,
    SHARES,
    percentile_interval,
    resampled_means,
)

NORMALIZED_MI = ("Normalised mutual information", "higher is closer")
KINDS = (
    "both_right",
    "only_teacher_right",
    "only_student_right",
    "both_wrong_same",
    "both_wrong_different",
)


def told():
    """`{score: (what a table calls it, which way is better or closer)}`."""
    found = {
        score.name: (
            score.label,
            f"{'higher' if score.direction == 'up' else 'lower'} is "
            f"{'better' if score.needs_labels else 'closer'}",
        )
        for score in scores.SCORES
    }
    return found | {"normalized_mi": NORMALIZED_MI}


def numbers_of(seen, *, num_resamples, level, seed):
    """A dict of plain numbers and lists: what is written as JSON."""
    values, draws = _means_and_draws(seen, num_resamples, seed)
    of_side = {
        side: {
            score.name: _entry(values[side][score.name], draws[side][score.name], level)
            for score in seen.scores
            if score.name in values.get(side, {})
        }
        for side in seen.sides
    }
    for side, value in seen.normalized_mi.items():
        of_side[side]["normalized_mi"] = _entry(value)
    found = {
        "num_examples": seen.num_examples,
        "num_classes": seen.num_classes,
        "num_labelled": 0 if seen.labels is None else int((seen.labels >= 0).sum()),
        "scores": of_side,
        "differences": _differences(seen, values, draws, level),
        "confidence_exaggeration": {
            side: _exaggeration(result) for side, result in seen.exaggeration.items()
        },
        "agreement_by_confidence": _as_lists(seen.by_confidence),
        "agreement_by_class": {side: _by_class(seen, side) for side in seen.students},
    }
    if seen.labels is not None:
        found["agreement_bounds"] = _bounds(of_side)
        found["reliability"] = _as_lists(seen.reliability)
        found["kinds"] = {
            side: {k: _entry(values[side][k], draws[side][k], level) for k in KINDS}
            for side in seen.students
        }
    return found


def _bounds(of_side):
    accuracy = {side: entries["accuracy"]["value"] for side, entries in of_side.items()}
    return {
        side: {
            "lower": max(0.0, accuracy["teacher"] + accuracy[side] - 1),
            "upper": 1 - abs(accuracy["teacher"] - accuracy[side]),
        }
        for side in accuracy
        if side != "teacher"
    }


def _as_lists(bins):
    return {
        side: {k: np.asarray(v).tolist() for k, v in of._asdict().items()}
        for side, of in bins.items()
    }


def _means_and_draws(seen, num_resamples, seed):
    """`{side: {score: value}}`, and the same of each draw; all sides in one draw.

    Differences of shares have draws of their own, as of a side `"student_minus_..."`.
    """
    columns = {}  # {(side, name): (values, weight)}, each (n, columns)
    for side in seen.sides:
        for name, pair in seen.values[side].items():
            columns[side, name] = pair
        if seen.labels is not None and side != "teacher":
            columns |= {(side, kind): pair for kind, pair in _kinds(seen, side).items()}
    shares = {score.name for score in seen.scores if score.is_share} | {*KINDS}
    columns |= _shares_apart(columns, shares)
    columns = {key: tuple(map(_as_columns, pair)) for key, pair in columns.items()}
    values, weight = (
        np.concatenate([pair[i] for pair in columns.values()], axis=-1) for i in (0, 1)
    )
    widths = [pair[0].shape[-1] for pair in columns.values()]
    draws = resampled_means(
        values,
        weight,
        bounds=_bounds_of(columns, shares, widths),
        num_resamples=num_resamples,
        seed=seed,
    )
    with np.errstate(invalid="ignore"):  # labels may have no weight
        means = (np.where(weight > 0, values, 0) * weight).sum(0) / weight.sum(0)
    summaries = {score.name: score.summary for score in seen.scores}
    return tuple(
        _by_side(columns, np.split(found, np.cumsum(widths)[:-1], axis=-1), summaries)
        for found in (means, draws)
    )


def _shares_apart(columns, shares):
    """Differences between the sides' shares, of each example."""
    return {
        (f"student_minus_{other}", name): (values - columns[other, name][0], weight)
        for (side, name), (values, weight) in columns.items()
        for other in ("teacher", "control")
        if name in shares and side == "student" and (other, name) in columns
    }


def _bounds_of(columns, shares, widths):
    """What one example can say, for each column; None where it has no bounds."""
    found = []
    for (side, name), width in zip(columns, widths, strict=True):
        of_share = DIFFERENCES if side.startswith("student_minus_") else SHARES
        found += [of_share if name in shares else None] * width
    return found


def _as_columns(values):
    return values.reshape(len(values), -1)


def _by_side(keys, parts, summaries):
    found = {}
    for (side, name), part in zip(keys, parts, strict=True):
        summary = summaries.get(name) or (lambda means: means[..., 0])
        found.setdefault(side, {})[name] = summary(part)
    return found


def _entry(value, draws=None, level=None):
    low = high = None
    if draws is not None:
        low, high = (float(v) for v in percentile_interval(draws, level))
    return {"value": float(value), "low": low, "high": high}


def _differences(seen, values, draws, level):
    """Paired: both models on the same draws of examples."""
    pairs = [("student", "teacher", s.name) for s in seen.scores if s.needs_labels]
    if "control" in values:
        pairs += [("student", "control", s.name) for s in seen.scores]
    return {
        f"{first}_minus_{second}": {
            name: _entry(
                values[first][name] - values[second][name],
                draws.get(f"{first}_minus_{second}", {}).get(
                    name, draws[first][name] - draws[second][name]
                ),
                level,
            )
            for a, b, name in pairs
            if (a, b) == (first, second) and name in values[first]
        }
        for first, second in dict.fromkeys(pair[:2] for pair in pairs)
    }


def _exaggeration(result):
    return {
        part: dataclasses.asdict(getattr(result, part))
        for part in ("whole", "low_confidence")
    }


def _by_class(seen, side):
    """Agreement for each class of the labels; of the teacher where there are none."""
    if seen.labels is None:
        classes, weight, of = seen.predicted["teacher"], seen.weights, "teacher"
    else:
        weight, of = seen.weights * (seen.labels >= 0), "label"
        classes = np.maximum(seen.labels, 0)
    same, _ = seen.values[side]["agreement"]
    weights = np.bincount(classes, weight, seen.num_classes)
    agreed = np.bincount(classes, weight * same, seen.num_classes)
    with np.errstate(invalid="ignore"):
        return {
            "of": of,
            "weights": weights.tolist(),
            "agreement": (agreed / weights).tolist(),
        }


def _kinds(seen, side):
    """`(1 or 0, weight)` of each example, for each of `KINDS`."""
    teacher, student = seen.values["teacher"], seen.values[side]
    pairs = teacher["accuracy"], student["accuracy"], student["agreement"]
    right, also, same = (values > 0 for values, _ in pairs)
    cases = (
        right & also,
        right & ~also,
        ~right & also,
        ~right & ~also & same,
        ~right & ~also & ~same,
    )
    _, weight = student["accuracy"]
    return {k: (c.astype("float64"), weight) for k, c in zip(KINDS, cases, strict=True)}
