"""Interleaved timing of alternatives, and networks of the size that papers use."""

import argparse
import json
import os
import platform
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf


def arguments(description):
    """`--rounds`, `--steps` and `--quick`, the same for all benchmarks."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="turns of each candidate")
    parser.add_argument("--steps", type=int, default=4, help="training steps a turn")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--quick", action="store_true", help="see that it runs")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.steps, args.batch_size = 2, 1, 8
    return args


def compare(name, candidates, baseline, rounds, **settings):
    """Run `{name: function}` in turn and print a JSON line a candidate.

    The ratio is speed against the baseline in the same round, above 1 for faster:
    drift of a shared machine hits both sides of a round alike. One round warms up.
    """
    seconds = {key: [] for key in candidates}
    for turn in range(rounds + 1):
        for key, run in candidates.items():
            started = time.perf_counter()
            run()
            if turn:
                seconds[key].append(time.perf_counter() - started)
    for key, times in seconds.items():
        ratios = [b / t for b, t in zip(seconds[baseline], times, strict=True)]
        line = {
            "benchmark": name,
            "candidate": key,
            "speed_ratio_median": round(statistics.median(ratios), 4),
            "speed_ratio_min": round(min(ratios), 4),
            "speed_ratio_max": round(max(ratios), 4),
            "seconds_median": round(statistics.median(times), 4),
            "baseline": baseline,
            "rounds": rounds,
            **settings,
            "versions": {
                "python": platform.python_version(),
                "keras": keras.__version__,
                "tensorflow": tf.__version__,
            },
            "cpu_cores": os.cpu_count(),
        }
        print(json.dumps(line), flush=True)


def resnet(depth, num_classes=100, name=None):
    """CIFAR ResNet of basic blocks (depth 6n + 2), logits out."""
    layers = keras.layers
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
    for stage, width in enumerate((16, 32, 64)):
        for block in range((depth - 2) // 6):
            strides = 2 if stage and not block else 1
            y = layers.Conv2D(width, 3, strides, padding="same", use_bias=False)(x)
            y = layers.ReLU()(layers.BatchNormalization()(y))
            y = layers.Conv2D(width, 3, padding="same", use_bias=False)(y)
            y = layers.BatchNormalization()(y)
            if strides == 2:
                x = layers.Conv2D(width, 1, 2, use_bias=False)(x)
            x = layers.ReLU(name=f"stage_{stage}_block_{block}")(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(num_classes)(x), name=name)


def random_batches(batch_size, steps, num_classes=100):
    """A dataset of `steps` batches of noise images, held in memory."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch_size * steps, 32, 32, 3)).astype("float32")
    y = rng.integers(0, num_classes, batch_size * steps)
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size).cache()
