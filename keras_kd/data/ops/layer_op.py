"""Keras preprocessing layers as ops, whose random numbers come from a given seed."""

import contextlib
import dataclasses
import json

import keras
import numpy as np
import tensorflow as tf

from keras_kd.data.ops.base import ImageOp, clip

TRIALS = 4  # seeds that are tried on a new layer


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True, eq=False)
class LayerOp(ImageOp):
    """A Keras (or keras-cv) image layer as an op.

    While the layer is called, its seed generators count on from the seed of the view
    and their own state is left alone. A layer that draws in another way is refused: it
    would give other pixels in every run. Images are scaled to the `value_range` of the
    layer and back. In a pipeline a view is the same in any order and on any number of
    parallel calls; outside of one, up to rounding in the layer. For what
    `keras_kd.data.ops` offers too, the op is faster.

    Args:
        layer: A preprocessing layer for images.

    Example:

    >>> layer = keras.layers.RandomTranslation(0.2, 0.2)
    >>> op = keras_kd.data.ops.LayerOp(layer)
    >>> image = np.random.rand(8, 8, 3).astype("float32")
    >>> bool(np.all(op(image, seed=[1, 2]) == op(image, seed=[1, 2])))
    True
    """

    layer: keras.layers.Layer

    def __post_init__(self):
        if not isinstance(self.layer, keras.layers.Layer):
            raise TypeError(
                "`layer` must be a keras.layers.Layer. Received: "
                f"{self.layer!r} of type {type(self.layer).__name__}."
            )
        if type(self.layer).__name__ in ("MixUp", "CutMix", "Mosaic"):
            raise ValueError(
                f"{type(self.layer).__name__} mixes the images of a batch, an op has "
                "one image. Use `keras_kd.data.mixup`, `classic_mixup` or `cutmix`."
            )
        _check_reproducible(self)

    @property
    def name(self):
        return f"layer_op_{type(self.layer).__name__.lower()}"

    def draw(self, seed, size=None):
        return {"seed": seed}

    def transform(self, image, seed):
        low, high = getattr(self.layer, "value_range", (0.0, 1.0))
        scaled = image * (high - low) + low
        with _seeded(self.layer, seed):
            # As a batch of one: some layers draw once for a whole batch.
            view = self.layer(scaled[tf.newaxis], training=True)[0]
        return clip((tf.cast(view, tf.float32) - low) / (high - low))

    def __eq__(self, other):
        return type(other) is LayerOp and self._as_text() == other._as_text()

    def __hash__(self):
        return hash(self.name)

    def _as_text(self):  # a shape is a tuple here and a list in a loaded layer
        return json.dumps(self.get_config(), sort_keys=True)

    def get_config(self):
        return {"layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["layer"]))


@contextlib.contextmanager
def _seeded(layer, seed):
    """Let everything random in the layer count on from `seed`."""
    count = iter(range(2**31))

    def next_seed(ordered=True):
        del ordered
        return tf.random.fold_in(seed, tf.constant(next(count), tf.int64))

    hidden = []  # (object, attribute, what stood there or None)
    try:
        for part in layer._flatten_layers():
            for name, value in list(vars(part).items()):
                if isinstance(value, keras.random.SeedGenerator):
                    hidden.append((value, "next", vars(value).get("next")))
                    vars(value)["next"] = next_seed  # hides the method of its class
                elif type(value).__name__ in STAND_INS:  # of keras-cv
                    hidden.append((part, name, value))
                    stand_in = STAND_INS[type(value).__name__]
                    vars(part)[name] = stand_in(value, next_seed)
        yield
    finally:
        for owner, name, value in reversed(hidden):
            if value is None:
                del vars(owner)[name]
            else:
                vars(owner)[name] = value


class _Generator:
    """In the place of the `tf.random.Generator` that keras-cv layers share."""

    def __init__(self, generator, next_seed):
        del generator
        self._next_seed = next_seed

    def uniform(self, shape, minval=0, maxval=None, dtype=tf.float32, name=None):
        seed = self._next_seed()
        return tf.random.stateless_uniform(shape, seed, minval, maxval, dtype, name)

    def normal(self, shape, mean=0.0, stddev=1.0, dtype=tf.float32, name=None):
        seed = self._next_seed()
        return tf.random.stateless_normal(shape, seed, mean, stddev, dtype, name)


class _UniformFactor:
    """In the place of keras-cv's sampler, whose `tf.random.uniform` has a state."""

    def __init__(self, sampler, next_seed):
        self._bounds, self._next_seed = (sampler.lower, sampler.upper), next_seed

    def __call__(self, shape=(), dtype="float32"):
        return tf.random.stateless_uniform(
            shape, self._next_seed(), *self._bounds, dtype
        )


STAND_INS = {"Generator": _Generator, "UniformFactorSampler": _UniformFactor}


def _check_reproducible(op):
    """Refuse a layer whose view is no function of the seed."""
    image = np.random.default_rng(0).uniform(size=(32, 32, 3)).astype("float32")
    seeds = tf.constant([[i, i] for i in range(TRIALS)], tf.int64)
    op(image, seeds[0])  # builds the layer, which may draw, outside of any graph
    views = [op(image, seeds[0])]
    for _ in range(2):
        # Traced anew each time: that would freeze what Python draws on the way.
        traced = tf.function(lambda seed: op(image, seed), autograph=False)
        views += [traced(seed) for seed in seeds]
    same = np.array_equal(views[1 : TRIALS + 1], views[TRIALS + 1 :])
    if not same or not np.allclose(views[0], views[1], atol=1e-5):
        raise ValueError(
            f"{type(op.layer).__name__} draws random numbers that no seed decides: the "
            "same seed gave two views. Use an op of `keras_kd.data.ops` (ColorJitter, "
            "RandAugment, ...) in its place."
        )
