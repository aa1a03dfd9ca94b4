"""Weights of frozen models as constants of compiled functions.

TensorFlow then folds normalisation into convolutions and fuses what follows. A weight
that has changed is noticed before the next call.
"""

import contextlib
import functools
import math
import threading

import keras
import numpy as np
import tensorflow as tf

# Of a model. Above, folding takes seconds (70 ms a MiB) for large kernels that gain
# little. All constants of a graph must stay far below its limit of 2 GiB.
MAX_BYTES = 2**24
MAX_BYTES_TOGETHER = 2**28


class ConstantWeights:
    """Which weights of some models may be constants, and whether they are just now.

    Only models with batch normalisation are worth it: it is what folds. A plain object:
    Keras neither tracks nor saves it.
    """

    def __init__(self, models, now=None):
        """`now`: what a thread's calls of the models read their `scope` off."""
        self._models = models
        self.now = threading.local() if now is None else now

    def pay(self):
        """Whether a function of these models runs faster with constants: on a CPU."""
        devices = {device.device_type for device in tf.config.list_physical_devices()}
        return devices == {"CPU"} and bool(self._variables())

    def snapshot(self):
        return Snapshot(self._variables())

    @contextlib.contextmanager
    def shown(self, snapshot):
        """A scope in which functions that are traced take the weights from there."""
        before = dict(vars(self.now))
        if snapshot is not None:
            self.now.scope = functools.partial(_scope, snapshot)
        try:
            yield
        finally:
            vars(self.now).clear()
            vars(self.now).update(before)

    def _variables(self):
        found, total = [], 0
        for model in self._models:
            weights = [v for v in model.variables if v.dtype == "float32"]
            size = sum(4 * math.prod(v.shape) for v in weights)
            if size <= MAX_BYTES and _normalises(model):
                total += size
                found += weights
        return found if total <= MAX_BYTES_TOGETHER else []


class WhileConstant:
    """A compiled function that calls a teacher, whose weights are constants of it.

    Once a weight is found to differ, the function is made anew and reads variables.

    Args:
        weights: `ConstantWeights` of the teacher.
        make: Function without arguments that gives the function, not traced yet.
    """

    def __init__(self, weights, make):
        self._weights = weights
        self._make = make
        self._function = make()
        self._snapshot = weights.snapshot()

    def __call__(self, *args):
        if self._snapshot is not None and not self._snapshot.is_current():
            self._snapshot = None
            self._function = self._make()
        with self._weights.shown(self._snapshot):
            return self._function(*args)


class Snapshot:
    """The values of variables when a trace first asked for them."""

    def __init__(self, variables):
        self._variables = variables
        self._values = None
        self._compare = tf.function(self._all_equal, autograph=False)

    def arrays(self):
        """`{id of a variable: array}`."""
        if self._values is None:
            with tf.init_scope():
                self._values = self._present()
        sizes = [math.prod(v.shape) for v in self._variables]
        parts = np.split(self._values.numpy(), np.cumsum(sizes)[:-1])
        pairs = zip(self._variables, parts, strict=True)
        return {id(v): part.reshape(v.shape) for v, part in pairs}

    def is_current(self):
        """Whether the variables are what they were; True before anyone asked."""
        return self._values is None or bool(self._compare())

    def _all_equal(self):
        return tf.reduce_all(self._present() == self._values)

    def _present(self):
        return tf.concat([tf.reshape(v.value, [-1]) for v in self._variables], axis=0)


class _ConstantScope(keras.StatelessScope):
    """Shows variables as constants of the graph in which it is made, of no other.

    A layer may have a `tf.function` of its own, which outlives the scope and so must
    read its variables.
    """

    def __init__(self, states, initialize_variables, arrays):
        super().__init__(states, initialize_variables=initialize_variables)
        self._arrays = arrays
        self._constants = {}
        self._graph = tf.compat.v1.get_default_graph()

    def get_current_value(self, variable):
        value = super().get_current_value(variable)
        if value is not None or tf.compat.v1.get_default_graph() is not self._graph:
            return value
        key = id(variable)
        if key not in self._constants and key in self._arrays:
            self._constants[key] = tf.constant(self._arrays[key])
        return self._constants.get(key)


def _scope(snapshot, states, initialize_variables):
    if tf.executing_eagerly() or tf.distribute.has_strategy():
        return keras.StatelessScope(states, initialize_variables=initialize_variables)
    return _ConstantScope(states, initialize_variables, snapshot.arrays())


def _normalises(model):
    kind = keras.layers.BatchNormalization
    return any(isinstance(layer, kind) for layer in model._flatten_layers())
