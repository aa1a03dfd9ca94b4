"""The weights of a model as a point in space: read, set for a while, directions."""

import contextlib
import functools
import operator

import keras
import numpy as np

from keras_kd._common.calls import unchanged


@contextlib.contextmanager
def temporary_weights(model, weights):
    """A scope in which `model` has other weights; its own come back bit for bit.

    They come back after an exception and a KeyboardInterrupt too. Probes of this
    package do not set weights at all: they call models on tensors in their place.

    Args:
        model: A built `keras.Model`.
        weights: List of arrays as `model.get_weights()` gives it, or another model of
            the same architecture.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> before = model.get_weights()
    >>> with keras_kd.probes.temporary_weights(model, [np.ones((2, 1)), np.zeros(1)]):
    ...     float(model(np.array([[2.0, 3.0]]))[0, 0])
    5.0
    >>> np.array_equal(model.get_weights()[0], before[0])
    True
    """
    weights = state_of(weights, like=model)
    kept = [np.array(w, copy=True) for w in model.get_weights()]
    try:
        model.set_weights(weights)
        yield model
    finally:
        model.set_weights(kept)


def filter_normalized_direction(model, seed=0):
    """A random direction in which a step of 1 changes each filter by its own norm.

    Gaussian numbers, scaled filter by filter (all weights that lead to one unit, along
    the last axis) to the norm of the model's own filter. Biases, the scales and offsets
    of normalization and its statistics stay: their part is 0.

    Args:
        model: A built `keras.Model`.
        seed: Of the random numbers. Defaults to 0.

    Returns:
        List of arrays, in the order of `model.get_weights()`.

    Example:

    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> direction = keras_kd.probes.filter_normalized_direction(model)
    >>> np.allclose(*[np.linalg.norm(w[0], axis=0)
    ...               for w in (direction, model.get_weights())])
    True

    Reference: Li et al. 2018, section 4 (`ignore="biasbn"` of the released code).
    """
    generator = np.random.default_rng(seed)
    direction = []
    for weight, moves in zip(model.get_weights(), is_parameter(model), strict=True):
        if not moves or weight.ndim < 2:
            direction.append(np.zeros_like(weight))
            continue
        noise = generator.normal(size=weight.shape)
        axes = tuple(range(weight.ndim - 1))
        norms = [np.sqrt(np.sum(a**2, axes)) for a in (noise, weight.astype("float64"))]
        direction.append((noise * (norms[1] / norms[0])).astype(weight.dtype))
    return direction


def network_of(model, role="student"):
    """The built model whose weights are meant; of a Distiller, its student."""
    model = getattr(model, "student", model)
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`{role}` must be a keras.Model. Received: {model!r} of type "
            f"{type(model).__name__}."
        )
    if not model.built or not model.weights:
        raise ValueError(
            f"`{role}` {model.name!r} has no weights yet. Build it: give it an Input, "
            "or call it on a batch."
        )
    return model


def state_of(source, *, like, role="weights"):
    """Weights of a model, or a list of them, checked against the model `like`."""
    if isinstance(source, keras.Model):
        source = network_of(source, role).get_weights()
    shapes = [tuple(w.shape) for w in like.weights]
    if not isinstance(source, (list, tuple)):
        raise TypeError(
            f"`{role}` must be a keras.Model or a list of arrays as "
            f"`model.get_weights()` gives it. Received: {type(source).__name__}."
        )
    arrays = [np.asarray(w) for w in source]
    given = [a.shape for a in arrays]
    if given != shapes:
        differing = [
            pair for pair in zip(given, shapes, strict=False) if len(set(pair)) > 1
        ]
        what = (
            f"the first that differs has shape {differing[0][0]}, not {differing[0][1]}"
            if differing
            else "their number differs"
        )
        raise ValueError(
            f"`{role}` must fit {like.name!r}: both networks need the same "
            f"architecture. Received {len(given)} weights for {len(shapes)}; {what}."
        )
    dtypes = [keras.backend.standardize_dtype(w.dtype) for w in like.weights]
    return [
        np.array(a, copy=True) if dtype == "bfloat16" else a.astype(dtype)
        for a, dtype in zip(arrays, dtypes, strict=True)
    ]


def is_parameter(model):
    """For each of `model.weights` whether training moves it by gradients.

    Flags of `trainable` say nothing here: a frozen network's are all False.
    """
    trained = {id(v) for k in model._flatten_layers() for v in k._trainable_variables}
    return [id(w) in trained for w in model.weights]


def norm_layers(model):
    """`[(layer, place of the mean, place of the variance)]` in `model.weights`."""
    places = {id(w): i for i, w in enumerate(model.weights)}
    return [
        (layer, places[id(layer.moving_mean)], places[id(layer.moving_variance)])
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]


@contextlib.contextmanager
def stateless(model, values):
    """A scope in which calls of `model` see these tensors, and change nothing of it."""
    mapping = list(zip(model.weights, values, strict=True))
    with (
        unchanged(model),
        keras.StatelessScope(mapping, initialize_variables=False) as s,
    ):
        yield s


def combine(coefficients, states, scalar):
    """Weighted sum of lists of weights; a coefficient of 1 among zeros is exact.

    Weights that are no floats are those of the first list. `scalar(value, dtype)`
    makes a factor of the kind that the weights are.
    """
    combined = []
    for parts in zip(*states, strict=True):
        dtype = keras.backend.standardize_dtype(parts[0].dtype)
        if "float" not in dtype:
            combined.append(parts[0])
            continue
        terms = [
            scalar(factor, parts[0].dtype) * part
            for factor, part in zip(coefficients, parts, strict=True)
        ]
        combined.append(functools.reduce(operator.add, terms))
    return combined


def inner(a, b, counts):
    """Inner product in float64 over the weights that `counts` marks."""
    return sum(
        float(np.sum(x.astype("float64") * y))  # threads of a BLAS would cost more
        for x, y, c in zip(a, b, counts, strict=True)
        if c
    )


def difference(a, b):
    return [
        x.astype("float64") - y.astype("float64") for x, y in zip(a, b, strict=True)
    ]
