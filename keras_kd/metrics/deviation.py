"""Does the student exaggerate its teacher's confidence?"""

import dataclasses

import keras
import numpy as np
from keras import ops

from keras_kd._common.checks import check_number, check_whole_number
from keras_kd._common.examples import examples_of, weigh
from keras_kd._common.resampling import bounded_means, resampled_sums
from keras_kd._common.table import InTable
from keras_kd.metrics._kept_examples import KeptExamples, in_order, kept_rows, on_host


@dataclasses.dataclass(frozen=True)
class DiagonalFit(InTable):
    """A line through the student's phi against the teacher's, and the diagonal.

    Attributes:
        slope: Of the least-squares line; above 1, confidence is exaggerated.
        intercept: Of that line.
        below_diagonal: Share of examples on which the student is less sure.
        slope_interval: `(low, high)`, bootstrap percentiles.
        intercept_interval: `(low, high)`.
        below_diagonal_interval: `(low, high)`, Jeffreys' for equal weights.
        num_examples: Examples that count.
    """

    slope: float
    intercept: float
    below_diagonal: float
    slope_interval: tuple
    intercept_interval: tuple
    below_diagonal_interval: tuple
    num_examples: int


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ExaggerationResult(InTable):
    """What `confidence_exaggeration` found.

    Attributes:
        whole: `DiagonalFit` of all examples.
        low_confidence: `DiagonalFit` of the half on which the teacher is least sure
            (up to the median; ties with it as well).
        teacher_phi: `(n,)`, log-odds of the teacher's class for the teacher, ascending.
        student_phi: `(n,)`, log-odds of the same class for the student.
        weights: `(n,)`.
        level: Of the intervals.
    """

    whole: DiagonalFit
    low_confidence: DiagonalFit
    teacher_phi: np.ndarray
    student_phi: np.ndarray
    weights: np.ndarray
    level: float

    def plot(self, ax=None, *, max_points=1200, seed=0, **points):
        """Draw the student's phi against the teacher's, with the diagonal and the line.

        Args:
            ax: Matplotlib axes. Defaults to new ones.
            max_points: Points at most, drawn at random where there are more. Defaults
                to 1200.
            seed: Of that choice. Defaults to 0.
            points: Passed on to `ax.plot` for the points, e.g. `color="C1"`.

        Returns:
            The axes.
        """
        import matplotlib.pyplot as plt

        ax = plt.subplots()[1] if ax is None else ax
        x, y = self.teacher_phi, self.student_phi
        look = {"marker": "o", "linestyle": "", "markersize": 3, "alpha": 0.35}
        look |= {"markeredgecolor": "none", **points}
        kept = slice(None)
        if len(x) > max_points:
            kept = np.random.default_rng(seed).permutation(len(x))[:max_points]
        ax.plot(x[kept], y[kept], **look)
        if len(x):
            ink = {"color": plt.rcParams["text.color"]}
            ends = [min(x.min(), y.min()), max(x.max(), y.max())]
            ax.plot(ends, ends, "--", linewidth=1, label="faithful", **ink)
            if np.isfinite(self.whole.slope):
                span = np.array([x.min(), x.max()])
                line = self.whole.slope * span + self.whole.intercept
                label = f"slope {self.whole.slope:.2f}"
                ax.plot(span, line, linewidth=1.6, label=label, **ink)
            ax.legend(loc="upper left")
        ax.set(xlabel="φ of the teacher", ylabel="φ of the student")
        return ax

    def _table(self):
        names = ("slope", "intercept", "below_diagonal")
        rows = [
            [
                part,
                getattr(self, part).num_examples,
                *(_with_interval(getattr(self, part), name) for name in names),
            ]
            for part in ("whole", "low_confidence")
        ]
        return [f"{self.level:.0%} intervals", "examples", *names], rows


def confidence_exaggeration(
    teacher_logits,
    student_logits,
    *,
    sample_weight=None,
    num_resamples=1000,
    level=0.95,
    seed=0,
):
    """Slope of the student's log-odds over the teacher's, for the teacher's class.

    phi = log(p / (1 - p)) of the class that the teacher predicts, for both models,
    taken from the logits so that it is exact where p rounds to 1. A slope above 1, or
    points below the diagonal where the teacher is least sure, say that the student
    exaggerates: sure examples become surer, doubtful ones more doubtful. A slope of 1
    with intercept 0 is faithful. Noise in the teacher's phi lowers the slope (that is
    so for every least-squares line), so a slope above 1 is careful evidence.

    Args:
        teacher_logits: `(n, ..., classes)`, no temperature.
        student_logits: Same shape.
        sample_weight: `(n,)`, weights >= 0. Defaults to equal weights.
        num_resamples: Draws of the bootstrap, which resamples examples. Defaults to
            1000.
        level: Of the bootstrap's percentile intervals. Defaults to 0.95.
        seed: Of the bootstrap. Defaults to 0.

    Returns:
        `ExaggerationResult` with `.whole` and `.low_confidence`, each with `slope`,
        `intercept`, `below_diagonal` and their intervals, and the points themselves.
        NaN for an empty set, and for slopes where all teacher values are equal.

    Example:

    >>> teacher = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]])
    >>> result = keras_kd.metrics.confidence_exaggeration(teacher, 2 * teacher)
    >>> round(result.whole.slope, 6), result.whole.below_diagonal
    (2.0, 0.0)

    Reference: Nagarajan et al. 2023, On student-teacher deviations in distillation.
    """
    settings = _settings(num_resamples, level, seed)
    rows = _rows(teacher_logits, student_logits, sample_weight)
    return _details(in_order(rows), *settings)


@keras.saving.register_keras_serializable(package="keras_kd")
class ConfidenceExaggeration(KeptExamples):
    """Streaming `confidence_exaggeration`: exact on any batching.

    Faithful at slope 1 and intercept 0. It keeps three numbers of each example, so
    `update_state` works eagerly, not in a compiled step.

    Args:
        num_resamples: Draws of the bootstrap. Defaults to 1000.
        level: Of its intervals. Defaults to 0.95.
        seed: Of the bootstrap. Defaults to 0.
        name: Defaults to `"confidence_exaggeration"`.
        dtype: Kept for Keras; results are Python floats.

    Example:

    >>> metric = keras_kd.metrics.ConfidenceExaggeration()
    >>> metric.update_state(np.array([[1.0, 0.0]]), np.array([[2.0, 0.0]]))
    >>> metric.update_state(np.array([[3.0, 0.0]]), np.array([[6.0, 0.0]]))
    >>> round(metric.result()["slope"], 6)
    2.0

    Reference: Nagarajan et al. 2023, On student-teacher deviations in distillation.
    """

    takes = ("teacher", "student")

    def __init__(
        self,
        num_resamples=1000,
        level=0.95,
        seed=0,
        name="confidence_exaggeration",
        dtype=None,
    ):
        settings = _settings(num_resamples, level, seed)
        self.num_resamples, self.level, self.seed = settings
        super().__init__(num_columns=3, name=name, dtype=dtype)

    def update_state(self, teacher_logits, student_logits, sample_weight=None):
        """Take in a batch of logits `(batch, ..., classes)`, teacher first."""
        self.keep(_rows(teacher_logits, student_logits, sample_weight))

    def result(self):
        """Dict of floats: slope, intercept, below_diagonal, and of the doubtful half.

        Those of the half that the teacher is least sure of start with
        `low_confidence_`.
        """
        found = {}
        points = self.columns()
        for prefix, part in (("", points), ("low_confidence_", _doubtful(points))):
            moments, centre = _moments(part)
            values = _line(moments.sum(axis=0), centre)
            names = ("slope", "intercept", "below_diagonal")
            found |= {prefix + n: float(v) for n, v in zip(names, values, strict=True)}
        return found

    def details(self):
        """`ExaggerationResult`, with bootstrap intervals and the points."""
        return _details(self.columns(), self.num_resamples, self.level, self.seed)

    def get_config(self):
        return {
            **super().get_config(),
            "num_resamples": self.num_resamples,
            "level": self.level,
            "seed": self.seed,
        }


def log_odds_values(teacher, student):
    """Phi of the class that the teacher predicts, of both sides, for each example.

    Args:
        teacher: NumPy array `(n, classes)` of logits, float64.
        student: Same shape.
    """
    classes = teacher.argmax(axis=-1)[:, None]
    phis = _log_odds(teacher, classes), _log_odds(student, classes)
    if not np.isfinite(phis).all():
        raise ValueError(
            "The log-odds of the teacher's class are not finite in "
            f"{np.sum(~np.isfinite(phis).all(axis=0))} of {len(teacher)} rows. "
            "Give finite logits, not logs of probabilities that rounded to 0 or 1."
        )
    return phis


def _settings(num_resamples, level, seed):
    """The arguments of the bootstrap, or an error."""
    num_resamples = check_whole_number("num_resamples", num_resamples, at_least=1)
    level = check_number("level", level, above=0)
    if level >= 1:
        raise ValueError(
            "`level` is the share of draws within the interval and must be below 1. "
            f"Received: level={level!r}. For 95 %, write 0.95."
        )
    return num_resamples, level, check_whole_number("seed", seed, at_least=0)


def _rows(teacher, student, sample_weight):
    """Phi of both sides and the weight, a row for each example that weighs."""
    examples = examples_of(teacher, student, sample_weight=sample_weight)
    weight = weigh(ops.ones_like(examples.teacher[..., 0]), examples).weight
    *sides, weight = on_host(
        "ConfidenceExaggeration", examples.teacher, examples.student, weight
    )
    counts = weight != 0
    phis = log_odds_values(*(side[counts].astype("float64") for side in sides))
    return kept_rows(*phis, weight=weight[counts])


def _details(points, num_resamples, level, seed):
    parts = points, _doubtful(points)
    fits = (_fit(part, num_resamples, level, seed) for part in parts)
    return ExaggerationResult(*fits, *points, level=level)


def _fit(points, num_resamples, level, seed):
    moments, centre = _moments(points)
    drawn = resampled_sums(moments, num_resamples, seed)
    tail = (1.0 - level) / 2
    slope, intercept, _ = _line(drawn, centre)
    x, y, w = points[..., None]
    below = bounded_means((y < x) * 1.0, w, [(0.0, 1.0)], num_resamples, seed)
    drawn = (slope, intercept, below)
    intervals = (_percentiles(v, (tail, 1.0 - tail)) for v in drawn)
    values = map(float, _line(moments.sum(axis=0), centre))
    return DiagonalFit(*values, *intervals, num_examples=len(moments))


def _with_interval(fit, name):
    low, high = getattr(fit, f"{name}_interval")
    return f"{getattr(fit, name):.3f} ({low:.3f} to {high:.3f})"


def _log_odds(logits, classes):
    """log(p / (1 - p)) of one class a row: z_y - logsumexp of the others."""
    own = np.take_along_axis(logits, classes, axis=-1)[:, 0]
    others = logits.copy()
    np.put_along_axis(others, classes, -np.inf, axis=-1)
    top = others.max(axis=-1, initial=-np.inf)
    with np.errstate(invalid="ignore"):  # -inf - -inf; the caller refuses the NaN
        rest = np.exp(others - top[:, None]).sum(axis=-1)
    return own - top - np.log(rest)


def _doubtful(points):
    """The part up to the weighted median of the teacher's phi; points ascend by it."""
    teacher, _, weights = points
    if not weights.size:
        return points
    ends = np.cumsum(weights)
    median = teacher[np.searchsorted(ends, ends[-1] / 2)]
    return points[:, teacher <= median]


def _moments(points):
    """What a line needs of each point, to be added up; and the centre it is about."""
    x, y, w = points
    centre = (x @ w / w.sum(), y @ w / w.sum()) if w.size else (0.0, 0.0)
    dx, dy = x - centre[0], y - centre[1]  # squares near 0 cancel less
    moments = [w, w * dx, w * dy, w * dx**2, w * dx * dy, w * (y < x)]
    return np.stack(moments, axis=-1), centre


def _line(sums, centre):
    """Slope, intercept and share below the diagonal, of sums of `_moments`."""
    total, *others = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        dx, dy, dxx, dxy, below = (moment / total for moment in others)
        variance = dxx - dx**2
        flat = variance <= 1e-12 * dxx
        slope = np.where(flat, np.nan, (dxy - dx * dy) / np.where(flat, 1.0, variance))
    return slope, (centre[1] + dy) - slope * (centre[0] + dx), below


def _percentiles(values, shares):
    """Of the draws that have a value: a draw of one point alone has no slope."""
    values = values[~np.isnan(values)]
    if not values.size:
        return (float("nan"), float("nan"))
    return tuple(float(v) for v in np.quantile(values, shares))
