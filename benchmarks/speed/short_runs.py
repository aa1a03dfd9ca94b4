"""Ten epochs of small arrays: `fit` of a Distiller on labels alone against Keras's own.

1,257 digits of 8x8 pixels, a network of two dense layers, batches of 32: the epoch of
tests, demos and studies, in which starting and ending the pipeline takes its share.

    python benchmarks/speed/short_runs.py                     # about 1 minute
"""

import keras
import numpy as np
import tensorflow as tf
from _interleaved import arguments, compare, record, without_autotuner

import keras_kd

BATCH_SIZE = 32


def digits():
    source = keras_kd.data.load("digits")
    images = [example["image"] for example in source.dataset.as_numpy_iterator()]
    return np.stack(images), source.labels


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


def compiled(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss, metrics=["accuracy"])
    return model


def distiller():
    loss = keras_kd.losses.KnowledgeDistillation()
    return keras_kd.Distiller(None, network(), loss, student_loss_weight=1.0)


def main():
    args = arguments(__doc__)
    epochs = 1 if args.quick else 10
    x, y = digits()
    plain, ours = compiled(network()), compiled(distiller())
    cut = {"batch_size": BATCH_SIZE, "epochs": epochs, "verbose": 0}
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x))
    dataset = without_autotuner(dataset.batch(BATCH_SIZE))
    options = {"epochs": epochs, "verbose": 0, "shuffle": False}
    settings = {"examples": len(x), "epochs": epochs, "batch_size": BATCH_SIZE}
    rows = compare(
        "short_runs",
        {
            "Keras, fit of arrays": lambda: plain.fit(x, y, **cut),
            "keras_kd, fit of arrays": lambda: ours.fit(x, y, **cut),
            "Keras, fit of tf.data": lambda: plain.fit(dataset, **options),
        },
        "Keras, fit of arrays",
        args,
        **settings,
    )
    rows += compare(
        "short_runs",
        {
            "Keras, evaluate of arrays": lambda: plain.evaluate(x, y, verbose=0),
            "keras_kd, evaluate of arrays": lambda: ours.evaluate(x, y, verbose=0),
        },
        "Keras, evaluate of arrays",
        args,
        examples=len(x),
        batch_size=BATCH_SIZE,
    )
    record("short_runs", rows, args)


if __name__ == "__main__":
    main()
