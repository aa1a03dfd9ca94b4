"""A number of the user's that a compiled step reads as a variable."""

import keras
from keras import ops


class Hyperparameter:
    """A float that can change between or within steps without a new trace.

    It is no `KerasSaveable` and no tracked attribute: checkpoints of weights do not
    hold it, configurations do.
    """

    def __init__(self, value, name):
        self._number = float(value)
        self._variable = keras.Variable(
            self._number, dtype="float32", trainable=False, name=name
        )

    @property
    def tensor(self):
        """Its value where the graph reads it."""
        return ops.convert_to_tensor(self._variable)

    def assign(self, value):
        self._number = float(value)
        self._variable.assign(self._number)

    def __float__(self):
        """The number as given, unless the variable itself was assigned since."""
        current = ops.convert_to_numpy(self._variable)
        return (
            self._number
            if current.dtype.type(self._number) == current
            else (float(current))
        )
