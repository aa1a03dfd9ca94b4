"""Writes a label store in processes that are killed, and in two at once.

    python kill_and_share.py FOLDER

TensorFlow is imported once and not started before the forks: a child costs little.
Prints a JSON line of what it saw.
"""

import json
import os
import pathlib
import signal
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

from keras_kd import data

SIZE, VIEWS, SHARD = 70, 2, 16
FOLDER = pathlib.Path(sys.argv[1])


def teacher(images):
    time.sleep(0.002)
    return np.float32(images.reshape(len(images), -1)[:, :5]) * 8


def views(dataset):
    def brighter(example):
        image = tf.cast(example["image"], tf.float32) / 255
        return {**example, "image": image + tf.cast(example["view"], tf.float32)}

    return dataset.map(brighter)


def write(path):
    images = np.random.default_rng(0).integers(0, 256, (SIZE, 4, 4, 1))
    source = data.from_arrays(images.astype("uint8"), np.arange(SIZE) % 5)
    return data.LabelStore.write(
        teacher,
        source,
        path,
        pipeline=views,
        views=VIEWS,
        format="8bit",
        name="teacher",
        batch_size=8,
        shard_size=SHARD,
        verbose=0,
    )


def in_child(function):
    child = os.fork()
    if child:
        return child
    try:
        function()
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)


def killed_at(path, moment):
    """Write until the file system is asked for the so manyth time, then die at once."""

    def run():
        calls = 0

        def counting(function):
            def counted(*args, **kwargs):
                nonlocal calls
                calls += 1
                if calls == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **kwargs)

            return counted

        os.replace, os.fsync = counting(os.replace), counting(os.fsync)
        os.utime, os.link = counting(os.utime), counting(os.link)
        write(path)

    _, status = os.waitpid(in_child(run), 0)
    return os.WIFSIGNALED(status)


def contents(path):
    return {f.name: f.read_bytes() for f in sorted(path.glob("[!.]*.npy"))}


def left_over(path):
    return sorted(file.name for file in path.glob(".*"))


def main():
    moments = [1, 2, 4, 7, 9, 12, 18, 25, 33, 41]
    died = [killed_at(FOLDER / f"killed_{moment}", moment) for moment in moments]
    one_by_one = FOLDER / "often"  # one store, killed ten times
    died += [killed_at(one_by_one, moment) for moment in moments[::3]]

    shared = FOLDER / "shared"
    children = [in_child(lambda: write(shared)) for _ in range(2)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    whole = FOLDER / "whole"
    write(whole)
    want, equal = contents(whole), {}
    for path in [*(FOLDER / f"killed_{m}" for m in moments), one_by_one]:
        kept = {f.name: f.stat().st_mtime_ns for f in path.glob("view*.json")}
        write(path).verify()
        equal[path.name] = contents(path) == want
        equal[f"{path.name}: finished shards stay"] = all(
            (path / name).stat().st_mtime_ns == time for name, time in kept.items()
        )
    write(shared).verify()
    equal["shared"] = contents(shared) == want
    result = {"died": died, "codes": codes, "equal": equal, "files": len(want)}
    print(json.dumps({**result, "left": left_over(shared)}))


if __name__ == "__main__":
    main()
