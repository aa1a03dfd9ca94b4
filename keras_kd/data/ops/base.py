"""What every augmentation op is: a draw of parameters, and a pure function of them."""

import dataclasses
import re
from typing import ClassVar

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class ImageOp:
    """Base class of an augmentation op, to write your own.

    A subclass is a frozen dataclass of its settings. `draw(seed, size)` gives the
    random parameters, and `transform(image, **parameters)` is a pure function of one
    float32 image `(height, width, channels)` in [0, 1] that gives another. An op that
    draws nothing leaves `draw` out. Do not multiply or divide by several constants in
    a row: TensorFlow merges them in a graph and not outside, with other last bits.

    Example:

    >>> import dataclasses
    >>> @keras.saving.register_keras_serializable(package="example")
    ... @dataclasses.dataclass(frozen=True)
    ... class Darken(keras_kd.data.ops.ImageOp):
    ...     by: float = 0.5
    ...
    ...     def transform(self, image):
    ...         return image * (1 - self.by)
    >>> policy = keras_kd.data.AugmentationPolicy([Darken(by=0.75)])
    >>> view = policy(np.ones((2, 2, 1), "float32"), seed=0, index=0, view=0)
    >>> float(view[0, 0, 0])
    0.25
    """

    # An op that only moves pixels also takes uint8, a quarter of the memory to move.
    needs_float: ClassVar[bool] = True

    @property
    def name(self):
        """`random_crop` for `RandomCrop`; with the op's place it names its stream."""
        return re.sub("(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()

    def draw(self, seed, size=None):
        """The random parameters of one view, a dict of tensors.

        Args:
            seed: Integer tensor `(2,)`; the same seed gives the same parameters.
            size: `(height, width)` of the image, for ops whose range depends on it.
        """
        del seed, size
        return {}

    def transform(self, image, **parameters):
        """The image under these parameters; nothing random happens here."""
        raise NotImplementedError(
            f"{type(self).__name__} must implement `transform(image, **parameters)`."
        )

    def __call__(self, image, seed):
        """The view of one image `(height, width, channels)` under a seed `(2,)`."""
        image, seed = tf.convert_to_tensor(image), tf.cast(seed, tf.int64)
        return self.transform(image, **self.draw(seed, size_of(image)))

    def get_config(self):
        fields = dataclasses.fields(self)
        return {field.name: getattr(self, field.name) for field in fields}

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def _set(self, name, value):
        """Store a checked setting: the class is frozen for everybody else."""
        object.__setattr__(self, name, value)


def size_of(image):
    """`(height, width)`: integers where they are known, else tensors."""
    known, shape = image.shape[-3:-1], tf.shape(image)
    return tuple(shape[i - 3] if n is None else n for i, n in enumerate(known))


def uniform(seed, count=None):
    """`(count,)` float32 numbers in [0, 1); one number when `count` is None.

    Those of `tf.random.stateless_uniform(..., alg="philox")`, in one kernel instead of
    four: every kernel takes about a microsecond.
    """
    shape = [] if count is None else [count]
    return tf.raw_ops.StatelessRandomUniform(shape=shape, seed=seed)


def whole(uniform_number, count):
    """A whole number of 0 .. count - 1 from one in [0, 1)."""
    return tf.cast(uniform_number * tf.cast(count, tf.float32), tf.int32)


def clip(image):
    """Pixels held to [0, 1], in one kernel."""
    return tf.raw_ops.ClipByValue(t=image, clip_value_min=0.0, clip_value_max=1.0)


def with_shape(image, shape):
    """The image, whose static shape is known now; costs no kernel in a graph."""
    image.set_shape(shape)
    return image


def to_float(image):
    """uint8 in [0, 255] as float32 in [0, 1]; float32 as it is."""
    if image.dtype == tf.uint8:
        # Not `/ 255`: some graph optimisers make that a product, with other last bits.
        # Others merge constant factors: not through an op that checks the shape.
        scaled = tf.cast(image, tf.float32) * (1 / 255)
        return tf.ensure_shape(scaled, image.shape)
    return image
