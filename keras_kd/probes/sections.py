"""Lines and planes through the space of a network's weights."""

import dataclasses

import numpy as np

from keras_kd._common.table import InTable
from keras_kd.probes.weights import (
    combine,
    difference,
    filter_normalized_direction,
    inner,
    is_parameter,
    network_of,
    state_of,
)

_SNAP = 1e-9  # of the section's extent: closer to an anchor than that is the anchor


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Section(InTable):
    """A line or plane of weights: weighted sums of two or three lists of weights.

    Make one with `line_through`, `plane_through`, `random_line` or `random_plane`.

    Attributes:
        states: Lists of arrays, each as `model.get_weights()` gives it.
        origin: `(states,)`, coefficients of the lists at the coordinates 0.
        frame: `(axes, states)`, what a step of 1 along each axis adds to them.
        anchors: `{name: (coordinates, coefficients)}` of points of interest, at which
            the weights are exact to the bit.
        limits: `((low, high), ...)` for each axis: what a picture shows.

    Example:

    >>> def model(seed):
    ...     init = keras.initializers.RandomNormal(seed=seed)
    ...     layers = [keras.Input((4,)), keras.layers.Dense(3, kernel_initializer=init)]
    ...     return keras.Sequential(layers)
    >>> section = keras_kd.probes.line_through(model(0), model(1))
    >>> np.array_equal(section.weights_at((0.0,))[0], model(0).get_weights()[0])
    True
    """

    states: tuple
    origin: np.ndarray
    frame: np.ndarray
    anchors: dict
    limits: tuple

    def coefficients(self, point):
        """`(states,)` float64, exact at the anchors."""
        point = np.asarray(point, "float64")
        size = max(high - low for low, high in self.limits)
        for place, coefficients in self.anchors.values():
            if np.max(np.abs(point - place)) <= _SNAP * size:
                return np.asarray(coefficients, "float64")
        return self.origin + point @ self.frame

    def weights_at(self, point):
        """The list of weights at these coordinates, for `model.set_weights`."""
        return combine(
            self.coefficients(point), self.states, lambda c, dtype: dtype.type(c)
        )


def line_through(teacher, student, *, margin=0.25):
    """The line through two networks of one architecture.

    The coordinate is the distance from the teacher in parameters; statistics of batch
    normalization go along in the same proportion without counting in it.

    Args:
        teacher: A built `keras.Model`, at 0.
        student: Another, or a list of arrays as `get_weights()` gives it.
        margin: What is shown beyond both, as a part of their distance. Defaults to
            0.25.

    Returns:
        A `Section`.

    Example:

    >>> models = [keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    ...           for _ in range(2)]
    >>> list(keras_kd.probes.line_through(*models).anchors)
    ['teacher', 'student']
    """
    states, counts = _states({"teacher": teacher, "student": student})
    v = difference(states[1], states[0])
    length = np.sqrt(inner(v, v, counts))
    _check_apart(length, states, "`teacher` and `student` have equal parameters")
    return Section(
        states=tuple(states),
        origin=np.array([1.0, 0.0]),
        frame=np.array([[-1.0, 1.0]]) / length,
        anchors={"teacher": ((0.0,), (1, 0)), "student": ((length,), (0, 1))},
        limits=_limits([[0.0, length]], margin),
    )


def plane_through(teacher, student, initial, *, margin=0.25):
    """The plane through a teacher, its student and the weights that one started from.

    With v = student - teacher and u = (initial - teacher) less its part along v, the
    axes are v/|v| and u/|u|: the teacher is at (0, 0), the student at (|v|, 0), the
    initial weights at (their projection, |u|). Distances are those of the parameters;
    statistics of batch normalization go along in the same proportion.

    Args:
        teacher: A built `keras.Model`.
        student: Another of the same architecture, or its `get_weights()`.
        initial: The same of the student before training.
        margin: What is shown beyond the three, as a part of the box around them.
            Defaults to 0.25.

    Returns:
        A `Section`.

    Example:

    >>> models = [keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    ...           for _ in range(3)]
    >>> plane = keras_kd.probes.plane_through(*models)
    >>> [round(float(c), 4) for c in plane.anchors["teacher"][0]]
    [0.0, 0.0]

    Reference: Stanton et al. 2021, figure 6c. The paper's figure draws the initial
    weights at half the way from teacher to student, whatever their projection is.
    """
    states, counts = _states(
        {"teacher": teacher, "student": student, "initial": initial}
    )
    v, w = difference(states[1], states[0]), difference(states[2], states[0])
    length = np.sqrt(inner(v, v, counts))
    _check_apart(length, states, "`teacher` and `student` have equal parameters")
    along = inner(w, v, counts) / length
    u = [b - along / length * a for a, b in zip(v, w, strict=True)]
    height = np.sqrt(inner(u, u, counts))
    _check_apart(height, states, "`initial` is on the line of teacher and student")
    skew = along / (length * height)
    return Section(
        states=tuple(states),
        origin=np.array([1.0, 0.0, 0.0]),
        frame=np.array(
            [[-1 / length, 1 / length, 0.0], [skew - 1 / height, -skew, 1 / height]]
        ),
        anchors={
            "teacher": ((0.0, 0.0), (1, 0, 0)),
            "student": ((length, 0.0), (0, 1, 0)),
            "initial": ((along, height), (0, 0, 1)),
        },
        limits=_limits([[0.0, length, along], [0.0, height]], margin),
    )


def random_line(student, *, seed=0, radius=1.0):
    """A line from a network in a random, filter-normalised direction.

    Args:
        student: A built `keras.Model`, at 0.
        seed: Of the direction. Defaults to 0.
        radius: What is shown to both sides; 1 is a step as long as the filters
            themselves. Defaults to 1.

    Returns:
        A `Section`.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> keras_kd.probes.random_line(model).limits
    ((-1.0, 1.0),)

    Reference: Li et al. 2018, section 4.
    """
    return _random(student, [seed], radius)


def random_plane(student, *, seed=0, radius=1.0):
    """A plane around a network of two random, filter-normalised directions.

    Args:
        student: A built `keras.Model`, at (0, 0).
        seed: Of the directions. Defaults to 0.
        radius: What is shown to all sides; 1 is a step as long as the filters
            themselves. Defaults to 1.

    Returns:
        A `Section`.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> keras_kd.probes.random_plane(model, radius=0.5).limits
    ((-0.5, 0.5), (-0.5, 0.5))

    Reference: Li et al. 2018, section 4.
    """
    return _random(student, [seed, [seed, 1]], radius)


def _random(student, seeds, radius):
    student = network_of(student)
    directions = [filter_normalized_direction(student, seed) for seed in seeds]
    axes = len(directions)
    return Section(
        states=(student.get_weights(), *directions),
        origin=np.eye(axes + 1)[0],
        frame=np.eye(axes + 1)[1:],
        anchors={"student": ((0.0,) * axes, (1,) + (0,) * axes)},
        limits=((-float(radius), float(radius)),) * axes,
    )


def _states(sources):
    """Weights of all, and which of them are parameters; the teacher has the say."""
    model = network_of(sources["teacher"], "teacher")
    states = [state_of(s, like=model, role=role) for role, s in sources.items()]
    return states, is_parameter(model)


def _check_apart(length, states, what):
    scale = np.sqrt(sum(inner(s, s, [True] * len(s)) for s in states))
    if not np.isfinite(length) or length <= 1e-7 * scale:
        raise ValueError(
            f"No section can be laid: {what} (or one of them is not finite). "
            "Give networks that differ, or use `random_plane`."
        )


def _limits(places, margin):
    limits = []
    for values in places:
        low, high = min(values), max(values)
        extra = margin * (high - low)
        limits.append((low - extra, high + extra))
    return tuple(limits)
