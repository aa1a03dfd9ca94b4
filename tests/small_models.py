"""Networks of a few weights, data, and snapshots: what tests of training share."""

import hashlib

import keras
import numpy as np
import tensorflow as tf

CLASSES = 3
FEATURES = 4


def mlp(
    name,
    *,
    seed=0,
    units=8,
    classes=CLASSES,
    features=FEATURES,
    norm=None,
    dropout=0.0,
    l2=0.0,
    dtype=None,
    extra=(),
):
    """Functional: input, "hidden", "normed" (if any), "features", extra, "logits"."""
    layers = keras.layers
    init = {
        key: keras.initializers.GlorotUniform(seed=10 * seed + i)
        for i, key in enumerate(("hidden", "logits"))
    }
    x = inputs = keras.Input((features,), name="x")
    regularizer = keras.regularizers.L2(l2) if l2 else None
    x = layers.Dense(
        units,
        name="hidden",
        dtype=dtype,
        kernel_initializer=init["hidden"],
        kernel_regularizer=regularizer,
    )(x)
    if norm == "layer":
        x = layers.LayerNormalization(name="normed", dtype=dtype)(x)
    if norm == "batch":
        x = layers.BatchNormalization(name="normed", momentum=0.9, dtype=dtype)(x)
    x = layers.Activation("tanh", name="features", dtype=dtype)(x)
    for layer in extra:
        x = layer(x)
    if dropout:
        x = layers.Dropout(dropout, seed=seed, dtype=dtype)(x)
    x = layers.Dense(
        classes, name="logits", dtype=dtype, kernel_initializer=init["logits"]
    )(x)
    return keras.Model(inputs, x, name=name)


def scattered(model, seed=0):
    """The model with random values in every float variable, so that none is 0 or 1."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        if "float" in variable.dtype:
            values = generator.uniform(0.3, 1.2, variable.shape)
            if "kernel" in variable.path:
                values *= generator.choice([-1, 1], variable.shape)
            variable.assign(values)
    return model


def toy_data(size, *, seed=0, classes=CLASSES, features=FEATURES):
    """`x` float32, `y` int32 that depends on x."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(size, features)).astype("float32")
    scores = x @ generator.normal(size=(features, classes))
    return x, scores.argmax(axis=-1).astype("int32")


def sparse_cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def numpy_weights(model):
    return [np.array(keras.ops.convert_to_numpy(w)) for w in model.weights]


def snapshot(model):
    """Bytes of every variable of a model, by position and path."""
    return {
        (i, v.path): keras.ops.convert_to_numpy(v).tobytes()
        for i, v in enumerate(model.variables)
    }


def digest(model):
    """One hash of every variable."""
    joined = hashlib.sha256()
    for value in snapshot(model).values():
        joined.update(value)
    return joined.hexdigest()


@keras.saving.register_keras_serializable(package=__name__)
class TraceCounter(keras.layers.Layer):
    """Identity; `traces` counts Python calls, `runs` counts executions."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.reset()

    def reset(self):
        self.traces = self.runs = 0

    def call(self, inputs):
        self.traces += 1
        if isinstance(inputs, tf.Tensor):
            tf.numpy_function(self._ran, [], [])
        return inputs

    def _ran(self):
        self.runs += 1


class AtEpochEnd(keras.callbacks.Callback):
    """Keeps `read()` of every epoch in `seen`."""

    def __init__(self, read):
        super().__init__()
        self.read = read
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.read())
