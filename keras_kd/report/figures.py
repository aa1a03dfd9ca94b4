"""Figures of a report: SVG for a page, in the colours of its style sheet."""

import io
import re

import numpy as np

from keras_kd._common.table import shortened
from keras_kd.metrics.disagreement import AgreementBins
from keras_kd.metrics.reliability import ReliabilityBins
from keras_kd.probes.layer_similarity import LayerSimilarity

_INK, _MUTED, _PAPER = "#010203", "#040506", "#070809"
_SIDES = {"teacher": "#0a0b0c", "student": "#0d0e0f", "control": "#101112"}
# Colours of the figures are names: the page says what they are, light or dark.
_VARIABLES = {
    _INK: "currentColor",
    _MUTED: "var(--muted)",
    _PAPER: "var(--panel)",
    **{colour: f"var(--{side})" for side, colour in _SIDES.items()},
}
_MARKERS = {"teacher": "s", "student": "o", "control": "^"}
MAX_POINTS = 1200  # in a scatter
MAX_CLASSES = 20
SMALL_BIN = 0.02  # share of the examples below which a bin says little
_ABOVE = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2, "borderpad": 0}
_STYLE = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _MUTED,
    "axes.facecolor": _PAPER,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _MUTED,
    "legend.frameon": False,
}


def intervals(scores, name, title):
    """Student and control side by side: a score with its interval.

    Args:
        scores: `{side: {name: {"value", "low", "high"}}}`.
        name: Of the score.
        title: Of the axis.

    Returns:
        SVG text.
    """
    sides = [side for side in ("student", "control") if name in scores.get(side, {})]

    def draw(ax):
        for place, side in enumerate(sides):
            entry = scores[side][name]
            ends = [entry["low"], entry["high"]]
            ax.plot(ends, [place] * 2, color=_SIDES[side], linewidth=4, alpha=0.45)
            ax.plot(entry["value"], place, _MARKERS[side], color=_SIDES[side], ms=8)
        ax.set_yticks(range(len(sides)), sides)
        ax.set_ylim(len(sides) - 0.5, -0.5)
        ax.set_xlabel(title)
        ax.margins(x=0.12)
        ax.grid(axis="x", alpha=0.3)

    return _svg(draw, f"intervals-{name}", 4.4, 0.9 + 0.45 * len(sides))


def reliability(bins, side, name="reliability"):
    """Accuracy against confidence, and the share of examples in each bin.

    Args:
        bins: Dict of `edges`, `weights`, `accuracy` and `confidence`.
        side: `"teacher"`, `"student"` or `"control"`.
        name: What makes ids within the page unique.

    Returns:
        SVG text.
    """
    found = _arrays(ReliabilityBins, bins)

    def draw(ax):
        found.plot(ax, **_points(side))
        ax.set_xlabel(f"confidence of the {side}")

    return _svg(draw, f"{name}-{side}", 4.2, 3.3)


def phi_scatter(result, side, seed=0):
    """The side's log-odds of the teacher's class against the teacher's.

    Args:
        result: `keras_kd.metrics.confidence_exaggeration(...)`.
        side: `"student"` or `"control"`.
        seed: Of the choice of `MAX_POINTS` points, where there are more.

    Returns:
        SVG text.
    """

    def draw(ax):
        result.plot(ax, max_points=MAX_POINTS, seed=seed, **_points(side))
        ax.set_ylabel(f"φ of the {side}")

    return _svg(draw, f"phi-{side}", 4.2, 3.6)


def agreement_by_confidence(bins):
    """Agreement in bins of the teacher's confidence, a line a side.

    Args:
        bins: `{side: dict of "edges", "weights", "agreement", "confidence"}`.

    Returns:
        SVG text.
    """

    def draw(ax):
        for side, own in bins.items():
            _arrays(AgreementBins, own).plot(
                ax,
                shares=side == next(iter(bins)),
                little=SMALL_BIN,
                linestyle="-" if side == "student" else ":",
                label=side,
                **_points(side),
            )
        ax.legend(**_ABOVE)

    return _svg(draw, "by-confidence", 4.2, 3.3)


def agreement_by_class(by_class, names):
    """Agreement of each class; of many the `MAX_CLASSES` with the least.

    Args:
        by_class: `{side: dict of "weights" and "agreement"}`, `"student"` among them.
        names: Of the classes.

    Returns:
        SVG text.
    """
    student = np.array(by_class["student"]["agreement"], float)
    order = [i for i in np.argsort(student, kind="stable") if np.isfinite(student[i])]
    order = order[:MAX_CLASSES]

    def draw(ax):
        for side, own in by_class.items():
            values = [own["agreement"][i] for i in order]
            ax.plot(
                values,
                range(len(order)),
                _MARKERS[side],
                color=_SIDES[side],
                ms=6,
                alpha=0.85,
                label=side,
            )
        ax.set_yticks(range(len(order)), [shortened(names[i]) for i in order])
        ax.set_ylim(len(order) - 0.5, -0.5)
        ax.set_xlim(right=1.02)  # for whole markers at 1
        left, right = ax.get_xlim()
        ax.set_xticks([tick for tick in ax.get_xticks() if left <= tick <= 1])
        ax.set_xlim(left, right)
        ax.set_xlabel("agreement with the teacher")
        ax.grid(axis="y", alpha=0.25)
        if len(by_class) > 1:
            ax.legend(**_ABOVE)

    return _svg(draw, "by-class", 4.2, 1.1 + 0.24 * len(order))


def cka(found, side):
    """Similarity of layers as a matrix of shaded cells with their values.

    Args:
        found: Dict of `teacher_layers`, `layers` and `cka`.
        side: `"student"` or `"control"`.

    Returns:
        SVG text.
    """
    rows, columns = found["teacher_layers"], found["layers"]
    similarity = LayerSimilarity(np.array(found["cka"], float), rows, columns)

    def draw(ax):
        similarity.plot(ax, color=_SIDES[side])
        ax.set_xlabel(f"layers of the {side}")

    size = 1.6 + 0.46 * len(columns), 1.5 + 0.34 * len(rows)
    return _svg(draw, f"cka-{side}", max(size[0], 4.0), size[1])


def _points(side):
    return {"color": _SIDES[side], "marker": _MARKERS[side]}


def _arrays(kind, bins):
    return kind(*(np.array(bins[name], float) for name in kind._fields))


def _svg(draw, name, width, height):
    """What `draw` draws on axes, as an <svg> to stand within a page."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        ax = figure.add_subplot()
        ax.set_facecolor("none")
        draw(ax)
        written = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    return _for_page(written.getvalue(), name)


def _for_page(svg, name):
    """Without prolog and size, its ids made unique, its colours those of the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.strip()
