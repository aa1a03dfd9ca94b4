"""Applying ops to a share of the views only."""

import dataclasses

import keras
import tensorflow as tf

from keras_kd._common import checks
from keras_kd.data.ops._branches import choose
from keras_kd.data.ops.base import ImageOp, uniform


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class RandomApply(ImageOp):
    """Apply all of some ops, in order, with probability `p`; else none of them.

    Args:
        ops: An op or a list of ops that keep the shape of the image.
        p: Probability in [0, 1]. Defaults to 0.5.

    Example:

    >>> ops = keras_kd.data.ops
    >>> blur = ops.RandomApply(ops.GaussianBlur(), p=0.2)
    >>> blur(np.ones((4, 4, 3), "float32"), seed=[0, 0]).shape
    TensorShape([4, 4, 3])
    """

    ops: tuple
    p: float = 0.5

    def __post_init__(self):
        self._set("ops", check_ops(self.ops))
        self._set("p", checks.check_number("p", self.p, at_least=0, at_most=1))

    @property
    def needs_float(self):
        return any(op.needs_float for op in self.ops)

    def draw(self, seed, size=None):
        # Each op of the group draws from a stream of its own, below that of the group.
        places = tf.unstack(tf.range(len(self.ops), dtype=tf.int64))
        seeds = tf.stack([tf.random.fold_in(seed, place) for place in places])
        return {"apply": uniform(seed) < self.p, "seeds": seeds}

    def transform(self, image, apply, seeds):
        def none(image, seeds):
            del seeds
            return image

        def all_of_them(image, seeds):
            for i, op in enumerate(self.ops):
                image = op(image, seeds[i])
            return image

        return choose(tf.cast(apply, tf.int32), [none, all_of_them], image, seeds)

    def get_config(self):
        ops = [keras.saving.serialize_keras_object(op) for op in self.ops]
        return {"ops": ops, "p": self.p}

    @classmethod
    def from_config(cls, config):
        ops = [keras.saving.deserialize_keras_object(op) for op in config["ops"]]
        return cls(ops=ops, p=config["p"])


def check_ops(ops):
    """A tuple of ops from one op or a list of them, or an error."""
    found = tuple(ops) if isinstance(ops, (list, tuple)) else (ops,)
    for op in found:
        if isinstance(op, keras.layers.Layer):
            raise TypeError(
                f"Received the layer {op.name!r} of type {type(op).__name__} as an op. "
                "Wrap it: `keras_kd.data.ops.LayerOp(layer)`."
            )
        if not isinstance(op, ImageOp):
            raise TypeError(
                "`ops` must be instances of `keras_kd.data.ops.ImageOp`. Received: "
                f"{op!r} of type {type(op).__name__}."
            )
    return found
