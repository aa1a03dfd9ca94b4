"""How alike the layers of two networks are, as a matrix to look at."""

import dataclasses

import numpy as np

from keras_kd._common.table import InTable, shortened


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LayerSimilarity(InTable):
    """A matrix of `keras_kd.metrics.cka_matrix` with the names of the layers.

    Attributes:
        matrix: `(teacher layers, student layers)` array; NaN where a layer does not
            vary.
        teacher_layers: Names of the rows.
        student_layers: Names of the columns.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(50, 6))
    >>> layers = {"all": x, "half": x[:, :3]}
    >>> similarity = keras_kd.probes.LayerSimilarity(
    ...     keras_kd.metrics.cka_matrix(layers, layers), list(layers), list(layers))
    >>> similarity
    teacher   all  half
    -------------------
    all      1.00  0.72
    half     0.72  1.00
    >>> similarity.plot().get_ylabel()
    'layers of the teacher'

    Reference: Kornblith et al. 2019, figure 2.
    """

    matrix: np.ndarray
    teacher_layers: list
    student_layers: list

    def __post_init__(self):
        matrix = np.asarray(self.matrix, "float64")
        names = len(self.teacher_layers), len(self.student_layers)
        if matrix.shape != names:
            raise ValueError(
                "`matrix` must have a row for each layer of the teacher and a column "
                f"for each of the student, {names}. Received: shape {matrix.shape}."
            )
        object.__setattr__(self, "matrix", matrix)

    def plot(self, ax=None, *, color="C0"):
        """Draw a shaded cell a pair of layers, with its value; gives the axes.

        Args:
            ax: Matplotlib axes. Defaults to new ones, of a size for these layers.
            color: Of the shades, full at 1. Defaults to the first of the style.
        """
        from matplotlib import pyplot
        from matplotlib.patches import Rectangle

        rows, columns = self.matrix.shape
        if ax is None:
            size = max(1.6 + 0.46 * columns, 4.0), 1.5 + 0.34 * rows
            ax = pyplot.subplots(figsize=size, layout="constrained")[1]
        for (i, j), value in np.ndenumerate(self.matrix):
            shade = 0.6 * np.nan_to_num(np.clip(value, 0, 1))
            look = {"color": color, "alpha": shade, "linewidth": 0}
            ax.add_patch(Rectangle((j, i), 0.96, 0.96, **look))
            text = f"{value:.2f}" if np.isfinite(value) else "–"
            ax.text(j + 0.48, i + 0.48, text, ha="center", va="center", size=9)
        ax.set(xlim=(0, columns), ylim=(rows, 0))
        turned = {"rotation": 40, "ha": "right"}
        ax.set_xticks(
            np.arange(columns) + 0.5, map(shortened, self.student_layers), **turned
        )
        ax.set_yticks(np.arange(rows) + 0.5, map(shortened, self.teacher_layers))
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set(xlabel="layers of the student", ylabel="layers of the teacher")
        return ax

    def _table(self):
        named = zip(self.teacher_layers, self.matrix, strict=True)
        rows = [[name, *(f"{value:.2f}" for value in row)] for name, row in named]
        return ["teacher", *self.student_layers], rows
