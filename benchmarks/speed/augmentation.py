"""Augmentation policies against the same ops written by hand in tf.image.

Both sides map over single 32x32 uint8 images in memory, seed every op from (index,
view) with stateless numbers, and give float32 batches. The jitter of the papers is
torchvision's, in an order drawn for each view: "tf.image" writes just that by hand.
"tf.image, its own jitter" is another job: additive brightness, contrast about the mean
of each channel, saturation in HSV, all in one fixed order.

    python benchmarks/speed/augmentation.py            # about 3 minutes on 2 cores
"""

import math

import numpy as np
import tensorflow as tf
from _interleaved import arguments, compare, record

from keras_kd import data

IMAGES = 4096  # a turn, for each of `--steps`
SIDE, PADDING, DEGREES = 32, 4, 20.0


def examples(count):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, SIDE, SIDE, 3), dtype="uint8")
    place = {"index": np.arange(count), "view": np.zeros(count, "int64")}
    return tf.data.Dataset.from_tensor_slices({**place, "image": images}).cache()


def baseline_by_hand(image, seed):
    """Pad, crop, flip."""
    image = tf.pad(image, [[PADDING, PADDING], [PADDING, PADDING], [0, 0]])
    image = tf.image.stateless_random_crop(image, [SIDE, SIDE, 3], seed)
    return tf.image.stateless_random_flip_left_right(image, seed + 1)


def rotate_by_hand(image, seed):
    """tf.image has no rotation by any angle: the kernel that Keras uses."""
    angle = tf.random.stateless_uniform([], seed, -DEGREES, DEGREES) * math.pi / 180
    cos, sin, middle = tf.cos(angle), tf.sin(angle), (SIDE - 1) / 2
    to_x, to_y = middle * (1 - cos + sin), middle * (1 - sin - cos)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=[tf.stack([cos, -sin, to_x, sin, cos, to_y, 0.0, 0.0])],
        output_shape=[SIDE, SIDE],
        fill_value=0.0,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )[0]


def jitter_by_hand(image, seed):
    """torchvision's four adjustments, in an order drawn for each view."""
    low, high = [0.8, 0.8, 0.8, -0.2], [1.2, 1.2, 1.2, 0.2]
    amounts = tf.unstack(tf.random.stateless_uniform([4], seed + 4, low, high))
    order = tf.random.experimental.stateless_shuffle(tf.range(4), seed + 5)

    def blend(image, other, amount):
        return tf.clip_by_value(image * amount + other * (1 - amount), 0.0, 1.0)

    def brightness(image):
        return tf.clip_by_value(image * amounts[0], 0.0, 1.0)

    def contrast(image):
        mean = tf.reduce_mean(tf.image.rgb_to_grayscale(image))
        return blend(image, mean, amounts[1])

    def saturation(image):
        return blend(image, tf.image.rgb_to_grayscale(image), amounts[2])

    def hue(image):
        return tf.image.adjust_hue(image, amounts[3])

    for place in range(4):
        adjustments = [
            lambda adjust=adjust, image=image: adjust(image)
            for adjust in (brightness, contrast, saturation, hue)
        ]
        image = tf.switch_case(order[place], adjustments)
    return tf.ensure_shape(image, [SIDE, SIDE, 3])


def own_jitter_by_hand(image, seed):
    """What tf.image has of the kind."""
    image = tf.image.stateless_random_brightness(image, 0.2, seed + 4)
    image = tf.image.stateless_random_contrast(image, 0.8, 1.2, seed + 5)
    image = tf.image.stateless_random_saturation(image, 0.8, 1.2, seed + 6)
    image = tf.image.stateless_random_hue(image, 0.2, seed + 7)
    return tf.clip_by_value(image, 0.0, 1.0)


def combined_by_hand(jitter):
    """Rotate, flip upside down, jitter, crop, flip."""

    def augmented(image, seed):
        image = rotate_by_hand(image, seed + 2)
        image = tf.image.stateless_random_flip_up_down(image, seed + 3)
        image = tf.image.convert_image_dtype(image, tf.float32)
        return baseline_by_hand(jitter(image, seed), seed)

    return augmented


def by_hand(augmented):
    @tf.autograph.experimental.do_not_convert
    def view(example):
        seed = tf.stack([8 * example["index"], example["view"]])
        image = augmented(example["image"], seed)
        return {**example, "image": tf.image.convert_image_dtype(image, tf.float32)}

    return lambda dataset: dataset.map(view, num_parallel_calls=tf.data.AUTOTUNE)


def one_pass(dataset, transform, batch_size):
    batches = dataset.apply(transform).batch(batch_size).prefetch(tf.data.AUTOTUNE)

    def run():
        for _ in batches:
            pass

    return run


def main():
    args = arguments(__doc__)
    count = IMAGES * args.steps if not args.quick else 64
    dataset = examples(count)
    by_hands = {
        "baseline": {"tf.image": baseline_by_hand},
        "combined": {
            "tf.image": combined_by_hand(jitter_by_hand),
            "tf.image, its own jitter": combined_by_hand(own_jitter_by_hand),
        },
    }
    rows = []
    for name, hands in by_hands.items():
        transforms = {key: by_hand(hand) for key, hand in hands.items()}
        transforms["keras_kd"] = data.augment(name)
        rows += compare(
            f"augmentation, {name}",
            {
                key: one_pass(dataset, transform, args.batch_size)
                for key, transform in transforms.items()
            },
            "tf.image",
            args,
            images=count,
            batch_size=args.batch_size,
        )
    record("augmentation", rows, args)


if __name__ == "__main__":
    main()
