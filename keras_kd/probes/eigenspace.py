"""What a network has learnt along each principal direction of its inputs."""

import dataclasses

import numpy as np

from keras_kd._common.checks import check_whole_number
from keras_kd._common.table import InTable


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class EigenspaceTrajectory(InTable):
    """What `eigenspace_trajectory` found.

    Attributes:
        components: `(snapshots, directions)`: length of the first layer's weights along
            each direction.
        eigenvalues: `(directions,)`, of the inputs' covariance, largest first.
        eigenvectors: `(features, directions)`.

    Example: a direction of large variance is learnt first.

    >>> times = np.linspace(0, 3, 4)
    >>> components = 1 - np.exp(-times[:, None] * np.array([1.0, 0.2]))
    >>> trajectory = keras_kd.probes.EigenspaceTrajectory(
    ...     components, np.array([1.0, 0.2]), np.eye(2))
    >>> round(float(trajectory.at_matched(0, components[2, 0])[1]), 4)
    0.3297
    """

    components: np.ndarray
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray

    def at_matched(self, direction, value):
        """All components where the one along `direction` first reaches `value`.

        Compare two trainings there, never at the same epoch: one of them is slower.
        Between snapshots it interpolates linearly.

        Returns:
            `(directions,)`, NaN where the value is never reached.
        """
        along = self.components[:, direction]
        reached = np.flatnonzero(along >= value)
        if not len(reached):
            return np.full(self.components.shape[1], np.nan)
        last = reached[0]
        if last == 0:
            return self.components[0].copy()
        before, after = self.components[last - 1], self.components[last]
        part = (value - along[last - 1]) / (along[last] - along[last - 1])
        return before + part * (after - before)

    def plot(self, ax=None, top=0, low=-1, **line):
        """Draw the component along a low direction against that along a top one.

        Args:
            ax: matplotlib axes, e.g. those of another trajectory. Defaults to new ones.
            top: Direction of the horizontal axis. Defaults to 0, the first.
            low: Direction of the vertical axis. Defaults to the last.
            line: Passed on to `ax.plot`, e.g. `label="one-hot"`.

        Returns:
            The axes.
        """
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        ax.plot(self.components[:, top], self.components[:, low], **line)
        ax.set_xlabel(_label(self.eigenvalues, top))
        ax.set_ylabel(_label(self.eigenvalues, low))
        return ax


def eigenspace_trajectory(snapshots, inputs, *, index=0, center=True, directions=None):
    """Components of first-layer weights on the eigenvectors of the input covariance.

    Along each eigenvector v_k of the covariance, the length of W'v_k at every snapshot
    of training. Gradient descent learns directions of large variance first; a student
    that learns a teacher which stopped early lags further behind along the small ones
    than the teacher did when both had learnt as much along the top.

    Args:
        snapshots: Weights along training: a list of first-layer kernels, or of lists of
            arrays as `get_weights()` and `CheckpointTrajectory` give them.
        inputs: `(n, ...)` array that the layer saw; flattened, or cut into patches of
            the kernel's size where the kernel has four axes (stride 1).
        index: Place of the kernel in lists of arrays. Defaults to 0.
        center: Whether the mean input is taken off first. Defaults to True. The theory
            of a linear model without a bias has X'X, uncentred.
        directions: How many of the largest eigenvalues. Defaults to all.

    Returns:
        `EigenspaceTrajectory`.

    Example:

    >>> x = np.random.default_rng(0).normal(size=(500, 2)) * np.array([3.0, 1.0])
    >>> kernels = [np.zeros((2, 4)), np.eye(2, 4)]
    >>> found = keras_kd.probes.eigenspace_trajectory(kernels, x)
    >>> found.components.round(2).tolist()
    [[0.0, 0.0], [1.0, 1.0]]

    Reference: Nagarajan et al. 2023, section 5 and its figures of eigenspace
    trajectories.
    """
    kernels = [_kernel(snapshot, index) for snapshot in snapshots]
    if not kernels:
        raise ValueError("`snapshots` is empty: give the weights of at least one step.")
    rows = _rows(np.asarray(inputs, "float64"), kernels[0])
    if center:
        rows = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    count = values.size if directions is None else directions
    count = check_whole_number("directions", count, at_least=1)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    flat = [kernel.reshape(len(vectors), -1) for kernel in kernels]
    lengths = [np.linalg.norm(vectors.T @ kernel, axis=1) for kernel in flat]
    return EigenspaceTrajectory(np.array(lengths), values, vectors)


def _kernel(snapshot, index):
    weights = getattr(snapshot, "weights", snapshot)
    kernel = weights[index] if isinstance(weights, (list, tuple)) else weights
    kernel = np.asarray(kernel, "float64")
    return kernel[:, None] if kernel.ndim == 1 else kernel


def _rows(inputs, kernel):
    """What the kernel is multiplied with, one row a position."""
    if kernel.ndim == 4 and inputs.ndim == 4 and inputs.shape[-1] == kernel.shape[2]:
        windows = np.lib.stride_tricks.sliding_window_view(
            inputs, kernel.shape[:2], axis=(1, 2)
        )
        return np.moveaxis(windows, 3, -1).reshape(-1, int(np.prod(kernel.shape[:3])))
    rows = inputs.reshape(len(inputs), -1)
    if kernel.ndim != 2 or rows.shape[1] != kernel.shape[0]:
        raise ValueError(
            "A kernel must be (features, units) with the features of the inputs, or "
            "(height, width, channels, units) with their channels. Received: kernel "
            f"{kernel.shape}, inputs {inputs.shape}. `index` says which of the weights "
            "is the first layer's kernel."
        )
    return rows


def _label(eigenvalues, direction):
    place = direction % len(eigenvalues) + 1
    return f"along eigenvector {place} (eigenvalue {eigenvalues[direction]:.3g})"
