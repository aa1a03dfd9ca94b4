"""The numbers of a report, from what a pass has seen."""

import dataclasses

import numpy as np

from keras_kd.report.bootstrap import (
    DIFFERENCES,
    SHARES,
    percentile_interval,
    resampled_means,
)

NUM_BINS = 15
NUM_CONFIDENCE_BINS = 10

# name: (what a table calls it, digits, which way is closer to the teacher or better)
LABEL_SCORES = {
    "accuracy": ("Accuracy", "higher is better"),
    "nll": ("NLL (nats)", "lower is better"),
    "brier": ("Brier score", "lower is better"),
    "ece": (f"Calibration error ({NUM_BINS} bins)", "lower is better"),
}
FIDELITY_SCORES = {
    "agreement": ("Agreement", "higher is closer"),
    "agreement_top5": ("Teacher's class in top 5", "higher is closer"),
    "kl": ("KL(teacher ‖ model), nats", "lower is closer"),
    "reverse_kl": ("KL(model ‖ teacher), nats", "lower is closer"),
    "jensen_shannon": ("Jensen-Shannon, nats", "lower is closer"),
    "total_variation": ("Total variation", "lower is closer"),
    "normalized_mi": ("Normalised mutual information", "higher is closer"),
}
SCORES = LABEL_SCORES | FIDELITY_SCORES
KINDS = (
    "both_right",
    "only_teacher_right",
    "only_student_right",
    "both_wrong_same",
    "both_wrong_different",
)
# What one example can say: a share; all other scores have no bounds.
SHARE_SCORES = {"accuracy", "agreement", "agreement_top5", *KINDS}


def numbers_of(seen, *, num_resamples, level, seed):
    """A dict of plain numbers and lists: what is written as JSON."""
    weights = {
        "all": seen.weights,
        "labelled": seen.weights * (0 if seen.labels is None else seen.labels >= 0),
    }
    values, draws = _means_and_draws(seen, weights, num_resamples, seed)
    scores = {
        side: {
            name: _entry(value, draws[side][name], level)
            for name, value in values.get(side, {}).items()
            if name in SCORES
        }
        for side in seen.columns
    }
    for side, value in seen.normalized_mi.items():
        scores[side]["normalized_mi"] = _entry(value)
    found = {
        "num_examples": seen.num_examples,
        "num_classes": seen.num_classes,
        "num_labelled": 0 if seen.labels is None else int((seen.labels >= 0).sum()),
        "scores": scores,
        "differences": _differences(values, draws, level),
        "confidence_exaggeration": {
            side: _exaggeration(result) for side, result in seen.exaggeration.items()
        },
        "agreement_by_confidence": {
            side: _binned(
                seen.columns["teacher"]["confidence"],
                columns["agreement"],
                weights["all"],
                NUM_CONFIDENCE_BINS,
                "agreement",
            )
            for side, columns in _students(seen)
        },
        "agreement_by_class": {
            side: _by_class(seen, columns) for side, columns in _students(seen)
        },
    }
    if seen.labels is not None:
        found |= _of_labels(seen, scores, weights["labelled"])
        found["kinds"] = {
            side: {k: _entry(values[side][k], draws[side][k], level) for k in KINDS}
            for side, _ in _students(seen)
        }
    return found


def _of_labels(seen, scores, weight):
    accuracy = {side: scores[side]["accuracy"]["value"] for side in scores}
    return {
        "agreement_bounds": {
            side: {
                "lower": max(0.0, accuracy["teacher"] + accuracy[side] - 1),
                "upper": 1 - abs(accuracy["teacher"] - accuracy[side]),
            }
            for side, _ in _students(seen)
        },
        "reliability": {
            side: _binned(
                columns["confidence"], columns["accuracy"], weight, NUM_BINS, "accuracy"
            )
            for side, columns in seen.columns.items()
        },
    }


def _students(seen):
    return [(side, c) for side, c in seen.columns.items() if side != "teacher"]


def _means_and_draws(seen, weights, num_resamples, seed):
    """`{side: {score: value}}`, and the same of each draw; all sides in one draw."""
    columns = []  # (side, name, values, weight)
    for side, own in seen.columns.items():
        for name in SCORES:
            if name in own:
                kind = "labelled" if name in LABEL_SCORES else "all"
                columns.append((side, name, own[name], weights[kind]))
        if seen.labels is not None:
            columns += [(side, "ece", gap, weights["labelled"]) for gap in _gaps(own).T]
            if side != "teacher":
                cases = _kinds(seen.columns["teacher"], own)
                columns += [(side, k, c, weights["labelled"]) for k, c in cases.items()]
    bounds = [SHARES if name in SHARE_SCORES else None for _, name, *_ in columns]
    apart = _shares_apart(columns)
    columns, bounds = columns + apart, bounds + [DIFFERENCES] * len(apart)
    values, weight = (
        np.stack([column[i] for column in columns], axis=-1) for i in (2, 3)
    )
    draws = resampled_means(
        values, weight, bounds=bounds, num_resamples=num_resamples, seed=seed
    )
    means = (np.where(weight > 0, values, 0) * weight).sum(0) / weight.sum(0)
    keys = [column[:2] for column in columns]
    return _gathered(keys, means), _gathered(keys, draws)


def _shares_apart(columns):
    """Columns of differences between the sides' shares, of `_differences`."""
    known = {column[:2]: column[2:] for column in columns}
    return [
        (f"{a}_minus_{b}", name, known[a, name][0] - known[b, name][0], weight)
        for (a, name), (_, weight) in known.items()
        for b in ("teacher", "control")
        if name in SHARE_SCORES and a == "student" and (b, name) in known
    ]


def _gathered(keys, means):
    """Means by side and name; the parts of a calibration error added up."""
    found = {}
    for (side, name), mean in zip(keys, np.moveaxis(means, -1, 0), strict=True):
        scores = found.setdefault(side, {})
        scores[name] = scores.get(name, 0.0) + abs(mean) if name == "ece" else mean
    return found


def _gaps(columns):
    """`(n, bins)`: rightness less confidence, in the bin of the confidence."""
    index = _bin_of(columns["confidence"], NUM_BINS)
    gaps = np.zeros((len(index), NUM_BINS))
    gaps[np.arange(len(index)), index] = columns["accuracy"] - columns["confidence"]
    return gaps


def _bin_of(confidence, num_bins):
    """Bin b holds confidences in (b / B, (b + 1) / B]; in float32, as they came."""
    index = np.ceil(confidence.astype("float32") * np.float32(num_bins)).astype(int) - 1
    return np.clip(index, 0, num_bins - 1)


def _entry(value, draws=None, level=None):
    low = high = None
    if draws is not None:
        low, high = (float(v) for v in percentile_interval(draws, level))
    return {"value": float(value), "low": low, "high": high}


def _differences(values, draws, level):
    """Paired: both models on the same draws of examples."""
    pairs = [("student", "teacher", name) for name in LABEL_SCORES]
    if "control" in values:
        pairs += [("student", "control", n) for n in SCORES if n != "normalized_mi"]
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


def _binned(confidence, hits, weight, num_bins, name):
    """Shares and mean confidence in bins; None for an empty bin."""
    index = _bin_of(confidence, num_bins)

    def total(values):
        return np.bincount(index, values, num_bins)

    weights = total(weight)
    with np.errstate(invalid="ignore"):
        counted = np.where(weight > 0, hits, 0) * weight
        means = total(counted) / weights, total(confidence * weight) / weights
    return {
        "edges": np.linspace(0, 1, num_bins + 1).tolist(),
        "weights": weights.tolist(),
        name: means[0].tolist(),
        "confidence": means[1].tolist(),
    }


def _by_class(seen, columns):
    """Agreement for each class of the labels; of the teacher where there are none."""
    if seen.labels is None:
        classes, of = seen.columns["teacher"]["predicted"].astype(int), "teacher"
        weight = seen.weights
    else:
        weight, of = seen.weights * (seen.labels >= 0), "label"
        classes = np.maximum(seen.labels, 0)
    weights = np.bincount(classes, weight, seen.num_classes)
    same = np.bincount(classes, weight * columns["agreement"], seen.num_classes)
    with np.errstate(invalid="ignore"):
        return {
            "of": of,
            "weights": weights.tolist(),
            "agreement": (same / weights).tolist(),
        }


def _kinds(teacher, student):
    """For each example 1 under the one of `KINDS` that it is, 0 under the others."""
    right, also, same = (
        column > 0
        for column in (teacher["accuracy"], student["accuracy"], student["agreement"])
    )
    cases = (
        right & also,
        right & ~also,
        ~right & also,
        ~right & ~also & same,
        ~right & ~also & ~same,
    )
    return {k: c.astype("float64") for k, c in zip(KINDS, cases, strict=True)}
