"""Between two networks: initial weights, and the way from one to the other."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from keras_kd._common.calls import inputs_for
from keras_kd._common.checks import check_number, check_whole_number
from keras_kd._common.table import InTable
from keras_kd.probes._objective import Objective
from keras_kd.probes._sample import Sample
from keras_kd.probes._weights_pass import (
    WeightsPass,
    check_can_reestimate,
    mean_and_variance,
    moments_in_training,
)
from keras_kd.probes.loss_surface import evaluate_points
from keras_kd.probes.weights import combine, network_of, norm_layers, state_of


def interpolate(teacher, other, lam, *, x=None, batch_size=256):
    """A new network at lam * teacher + (1 - lam) * other, as a student to start from.

    The whole state is interpolated, statistics of normalization too. lam = 1 gives the
    teacher's weights and lam = 0 the other's, to the bit. For the paper's "same
    initialisation" (table 1), give what the teacher started from as `teacher`, with
    lam = 1.

    Args:
        teacher: A built `keras.Model`, or a list of arrays as `get_weights()` gives it
            (for one, of the teacher before training).
        other: A built `keras.Model` of the same architecture, e.g. a fresh student. The
            new network is a copy of it.
        lam: 1 for the teacher, 0 for the other.
        x: Inputs on which statistics of batch normalization are estimated anew, as the
            paper's code does by one pass in training mode: between two networks the
            interpolated ones fit neither. Defaults to None: they stay as they are.
        batch_size: Of that pass. Defaults to 256.

    Returns:
        A new `keras.Model`, not compiled. Neither of the given ones is changed.

    Example:

    >>> def model():
    ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> teacher, fresh = model(), model()
    >>> student = keras_kd.probes.interpolate(teacher, fresh, 0.25)
    >>> np.allclose(student.get_weights()[0], 0.25 * teacher.get_weights()[0]
    ...     + 0.75 * fresh.get_weights()[0])
    True

    Reference: Stanton et al. 2021, figure 6b. The released code also multiplies the
    student's learning rate by 1 - lam (floored at 1e-6); the paper does not say so.
    """
    lam = check_number("lam", lam)
    other = network_of(other, "other")
    states = [state_of(teacher, like=other, role="teacher"), other.get_weights()]
    student = _copy(other)
    weights = combine([lam, 1.0 - lam], states, lambda c, dtype: dtype.type(c))
    student.set_weights(weights)
    if x is not None and norm_layers(student):
        _estimate_statistics(student, x, batch_size)
    return student


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class InterpolationPath(InTable):
    """What `interpolation_path` found.

    Attributes:
        lam: `(points,)`, from 0 (the other network) to 1 (the teacher).
        loss: `(points,)`, mean over the sample.
        agreement: `(points,)`, with the teacher.
        accuracy: `(points,)`; NaN without labels of classes.
        barrier: The most by which the loss exceeds the straight line between both ends;
            0 where there is no barrier.
        barrier_above_ends: The most by which it exceeds the higher of both ends.
        num_examples: Examples of the sample.

    Example:

    >>> lam = np.linspace(0, 1, 3)
    >>> path = keras_kd.probes.InterpolationPath(
    ...     lam, np.array([1.0, 2.0, 1.0]), lam, lam, 1.0, 1.0, num_examples=8)
    >>> path.plot().get_title()
    'barrier 1, 8 examples'
    """

    lam: np.ndarray
    loss: np.ndarray
    agreement: np.ndarray
    accuracy: np.ndarray
    barrier: float
    barrier_above_ends: float
    num_examples: int

    def plot(self, ax=None):
        """Draw the loss, and agreement on an axis of its own; gives the axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.subplots()[1]
        ax.plot(self.lam, self.loss, color="C0")
        ax.set_xlabel("lam (0: other network, 1: teacher)")
        ax.set_ylabel("loss", color="C0")
        shares = ax.twinx()
        shares.plot(self.lam, self.agreement, color="C1", linestyle="--")
        shares.set_ylabel("agreement with the teacher", color="C1")
        ax.set_title(f"barrier {self.barrier:.3g}, {self.num_examples} examples")
        return ax


def interpolation_path(
    teacher,
    other,
    x,
    y=None,
    *,
    loss=None,
    points=21,
    batch_size=256,
    reestimate_statistics=False,
    verbose=1,
):
    """Loss and agreement on the way between two networks, and the barrier's height.

    Args:
        teacher: A built `keras.Model`.
        other: Another of the same architecture: a student, or another teacher.
        x: Array of inputs, or a dict or list of arrays.
        y: Labels. Defaults to None.
        loss: As in `loss_surface`. Defaults to the divergence from the teacher,
            `keras_kd.losses.KnowledgeDistillation()`.
        points: Values of lam, ends included. Defaults to 21.
        batch_size: Examples at a time. Defaults to 256.
        reestimate_statistics: As in `loss_surface`. Defaults to False.
        verbose: 0 hides the progress bar. Defaults to 1.

    Returns:
        `InterpolationPath`.

    Example:

    >>> def model():
    ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> path = keras_kd.probes.interpolation_path(
    ...     model(), model(), np.random.rand(8, 4), points=5, verbose=0)
    >>> float(path.lam[-1]), float(path.agreement[-1])
    (1.0, 1.0)

    References: Stanton et al. 2021, section 6.3; Entezari et al. 2022 (the barrier).
    """
    other = network_of(other, "other")
    states = [state_of(teacher, like=other, role="teacher"), other.get_weights()]
    lam = np.linspace(0.0, 1.0, check_whole_number("points", points, at_least=2))
    sample = Sample(x, y, teacher, batch_size)
    objective = Objective(loss, has_teacher=True, has_labels=y is not None)
    forward = WeightsPass(
        other, sample, objective, states, reestimate_statistics=reestimate_statistics
    )
    rows = evaluate_points(forward, np.stack([lam, 1 - lam], axis=1), verbose=verbose)
    losses = rows[:, 0]
    return InterpolationPath(
        lam,
        *rows.T,
        barrier=float(np.max(losses - (lam * losses[-1] + (1 - lam) * losses[0]))),
        barrier_above_ends=float(np.max(losses) - max(losses[0], losses[-1])),
        num_examples=sample.num_examples,
    )


def _copy(model):
    try:
        copy = keras.models.clone_model(model)
        if not copy.built:
            copy.build_from_config(model.get_build_config())
    except Exception as error:
        raise ValueError(
            f"{model.name!r} cannot be copied: {error} Give it a `get_config`, or make "
            "the copy yourself and set its weights."
        ) from error
    return copy


def _estimate_statistics(model, x, batch_size):
    check_can_reestimate(model)
    norms = norm_layers(model)
    weights = [tf.convert_to_tensor(w) for w in model.weights]

    @tf.function(reduce_retracing=True, autograph=False)
    def moments(batch):
        return moments_in_training(model, norms, weights, inputs_for(model, batch))

    x = keras.tree.map_structure(np.asarray, x)
    starts = range(0, len(keras.tree.flatten(x)[0]), batch_size)
    sums = [
        moments(keras.tree.map_structure(lambda a, i=i: a[i : i + batch_size], x))
        for i in starts
    ]
    count, *found = [np.sum(parts, axis=0) for parts in zip(*sums, strict=True)]
    for (layer, _, _), total, squares in zip(
        norms, found[::2], found[1::2], strict=True
    ):
        mean, variance = mean_and_variance(total, squares, count)
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)
