"""What watching costs beside training, measured on a small network."""

import statistics
import time

import keras
import numpy as np
from small_models import sparse_cross_entropy

import keras_kd
from keras_kd.callbacks import FidelityMonitor

EPOCH_OVER_SAMPLE = 50_000 / 2_000
SIZE = 512


def conv_net(depth, width):
    conv = {"padding": "same", "activation": "relu"}
    layers = [keras.layers.Conv2D(width, 3, **conv) for _ in range(depth)]
    pool = keras.layers.GlobalAveragePooling2D()
    return keras.Sequential(
        [keras.Input((16, 16, 3)), *layers, pool, keras.layers.Dense(10)]
    )


def test_of_2_000_examples_it_is_under_a_tenth_of_an_epoch_of_50_000():
    """Both grow with the examples, so that as many of both are timed in turn."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SIZE, 16, 16, 3)).astype("float32")
    y = rng.integers(0, 10, SIZE)
    distiller = keras_kd.Distiller(
        conv_net(5, 12), conv_net(3, 8), keras_kd.losses.KnowledgeDistillation()
    )
    distiller.compile("sgd", sparse_cross_entropy())
    monitor = FidelityMonitor({"test": (x, y)}, batch_size=128)
    shares = []
    for _ in range(6):
        started = time.perf_counter()
        logs = distiller.fit(
            x, y, batch_size=128, verbose=0, callbacks=[monitor]
        ).history
        (watching,) = logs["monitor_seconds"]
        training = time.perf_counter() - started - watching
        shares.append(watching / training / EPOCH_OVER_SAMPLE)
    assert statistics.median(shares[1:]) < 0.1
