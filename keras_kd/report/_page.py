"""What the page shows: words, figures and tables out of the numbers."""

import importlib
import platform

import keras
import numpy as np
import tensorflow as tf

from keras_kd.report import _numbers, _pictures, figures
from keras_kd.report._inside import IOU_THRESHOLD
from keras_kd.report._reading import KINDS
from keras_kd.report.html import number

_ENDS = ("value", "low", "high")
TILES = ("agreement", "kl", "accuracy", "ece")


def check_libraries():
    """Raise before the work where the page could not be made."""
    for library in ("jinja2", "matplotlib"):
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise ImportError(
                f'A report needs {library}. Run `pip install "keras-kd[report]"`.'
            ) from error


def content(models, sections, bootstrap):
    """What `template.html` takes."""
    return {
        "models": [
            {
                "side": side,
                "name": " + ".join(m.name for m in model.members),
                "weights": f"{sum(m.count_params() for m in model.members):,}",
            }
            for side, model in models.items()
        ],
        "sections": sections,
        "bootstrap": bootstrap,
        "versions": f"Keras {keras.__version__}, TensorFlow {tf.__version__}, "
        f"Python {platform.python_version()}",
    }


def section(name, seen, numbers, verdict, *, models, maps, left_out, class_names, show):
    """One set of the page."""
    note = _of_first_members(models)
    return {
        "name": name,
        "anchor": "".join(c if c.isalnum() else "-" for c in name),
        "size": f"{seen.num_examples:,}",
        "verdict": verdict,
        "tiles": _tiles(numbers),
        "summary": _summary(name, numbers),
        "sides": [side for side, own in numbers["scores"].items() if own],
        "scores": _scores(numbers),
        "kinds": _kinds(numbers),
        "figures": _figures(name, seen, numbers, class_names),
        "inside": _inside(name, numbers, note),
        "shown": _shown(seen, class_names, show),
        "maps": _maps(maps, numbers, note),
        "left_out": left_out,
    }


def _of_first_members(models):
    """What to say below a look inside, which sees one network of an ensemble."""
    return "".join(
        f" Of the {side}, an ensemble, this is the first member, "
        f"{model.members[0].name}."
        for side, model in models.items()
        if len(model.members) > 1
    )


def _tiles(numbers):
    student = numbers["scores"]["student"]
    return [
        {"name": name, "label": _numbers.told()[name][0], "entry": student[name]}
        for name in TILES
        if name in student
    ]


def _summary(prefix, numbers):
    """Student and control on one axis each, at the top."""
    scores = numbers["scores"]
    if "control" not in scores:
        return []
    found = []
    for name, label, closer in (
        ("agreement", "Agreement with the teacher", "right"),
        ("kl", "KL(teacher ‖ model), nats", "left"),
    ):
        values = ", ".join(
            "{} {} ({} to {})".format(
                side, *(number(scores[side][name][k], name) for k in _ENDS)
            )
            for side in ("student", "control")
        )
        found.append(
            {
                "svg": _of(prefix, figures.intervals(scores, name, label)),
                "title": f"{label}: further {closer} is closer",
                "text": f"{label}: {values}.",
            }
        )
    return found


def _scores(numbers):
    sides = {side: own for side, own in numbers["scores"].items() if own}
    return [
        {
            "name": name,
            "label": label,
            "direction": direction,
            "cells": [sides[side].get(name) for side in sides],
        }
        for name, (label, direction) in _numbers.told().items()
        if any(name in scores for scores in sides.values())
    ]


_KIND_LABELS = {
    "both_right": "Both right",
    "only_teacher_right": "Only the teacher right",
    "only_student_right": "Only the student right",
    "both_wrong_same": "Both wrong, the same class",
    "both_wrong_different": "Both wrong, different classes",
}


def _kinds(numbers):
    kinds = numbers.get("kinds")
    if kinds is None:
        return []
    return [
        {"label": label, "cells": [of[kind] for of in kinds.values()]}
        for kind, label in _KIND_LABELS.items()
    ]


def _of(prefix, svg):
    """Ids of a figure, made unique among the sets of the page."""
    prefix = "".join(c if c.isalnum() else "-" for c in prefix)
    svg = svg.replace(' id="', f' id="{prefix}-').replace(
        'href="#', f'href="#{prefix}-'
    )
    return svg.replace("url(#", f"url(#{prefix}-")


def _figures(prefix, seen, numbers, class_names):
    made = [
        *_reliability(numbers),
        *_phi(seen),
        _by_confidence(numbers),
        _by_class(numbers, class_names),
    ]
    return [{**one, "svg": _of(prefix, one["svg"])} for one in made]


def _reliability(numbers):
    for side, bins in numbers.get("reliability", {}).items():
        error = numbers["scores"][side]["ece"]
        yield {
            "title": f"Calibration of the {side}",
            "svg": figures.reliability(bins, side),
            "text": f"Accuracy of the {side} in bins of its confidence. On the dashed "
            "line it is as often right as it is sure; below it is too sure. Expected "
            f"calibration error {error['value']:.3f} ({error['low']:.3f} to "
            f"{error['high']:.3f}).",
        }


def _phi(seen):
    for side, result in seen.exaggeration.items():
        fit, half = result.whole, result.low_confidence
        count = fit.num_examples
        some = f" {figures.MAX_POINTS:,} of {count:,} points are drawn."
        yield {
            "title": f"How sure the {side} is of the teacher's class",
            "svg": figures.phi_scatter(result, side),
            "text": f"Log-odds φ of the teacher's class: {side} against teacher. Slope "
            f"{fit.slope:.2f} ({fit.slope_interval[0]:.2f} to "
            f"{fit.slope_interval[1]:.2f}; above 1 exaggerates), "
            f"{fit.below_diagonal:.0%} of the examples below the dashed line, "
            f"{half.below_diagonal:.0%} where the teacher is least sure."
            + (some if count > figures.MAX_POINTS else ""),
        }


def _by_confidence(numbers):
    bins = numbers["agreement_by_confidence"]
    own = bins["student"]
    share = np.array(own["weights"]) / max(sum(own["weights"]), 1e-12)
    filled = [
        v
        for v, s in zip(own["agreement"], share, strict=True)
        if s >= figures.SMALL_BIN
    ]
    return {
        "title": "Agreement by confidence",
        "svg": figures.agreement_by_confidence(bins),
        "text": "Agreement with the teacher in bins of its confidence: "
        f"{filled[0]:.0%} for the student where the teacher is least sure, "
        f"{filled[-1]:.0%} where it is surest. Hollow: bins of less than "
        f"{figures.SMALL_BIN:.0%} of the examples.",
    }


def _by_class(numbers, class_names):
    by_class = numbers["agreement_by_class"]
    values = np.array(by_class["student"]["agreement"], float)
    known = np.isfinite(values)
    lowest = int(np.nanargmin(values))
    of = by_class["student"]["of"]
    kind = "class" if of == "label" else "class that the teacher predicts"
    many = known.sum() > figures.MAX_CLASSES
    return {
        "title": "Agreement by class",
        "svg": figures.agreement_by_class(by_class, class_names),
        "text": f"Agreement with the teacher for each {kind}"
        + (f"; the {figures.MAX_CLASSES} lowest of {known.sum()}. " if many else ". ")
        + f"Lowest: {class_names[lowest]}, {values[lowest]:.0%}.",
    }


def _inside(prefix, numbers, note):
    found = []
    for side, matrix in numbers.get("cka", {}).items():
        cells = [
            (v, i, j) for i, r in enumerate(matrix["cka"]) for j, v in enumerate(r)
        ]
        cells = [c for c in cells if np.isfinite(c[0])]
        if not cells:
            continue
        best = max(cells)
        found.append(
            {
                "title": f"Inner layers of teacher and {side}",
                "svg": _of(prefix, figures.cka(matrix, side)),
                "text": "Debiased linear CKA on the first "
                f"{numbers['sample_size']:,} examples: 1 for the same features up to "
                "rotation and scale, 0 for unrelated ones. Most alike: teacher "
                f"{matrix['teacher_layers'][best[1]]}, {side} "
                f"{matrix['layers'][best[2]]}, {best[0]:.2f}.{note}",
            }
        )
    return found


def _shown(seen, class_names, show):
    groups = []
    for kind, title in KINDS.items():
        examples = [one for one in seen.shown if one.kind == kind]
        if examples:
            cards = [_card(seen, one, class_names, show) for one in examples]
            groups.append({"title": title, "cards": cards})
    return groups


def _card(seen, one, class_names, show):
    said = [
        {
            "side": side,
            "name": class_names[int(seen.predicted[side][one.index])],
            "confidence": f"{seen.confidence[side][one.index]:.0%}",
        }
        for side in seen.sides
    ]
    label = class_names[one.label] if one.label >= 0 else None
    words = ", ".join(f"{s['side']} says {s['name']} ({s['confidence']})" for s in said)
    known = f"label {label}" if label is not None else "no label"
    return {
        **_pictures.picture(one.x, show),
        "index": one.index,
        "label": label,
        "said": said,
        "alt": f"Example {one.index}: {known}; {words}",
    }


_MAKING = {
    "cam": "Class activation maps summed over classes (Guo et al. 2024)",
    "rollout": "Attention of the class token through all blocks, by rollout (Abnar and "
    "Zuidema 2020)",
}


def _maps(maps, numbers, note):
    if maps is None:
        return None
    images = maps["images"]
    rows = [
        {
            "place": i + 1,
            "image": _pictures.png(_pictures.to_bytes(image)),
            "maps": [
                {
                    "side": side,
                    "image": _pictures.png(_pictures.with_map(image, of_side[i])),
                }
                for side, of_side in maps["maps"].items()
            ],
        }
        for i, image in enumerate(images)
    ]
    overlap = ", ".join(
        f"{side} {value:.2f}" for side, value in numbers["attention_iou"].items()
    )
    return {
        "rows": rows,
        "text": f"{_MAKING[maps['method']]}: bright where a model looks. Overlap with "
        f"the teacher's (IoU above {IOU_THRESHOLD}) on the first "
        f"{numbers['sample_size']:,} examples: {overlap}.{note}",
    }
