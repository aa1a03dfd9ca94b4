"""The papers' weight decay."""

import keras

from keras_kd._common.checks import check_number


def coupled_weight_decay(model, rate):
    """Let every trainable weight of a model decay as in PyTorch's SGD.

    Adds `rate / 2 * sum(w ** 2)` over all trainable weights, gains and biases too, to
    what training minimises, so that the gradient gains `rate * w` before momentum. The
    `weight_decay` argument of Keras's optimizers is another update, apart from the
    momentum. The sum is part of the logged loss.

    Args:
        model: A built `keras.Model`. It is changed: its weights bear a regularizer
            (no file of the model keeps it).
        rate: Weight decay as the papers state it, e.g. 1e-4; 0 takes it away.

    Returns:
        The same model.

    Example:

    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.set_weights([np.array([[1.0], [2.0]]), np.array([1.0])])
    >>> model = keras_kd.models.coupled_weight_decay(model, 0.1)
    >>> round(float(sum(model.losses)), 6)  # 0.05 * (1 + 4 + 1)
    0.3

    Reference: the released code of Stanton et al. 2021 (1e-4) and of the CIFAR-100
    benchmarks (5e-4), both on all parameters.
    """
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(
            "`model` must be a built keras.Model, because its weights are what decays. "
            f"Received: {model!r}. Call it on a batch, or give it an Input."
        )
    rate = check_number("rate", rate, at_least=0)
    for variable in model.trainable_variables:
        variable.regularizer = keras.regularizers.L2(rate / 2) if rate else None
    return model
