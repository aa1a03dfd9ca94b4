"""Views of examples: augmentation as a pure function of (seed, index, view)."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from keras_kd._common import checks
from keras_kd.data._seeds import check_seed, stateless_seed
from keras_kd.data.ops.base import size_of, to_float
from keras_kd.data.ops.random_apply import check_ops
from keras_kd.data.policies import POLICIES

DTYPES = (tf.uint8, tf.float32)
SLACK = 1e-4  # of float pixels beyond [0, 1]: what a resize may leave


@keras.saving.register_keras_serializable(package="keras_kd")
@dataclasses.dataclass(frozen=True)
class AugmentationPolicy:
    """Ops that are applied to an image one after the other.

    The view of example i at view number v under seed s is a pure function of
    (s, i, v): bit-identical eagerly and inside tf.data, alone and in a batch, in any
    order and on any number of parallel calls. Each op draws from a stream of its own,
    named by the op and its place (`"random_crop/0"`).

    Args:
        ops: List of ops of `keras_kd.data.ops`. An empty one scales pixels only.
        name: Defaults to `"policy"`.

    Example:

    >>> ops = keras_kd.data.ops
    >>> policy = keras_kd.data.AugmentationPolicy(
    ...     [ops.RandomCrop(padding=4), ops.RandomHorizontalFlip()], name="mine"
    ... )
    >>> image = np.random.randint(0, 256, (32, 32, 3), "uint8")
    >>> view = policy(image, seed=0, index=7, view=1)
    >>> view.dtype.name, bool(np.all(view == policy(image, seed=0, index=7, view=1)))
    ('float32', True)
    """

    ops: tuple
    name: str = "policy"

    def __post_init__(self):
        object.__setattr__(self, "ops", check_ops(self.ops))

    def __call__(self, image, *, seed, index, view):
        """The view of one image, or of each of a batch.

        Args:
            image: `(height, width, channels)`, or the same with a batch axis in front;
                uint8 in [0, 255] or float32 in [0, 1].
            seed: Python integer, 0 <= seed < 2**31: one a run.
            index: Integer, the number of the example in its source; `(batch,)` for a
                batch.
            view: Integer, the number of the pass; `(batch,)` or one for all.

        Returns:
            float32 in [0, 1]; height and width as the last crop or resize gives them.
        """
        seed, image = check_seed(seed), _checked(image)
        index, view = (tf.cast(number, tf.int64) for number in (index, view))
        if image.shape.rank == 3:
            return self._one(image, seed, index, view)
        if not self.ops:
            return to_float(image)
        if index.shape.rank != 1:
            raise ValueError(
                "A batch of images needs the number of each example. Received: index "
                f"of shape {index.shape} for images of shape {image.shape}."
            )
        views = tf.broadcast_to(view, tf.shape(index))
        return tf.map_fn(
            lambda example: self._one(example[0], seed, *example[1:]),
            (image, index, views),
            fn_output_signature=tf.float32,
        )

    def draw(self, *, seed, index, view, size=None):
        """The random parameters of a view: `{"random_crop/0": {...}, ...}`.

        `size` is the (height, width) of the image, for ops that need it; what an op
        before them changes is not known here.
        """
        return {
            stream: op.draw(stateless_seed(check_seed(seed), stream, index, view), size)
            for stream, op in self._streams()
        }

    def get_config(self):
        ops = [keras.saving.serialize_keras_object(op) for op in self.ops]
        return {"ops": ops, "name": self.name}

    @classmethod
    def from_config(cls, config):
        ops = [keras.saving.deserialize_keras_object(op) for op in config["ops"]]
        return cls(ops=ops, name=config["name"])

    def _streams(self):
        return [(f"{op.name}/{i}", op) for i, op in enumerate(self.ops)]

    def _one(self, image, seed, index, view):
        for stream, op in self._streams():
            if op.needs_float:  # as late as can be: bytes are quicker to move
                image = to_float(image)
            drawn = op.draw(stateless_seed(seed, stream, index, view), size_of(image))
            image = op.transform(image, **drawn)
        return to_float(image)


def policy(name, **settings):
    """A policy of the papers by name.

    | name | ops, in order |
    |---|---|
    | `none` | pixels scaled to [0, 1] |
    | `baseline` | crop after 4 black pixels of padding, horizontal flip |
    | `rotation` | up to 20 degrees, then baseline |
    | `vertical_flip` | then baseline |
    | `color_jitter` | 0.2 of brightness, contrast, saturation, hue; then baseline |
    | `combined` | rotation, vertical flip, jitter, then baseline |
    | `weak` | resized crop to 224, horizontal flip, rotation up to 15 degrees |
    | `strong` | resized crop to 224, horizontal flip, AutoAugment, Cutout |

    The first six are those of Stanton et al. 2021 (appendix A.1), the last two those
    of Guo et al. 2024 for CIFAR.

    Args:
        name: One of the names above.
        **settings: `padding=4` for the six; `degrees=20.0` for rotation and combined;
            `size=224` for weak and strong; also `degrees=15.0` for weak, `length=16`
            (of the hole) for strong.

    Returns:
        An `AugmentationPolicy` of that name.

    Example:

    >>> [op.name for op in keras_kd.data.policy("baseline").ops]
    ['random_crop', 'random_horizontal_flip']
    """
    checks.check_choice("name", name, POLICIES)
    try:
        ops = POLICIES[name](**settings)
    except TypeError as error:
        known = list(POLICIES[name].__kwdefaults__ or {})
        if set(settings) <= set(known):
            raise
        raise TypeError(
            f"The policy {name!r} has the settings {known}. Received: "
            f"{sorted(settings)}."
        ) from error
    return AugmentationPolicy(ops, name=name)


def augment(policy, *, seed=0, num_parallel_calls=tf.data.AUTOTUNE):
    """A transformation of a dataset that gives each example its view.

    Args:
        policy: An `AugmentationPolicy`, or the name of one (see `policy`).
        seed: Python integer, 0 <= seed < 2**31. Defaults to 0.
        num_parallel_calls: As in `tf.data.Dataset.map`; changes no pixel.

    Returns:
        A function of a dataset, for `dataset.apply`. The dataset holds dicts with
        "image" (uint8 in [0, 255] or float32 in [0, 1]), "index" and "view", batched
        or not; all but the image, now float32 in [0, 1], stays as it is.

    Example:

    >>> import tensorflow as tf
    >>> examples = tf.data.Dataset.from_tensor_slices(
    ...     {
    ...         "index": np.arange(4),
    ...         "view": np.zeros(4, "int64"),
    ...         "image": np.random.randint(0, 256, (4, 8, 8, 3), "uint8"),
    ...         "label": [0, 1, 0, 1],
    ...     }
    ... )
    >>> views = examples.apply(keras_kd.data.augment("baseline", seed=1)).batch(4)
    >>> next(iter(views))["image"].shape
    TensorShape([4, 8, 8, 3])
    """
    if isinstance(policy, str):
        policy = _named(policy)
    if not isinstance(policy, AugmentationPolicy):
        raise TypeError(
            "`policy` must be a `keras_kd.data.AugmentationPolicy` or a name. "
            f"Received: {policy!r} of type {type(policy).__name__}."
        )
    seed = check_seed(seed)

    @tf.autograph.experimental.do_not_convert
    def with_view(example):
        place = {"index": example["index"], "view": example["view"]}
        return {**example, "image": policy(example["image"], seed=seed, **place)}

    def transform(dataset):
        _check_examples(dataset, "augment", ("image", "index", "view"))
        return dataset.map(with_view, num_parallel_calls=num_parallel_calls)

    return transform


def normalize(scheme="unit_cube", *, mean=None, std=None):
    """A transformation of a dataset that normalises its images.

    Comes after `augment`, so that what padding and rotation fill in is black.

    Args:
        scheme: `"unit_cube"` for 2 x - 1, in [-1, 1], which Stanton et al. 2021 use
            (papers with GAN samples need it). `"z_score"` for (x - mean) / std.
        mean: With z_score: mean of the pixels in [0, 1], one number a channel.
        std: With z_score: standard deviation likewise.

    Returns:
        A function of a dataset of dicts with "image", for `dataset.apply`. Images may
        be uint8 in [0, 255] or float32 in [0, 1], batched or not.

    Example:

    >>> import tensorflow as tf
    >>> black_and_white = np.array([[[[0], [255]]]], "uint8")
    >>> images = tf.data.Dataset.from_tensor_slices({"image": black_and_white})
    >>> (example,) = images.apply(keras_kd.data.normalize("unit_cube"))
    >>> example["image"].numpy().ravel().tolist()
    [-1.0, 1.0]
    """
    checks.check_choice("scheme", scheme, ("unit_cube", "z_score"))
    middle, factor = _statistics(scheme, mean, std)

    @tf.autograph.experimental.do_not_convert
    def normalized(example):
        image = to_float(_checked(example["image"]))
        if image.shape[-1] != len(middle) and len(middle) > 1:
            raise ValueError(
                f"`mean` and `std` need one number a channel. Received: {len(middle)} "
                f"for images of shape {tuple(image.shape)}."
            )
        return {**example, "image": (image - middle) * factor}

    def transform(dataset):
        _check_examples(dataset, "normalize", ("image",))
        return dataset.map(normalized, num_parallel_calls=tf.data.AUTOTUNE)

    return transform


_named = policy  # `augment` has an argument of that name


def _statistics(scheme, mean, std):
    """What to subtract and what to multiply with, float32 `(channels,)` or `(1,)`."""
    if scheme == "unit_cube":
        if mean is not None or std is not None:
            raise ValueError(
                "`mean` and `std` belong to the scheme 'z_score'. Received: "
                f"scheme='unit_cube', mean={mean!r}, std={std!r}."
            )
        return np.array([0.5], "float32"), np.array([2.0], "float32")
    if mean is None or std is None:
        raise ValueError(
            "The scheme 'z_score' needs `mean` and `std`, as a source has them: "
            "`normalize('z_score', mean=source.mean, std=source.std)`. Received: "
            f"mean={mean!r}, std={std!r}."
        )
    middle, spread = (np.atleast_1d(np.asarray(n, "float32")) for n in (mean, std))
    if middle.shape != spread.shape or middle.ndim != 1 or not np.all(spread > 0):
        raise ValueError(
            "`mean` and `std` must have one number a channel each, and `std` positive "
            f"ones. Received: mean={mean!r}, std={std!r}."
        )
    return middle, 1 / spread


def _checked(image):
    """The image as a tensor, of a shape, dtype and range that ops take."""
    image = tf.convert_to_tensor(image)
    if image.dtype not in DTYPES:
        raise TypeError(
            "Images must be uint8 in [0, 255] or float32 in [0, 1]. Received: dtype "
            f"{image.dtype.name}. Cast them, and scale them where they are floats."
        )
    if image.shape.rank not in (3, 4) or image.shape[-1] is None:
        raise ValueError(
            "Images must have the shape (height, width, channels), with or without a "
            f"batch axis in front. Received: {image.shape}."
        )
    if image.dtype == tf.uint8:
        return image
    inside = (tf.reduce_min(image) >= -SLACK) & (tf.reduce_max(image) <= 1 + SLACK)
    message = (
        "Float images must lie in [0, 1]. Received pixels outside of it. Divide by "
        "255 or pass uint8; normalise after augmentation, by `keras_kd.data.normalize`."
    )
    if tf.executing_eagerly():
        if not inside:
            low, high = np.min(image), np.max(image)
            raise ValueError(f"{message} Received: {low:g} to {high:g}.")
        return image
    with tf.control_dependencies([tf.raw_ops.Assert(condition=inside, data=[message])]):
        return tf.identity(image)


def _check_examples(dataset, name, keys):
    """Raise unless the dataset holds dicts with these keys."""
    spec = dataset.element_spec
    missing = [k for k in keys if not isinstance(spec, dict) or k not in spec]
    if missing:
        shown = sorted(spec) if isinstance(spec, dict) else spec
        raise ValueError(
            f"`{name}` needs a dataset of dicts with {list(keys)}. Missing: {missing}. "
            f"Received: {shown}. `source.examples(...)` gives them; {name} before "
            "the step that turns them into inputs and labels."
        )
