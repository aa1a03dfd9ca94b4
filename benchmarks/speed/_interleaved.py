"""Interleaved timing of alternatives, and networks of the size that papers use."""

import argparse
import contextlib
import json
import os
import pathlib
import platform
import re
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import keras_kd

RESULTS = pathlib.Path(__file__).parent / "results"
STEADY = 0.05  # the inner half of the rounds within this share of the median


def arguments(description, **defaults):
    """`--rounds`, `--steps`, `--batch-size` and `--quick`, for all benchmarks alike."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    defaults = {"rounds": 7, "steps": 4, "batch_size": 128, **defaults}
    texts = {
        "rounds": "turns of each candidate, at least; more until they are steady",
        "most_rounds": "turns after which an unsteady comparison ends",
        "steps": "training steps a turn",
    }
    for name, value in {"most_rounds": 41, **defaults}.items():
        flag = f"--{name.replace('_', '-')}"
        nargs = "+" if isinstance(value, list) else None
        kind = type(value[0] if nargs else value)
        text = texts.get(name, " ")
        parser.add_argument(flag, type=kind, default=value, nargs=nargs, help=text)
    parser.add_argument("--quick", action="store_true", help="see that it runs")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.most_rounds, args.steps, args.batch_size = 2, 2, 1, 8
        if "members" in defaults:
            args.members = args.members[:1]
    return args


def compare(name, candidates, baseline, args, **settings):
    """Run `{label: function}` in turn until steady; give and print one row a candidate.

    The ratio is speed against the baseline in the same round, above 1 for faster: the
    drift of a shared machine hits both sides of a round alike. One round warms up.
    Rounds go on until the inner half of each candidate's ratios lies within 5 % of
    their median, or `most_rounds` are done; that half is kept beside the median.
    """
    seconds = {label: [] for label in candidates}
    for turn in range(args.most_rounds + 1):
        for label, run in candidates.items():
            started = time.perf_counter()
            run()
            if turn:
                seconds[label].append(time.perf_counter() - started)
        ratios = _ratios(seconds, baseline)
        if turn >= args.rounds and all(map(_is_steady, ratios.values())):
            break
    rows = []
    for label, of_candidate in ratios.items():
        low, median, high = statistics.quantiles(of_candidate)
        row = {
            "benchmark": name,
            "candidate": label,
            "speed_ratio": round(median, 4),
            "inner_half": [round(low, 4), round(high, 4)],
            "seconds_median": round(statistics.median(seconds[label]), 4),
            "baseline": baseline,
            "rounds": len(of_candidate),
            **settings,
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def record(name, rows, args):
    """Write the rows of a whole run to `results/NAME.json`; a quick one leaves it."""
    if args.quick:
        return
    machine = {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "cpu_cores": os.cpu_count(),
        "cpu": _cpu(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "TensorFlow's default"),
    }
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine, "rows": rows}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")


def _ratios(seconds, baseline):
    return {
        label: [b / t for b, t in zip(seconds[baseline], times, strict=True)]
        for label, times in seconds.items()
    }


def _is_steady(ratios):
    low, median, high = statistics.quantiles(ratios)
    return median - low <= STEADY * median and high - median <= STEADY * median


def _cpu():
    """The processor's name and the vector units that speed depends on."""
    with contextlib.suppress(OSError):
        text = pathlib.Path("/proc/cpuinfo").read_text()
        name = re.search(r"model name\s*: (.*)", text)
        units = {"avx2", "avx512f", "avx512_bf16", "amx_bf16"} & set(text.split())
        return f"{name and name[1]} ({', '.join(sorted(units))})"
    return platform.processor()


def resnet(depth):
    """The CIFAR ResNet of basic blocks, 100 classes, that most papers distil."""
    return keras_kd.models.CIFARResNet(depth)


def random_batches(batch_size, steps, num_classes=100):
    """A dataset of `steps` batches of noise images, held in memory."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch_size * steps, 32, 32, 3)).astype("float32")
    y = rng.integers(0, num_classes, batch_size * steps)
    return without_autotuner(
        tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size).cache()
    )


def without_autotuner(dataset):
    """The dataset; with the autotuner, the end of an iterator can wait for seconds."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
