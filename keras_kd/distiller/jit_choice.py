"""XLA only where it measures faster: both steps run in turn, the faster one stays."""

import statistics
import time
import warnings

import keras
import tensorflow as tf

_TRIALS = 5


def accelerator_present():
    """Whether there is a device on which XLA may pay.

    On a CPU it does not: a ResNet-20 step of batch 128 took longer compiled than not
    (benchmarks/speed/jit_compile.py measures it again).
    """
    return any(d.device_type != "CPU" for d in tf.config.list_physical_devices())


class FasterOfTwo:
    """A step function that times two candidates on real steps, then keeps one.

    Every trial is a full step of the training, so nothing is computed in vain. Each
    candidate's first call, which traces and compiles, is not counted.
    """

    def __init__(self, plain, compiled, clock=time.perf_counter):
        self._candidates = [plain, compiled]
        self._seconds = [[], []]
        self._clock = clock
        self.chosen = None

    def __call__(self, iterator):
        if self.chosen is not None:
            return self._candidates[self.chosen](iterator)
        current = 0 if len(self._seconds[0]) <= _TRIALS else 1
        started = self._clock()
        try:
            logs = self._candidates[current](iterator)
            keras.tree.map_structure(keras.ops.convert_to_numpy, logs)  # wait for it
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            if current == 0:
                raise
            warnings.warn(
                f"XLA cannot compile this step, so it runs without: {error.message}",
                stacklevel=2,
            )
            self.chosen = 0
            return self(iterator)
        self._seconds[current].append(self._clock() - started)
        if len(self._seconds[1]) > _TRIALS:
            plain, compiled = (statistics.median(s[1:]) for s in self._seconds)
            self.chosen = 1 if compiled < plain else 0
        return logs
