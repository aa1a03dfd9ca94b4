"""Every loss function on fixed inputs, on whatever backend Keras runs.

As a script it writes the values to a file: `python loss_functions.py values.npz`.
"""

import inspect
import sys

import numpy as np

from keras_kd import losses

OF_MAPS = {"attention_transfer", "squared_attention_transfer"}
DRAWN = {"sampled_label"}  # each backend draws other numbers
NAMES = [
    name
    for name in losses.__all__
    if inspect.isfunction(getattr(losses, name)) and name not in DRAWN
]


def value_of(name):
    function = getattr(losses, name)
    shape = (12, 4, 3, 5) if "attention" in name or name in OF_MAPS else (12, 5)
    sides = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    if "fused_linear" in name:  # the sides are hidden states here: both heads too
        kernels = np.random.default_rng(1).normal(size=(2, 5, 7)).astype("float32")
        return function(*sides, *kernels, chunk_size=5)
    parameters = inspect.signature(function).parameters.values()
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    arguments = list(sides[: min(len(positional), 2)])
    if any(p.name == "labels" for p in positional):
        arguments.append(np.arange(12) % 5 - (np.arange(12) % 6 == 0))
    return function(*arguments)


def values():
    import keras

    return {name: keras.ops.convert_to_numpy(value_of(name)) for name in NAMES}


if __name__ == "__main__":
    np.savez(sys.argv[1], **values())
