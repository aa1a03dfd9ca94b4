"""Loss, agreement and accuracy on lines and planes of a network's weights."""

import dataclasses
import hashlib

import numpy as np
from tqdm import tqdm

from keras_kd._common.checks import check_choice, check_whole_number
from keras_kd._common.table import InTable
from keras_kd.probes._objective import Objective
from keras_kd.probes._progress_file import ProgressFile
from keras_kd.probes._sample import Sample, fingerprint
from keras_kd.probes._weights_pass import WeightsPass
from keras_kd.probes.sections import line_through, plane_through
from keras_kd.probes.weights import network_of, state_of

VALUES = ("loss", "agreement", "accuracy")


@dataclasses.dataclass(frozen=True)
class SurfacePoint(InTable):
    """A network of interest on a section, and what was found at its exact weights.

    Example:

    >>> point = keras_kd.probes.SurfacePoint((0.0, 0.0), 0.5, 1.0, 0.75)
    >>> point.loss, point.agreement, point.accuracy
    (0.5, 1.0, 0.75)
    """

    coordinates: tuple
    loss: float
    agreement: float  # NaN for outputs of one number
    accuracy: float  # NaN without labels of classes


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LossSurface(InTable):
    """What `loss_surface` found.

    Attributes:
        coordinates: One array an axis of the section: `(columns,)` and, of a plane,
            `(rows,)`.
        loss: `(columns,)` on a line, `(rows, columns)` on a plane.
        agreement: Same shape: share on which the network says what the teacher says.
        accuracy: Same shape; NaN without labels of classes.
        anchors: `{name: SurfacePoint}`: "teacher", "student", "initial".
        num_examples: Examples of the sample.
        loss_name: Name of the loss.

    Example:

    >>> x = np.linspace(-1, 1, 5)
    >>> surface = keras_kd.probes.LossSurface(
    ...     (x,), x**2, 1 - x**2, x, {}, num_examples=8, loss_name="square")
    >>> surface.plot().get_title()
    'square, 8 examples'
    """

    coordinates: tuple
    loss: np.ndarray
    agreement: np.ndarray
    accuracy: np.ndarray
    anchors: dict
    num_examples: int
    loss_name: str

    def plot(self, ax=None, value="loss", levels=15):
        """Draw a line as a curve and a plane as contours, with the anchors named.

        Args:
            ax: matplotlib axes. Defaults to new ones.
            value: `"loss"` (default), `"agreement"` or `"accuracy"`.
            levels: Number of contours, or their values. Defaults to 15.

        Returns:
            The axes.
        """
        check_choice("value", value, VALUES)
        if np.isnan(getattr(self, value)).all():
            raise ValueError(
                f"There is no {value} to draw: it is NaN at all points. Accuracy needs "
                "`y`, labels of classes."
            )
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        drawn = _draw_line if len(self.coordinates) == 1 else _draw_plane
        drawn(self, ax, value, levels)
        label = self.loss_name if value == "loss" else value
        ax.set_title(f"{label}, {self.num_examples} examples")
        return ax


def loss_surface(
    teacher,
    student,
    x,
    y=None,
    *,
    initial=None,
    section=None,
    loss=None,
    resolution=41,
    batch_size=256,
    reestimate_statistics=False,
    path=None,
    verbose=1,
):
    """Loss, agreement and accuracy of a network along a line or plane of its weights.

    Three sections are at hand: the line through teacher and student (default), the
    plane through both and the student's initial weights (give `initial`), and any
    other `section`, such as `random_plane(student)`. All points see the same sample, in
    inference mode. Neither model is written to, so an interrupt leaves them alone. A
    point costs one forward pass over the sample, and one more where statistics are
    re-estimated. Call it in `strategy.scope()` to share each batch among replicas.

    Args:
        teacher: Classifier, list of them, or `TeacherEnsemble`: what agreement (and a
            distillation loss) compares with. On the line and the plane through its own
            weights it is one model of the student's architecture.
        student: `keras.Model` whose weights are moved; of a Distiller, its student.
        x: Array of inputs, or a dict or list of arrays.
        y: Labels, for accuracy and for losses of labels: class indices, or a row over
            the classes an example. Defaults to None.
        initial: The student before training: a model, or its `get_weights()`. Defaults
            to None.
        section: A `Section`. Defaults to the line or plane described above.
        loss: A loss of `keras_kd.losses` between teacher and network, a Keras loss of
            labels, or a function `(labels, logits)` that gives one value an example.
            Defaults to `keras_kd.losses.KnowledgeDistillation()`.
        resolution: Points along each axis, or `(columns, rows)`. Defaults to 41.
        batch_size: Examples at a time. Defaults to 256.
        reestimate_statistics: Whether each point gets the statistics of batch
            normalization that its weights have on the sample, in place of those between
            the anchors'; at the anchors too. Defaults to False.
        path: A `.npz` file to resume from and to keep points in, about once a second
            and on an interrupt. Defaults to None.
        verbose: 0 hides the progress bar. Defaults to 1.

    Returns:
        `LossSurface`. The loss is the mean over the sample, without regularisation.

    Raises:
        ValueError: For architectures that differ, a loss that lacks labels, a file of
            another surface, or equal networks.

    Example:

    >>> def model():
    ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> teacher, student, initial = model(), model(), model()
    >>> surface = keras_kd.probes.loss_surface(
    ...     teacher, student, np.random.rand(8, 4), initial=initial, resolution=5,
    ...     verbose=0)
    >>> surface.loss.shape, surface.anchors["teacher"].agreement
    ((5, 5), 1.0)

    References: Stanton et al. 2021, figure 6c; Li et al. 2018.
    """
    network = network_of(student)
    section = _section(teacher, network, initial, section)
    look = SurfacePass(
        teacher,
        network,
        x,
        y,
        loss=loss,
        batch_size=batch_size,
        reestimate_statistics=reestimate_statistics,
    )
    return look.run(section, resolution, path=path, verbose=verbose)


class SurfacePass:
    """Compiled look at sections of one network; runs again without a new trace.

    Private to this package: `loss_surface` and `LossSurfaceProbe` are its faces.
    """

    def __init__(
        self, teacher, network, x, y, *, loss, batch_size, reestimate_statistics
    ):
        self._network = network
        self._sample = Sample(x, y, teacher, batch_size)
        self._objective = Objective(loss, has_teacher=True, has_labels=y is not None)
        self._reestimates = reestimate_statistics
        self._settings = [self._objective.describe(), str(batch_size)]
        self._forward = None

    def run(self, section, resolution, *, path=None, verbose=0):
        """`LossSurface` of a section with as many lists of weights as before."""
        axes = _axes(section, resolution)
        points = _points(section, axes)
        states = [
            state_of(state, like=self._network, role="section")
            for state in section.states
        ]
        identity = "" if path is None else self._identity(states, points)
        file = ProgressFile(path, identity, (len(points), len(VALUES)))
        if self._forward is None:
            self._forward = WeightsPass(
                self._network,
                self._sample,
                self._objective,
                states,
                reestimate_statistics=self._reestimates,
            )
        else:
            self._forward.move_to(states)
        rows = evaluate_points(self._forward, points, file, verbose)
        examples = self._sample.num_examples
        return _surface(section, axes, rows, examples, self._objective.name)

    def _identity(self, states, points):
        weights = [w for state in states for w in state]
        parts = [self._sample.fingerprint(), fingerprint([*weights, points])]
        parts += [*self._settings, str(self._reestimates)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def evaluate_points(forward, coefficients, file=None, verbose=0):
    """Rows of loss, agreement and accuracy; kept in the file on the way."""
    file = file or ProgressFile(None, "", (len(coefficients), len(VALUES)))
    missing = np.flatnonzero(~file.done)
    try:
        with tqdm(
            total=len(coefficients),
            initial=len(coefficients) - len(missing),
            unit="point",
            disable=not verbose,
        ) as bar:
            for i in missing:
                file.put(i, forward(coefficients[i]))
                bar.update()
    finally:
        file.write()
    return file.rows


def _section(teacher, network, initial, section):
    if section is not None:
        if initial is not None:
            raise ValueError(
                "`initial` and `section` both say where to look. Give one of them; "
                "`plane_through(teacher, student, initial)` is a section."
            )
        return section
    if isinstance(teacher, (list, tuple)) or hasattr(teacher, "members"):
        raise ValueError(
            "The section through the teacher needs one model of the student's "
            "architecture, not an ensemble. Give `section=`, e.g. "
            "keras_kd.probes.random_plane(student)."
        )
    state_of(teacher, like=network, role="teacher")
    if initial is None:
        return line_through(teacher, network)
    return plane_through(teacher, network, initial)


def _axes(section, resolution):
    axes = len(section.limits)
    is_single = not isinstance(resolution, (tuple, list))
    counts = [resolution] * axes if is_single else resolution
    if len(counts) != axes:
        raise ValueError(
            f"`resolution` must be one number, or one for each of the {axes} axes. "
            f"Received: resolution={resolution!r}."
        )
    counts = [check_whole_number("resolution", n, at_least=2) for n in counts]
    pairs = zip(section.limits, counts, strict=True)
    return tuple(np.linspace(low, high, n) for (low, high), n in pairs)


def _points(section, axes):
    """Coefficients of the anchors, then of the grid, rows after one another."""
    grid = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, len(axes))
    anchors = [coefficients for _, coefficients in section.anchors.values()]
    return np.array([*anchors, *map(section.coefficients, grid)], "float64")


def _surface(section, axes, rows, num_examples, loss_name):
    names = list(section.anchors)
    anchors = {
        name: SurfacePoint(tuple(section.anchors[name][0]), *map(float, row))
        for name, row in zip(names, rows, strict=False)
    }
    shape = tuple(len(axis) for axis in reversed(axes))
    grids = [column.reshape(shape) for column in rows[len(names) :].T]
    return LossSurface(axes, *grids, anchors, num_examples, loss_name)


def _draw_line(surface, ax, value, levels):
    del levels
    ax.plot(surface.coordinates[0], getattr(surface, value))
    for name, point in surface.anchors.items():
        place = (point.coordinates[0], getattr(point, value))
        ax.plot(*place, "o", color="black")
        _name(ax, name, place)
    ax.set_xlabel("distance")
    ax.set_ylabel(value)


def _draw_plane(surface, ax, value, levels):
    values = getattr(surface, value)
    if np.nanmin(values) == np.nanmax(values):  # contours of a flat one are none
        levels = values.flat[0] + np.array([-1e-3, 1e-3])
    filled = ax.contourf(*surface.coordinates, values, levels)
    ax.figure.colorbar(filled, ax=ax, label=value)
    for name, point in surface.anchors.items():
        ax.plot(*point.coordinates, "o", color="white", markeredgecolor="black")
        _name(ax, name, point.coordinates)
    ax.set_aspect("equal")


def _name(ax, name, place):
    ax.annotate(
        name,
        place,
        textcoords="offset points",
        xytext=(5, 5),
        bbox={"boxstyle": "round", "facecolor": "white", "alpha": 0.7, "pad": 0.2},
    )
