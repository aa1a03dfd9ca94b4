"""What tests of image models share: counts, weights by layer, how weights start."""

import numpy as np
from scipy import stats


def counts(model):
    """Trainable and other weights (a dropout's seed is no weight)."""
    return _size(model.trainable_weights), _size(model.non_trainable_weights)


def _size(weights):
    return sum(int(np.prod(w.shape)) for w in weights)


def shapes(model, names):
    """Of the outputs of layers, without the batch."""
    return [model.get_layer(name).output.shape[1:] for name in names]


def images(model, batch=2, seed=0):
    """Random images that a model takes, float32."""
    shape = (batch, *model.input_shape[1:])
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def arrays(model):
    """`{layer: {variable: float64 array}}`."""
    return {
        layer.name: {w.name: np.array(w, "float64") for w in layer.weights}
        for layer in model.layers
        if layer.weights
    }


def scatter(model, seed=0):
    """The model, with norms and biases away from the 0 and 1 that they start at."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
        elif weight.name in ("beta", "bias", "moving_mean"):
            weight.assign(generator.normal(scale=0.2, size=weight.shape))
    return model


def assert_normal(samples):
    """Each array of a dict has standard deviation 1, and together they are normal."""
    for name, values in samples.items():
        error = (np.std(values) - 1) * np.sqrt(2 * values.size)
        assert abs(error) < 4.5, f"{name}: {error} standard errors"
    together = np.concatenate([values.ravel() for values in samples.values()])
    drawn = np.random.default_rng(0).choice(together, min(20_000, together.size))
    assert stats.kstest(drawn, "norm").pvalue > 1e-3
    # Keras's other normal initializers stop at two standard deviations.
    assert np.abs(together).max() > 3


def he_samples(model):
    """Kernels of the convolutions over the standard deviation sqrt(2 / (k k out))."""
    found = {}
    for layer, weights in arrays(model).items():
        kernel = weights.get("kernel")
        if kernel is not None and kernel.ndim == 4:
            height, width, _, filters = kernel.shape
            found[layer] = kernel / np.sqrt(2 / (height * width * filters))
    return found


def assert_uniform(values, bound):
    """All within the bound, and spread evenly up to it."""
    assert np.abs(values).max() <= bound
    assert stats.kstest(values.ravel() / bound, "uniform", args=(-1, 2)).pvalue > 1e-3
