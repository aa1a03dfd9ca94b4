"""Views are a pure function of (seed, index, view), whatever the pipeline."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from image_views import examples, noise, unit

from keras_kd import data
from keras_kd.data import ops
from keras_kd.data._seeds import stateless_seed

COUNT = 16
IMAGES = noise(COUNT, 10, 12, 3)

POLICIES = {
    **{name: data.policy(name) for name in ("none", "baseline", "combined")},
    "weak": data.policy("weak", size=14),
    "strong": data.policy("strong", size=14, length=6),
    "others": data.AugmentationPolicy(
        [
            ops.Resize(11, interpolation="bicubic"),
            ops.RandomPerspective(),
            ops.RandomGrayscale(0.5),
            ops.RandomApply([ops.GaussianBlur(5), ops.RandomVerticalFlip()], p=0.5),
            ops.RandomCrop(9, padding=1),
        ]
    ),
    "rand_augment": data.AugmentationPolicy([ops.RandAugment(3, 15)]),
}
AT_ONCE = ("none", "baseline", "combined", "others")  # the rest takes longer to trace
every_policy = pytest.mark.parametrize(
    "policy",
    [
        pytest.param(p, id=name, marks=() if name in AT_ONCE else pytest.mark.slow)
        for name, p in POLICIES.items()
    ],
)


@dataclasses.dataclass(frozen=True)
class Darken(ops.ImageOp):
    """A user's op, whose constant factor must not melt into that of uint8 images."""

    def transform(self, image):
        return image * 0.3


def one_by_one(policy, images=IMAGES, seed=5, view=2):
    views = [
        policy(image, seed=seed, index=i, view=view) for i, image in enumerate(images)
    ]
    return np.stack(views)


def in_order(dataset):
    """Images of all examples, sorted by index, and the examples."""
    found = sorted(dataset.as_numpy_iterator(), key=lambda e: e["index"])
    return np.stack([e["image"] for e in found]), found


@every_policy
def test_pipeline_equals_eager_calls_over_shuffles_and_parallel_calls(policy):
    expected = one_by_one(policy)
    for parallel, shuffle in ((None, False), (tf.data.AUTOTUNE, True)):
        dataset = examples(IMAGES, view=2)
        dataset = dataset.shuffle(COUNT) if shuffle else dataset
        augmented = dataset.apply(
            data.augment(policy, seed=5, num_parallel_calls=parallel)
        )
        images, found = in_order(augmented)
        np.testing.assert_array_equal(images, expected)
        assert [e["label"] for e in found] == [i % 10 for i in range(COUNT)]
        assert {e["view"] for e in found} == {2}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["combined", "strong", "others", "rand_augment"])
def test_a_function_of_tensorflow_gives_the_views_of_eager_calls(name):
    policy = POLICIES[name]  # with the ops of all others, in a graph without a pipeline
    traced = tf.function(lambda image, i: policy(image, seed=5, index=i, view=2))
    views = [traced(image, tf.constant(i)) for i, image in enumerate(IMAGES)]
    np.testing.assert_array_equal(views, one_by_one(policy))


@every_policy
def test_grey_images_have_views_too(policy):
    dataset = examples(IMAGES[..., :1], view=2).apply(data.augment(policy, seed=5))
    images, _ = in_order(dataset)
    np.testing.assert_array_equal(images, one_by_one(policy, IMAGES[..., :1]))
    assert images.shape[-1] == 1


@every_policy
def test_batches_equal_single_images_and_keep_their_static_shape(policy):
    expected = one_by_one(policy)
    batched = policy(IMAGES, seed=5, index=np.arange(COUNT), view=2)
    np.testing.assert_array_equal(batched, expected)
    dataset = examples(IMAGES, view=2).batch(5).apply(data.augment(policy, seed=5))
    assert dataset.element_spec["image"].shape[1:] == expected.shape[1:]
    images = np.concatenate([batch["image"] for batch in dataset])
    np.testing.assert_array_equal(images, expected)


@every_policy
def test_float_images_give_the_views_of_uint8_ones(policy):
    floats = IMAGES.astype("float32") * np.float32(1 / 255)
    np.testing.assert_array_equal(one_by_one(policy, floats), one_by_one(policy))


@every_policy
def test_views_are_float32_from_0_to_1(policy):
    views = one_by_one(policy, np.where(IMAGES > 127, 255, 0).astype("uint8"))
    assert views.dtype == np.float32
    assert views.min() >= 0
    assert views.max() <= 1
    assert np.all(np.isfinite(views))


@every_policy
def test_other_seeds_examples_and_passes_give_other_views(policy):
    if not policy.ops:
        return
    image = IMAGES[0]
    streams = {
        "seed": lambda n: policy(image, seed=n, index=3, view=4),
        "index": lambda n: policy(image, seed=3, index=n, view=4),
        "view": lambda n: policy(image, seed=3, index=4, view=n),
    }
    for name, view in streams.items():
        views = {view(n).numpy().tobytes() for n in range(40)}
        # The baseline has 162 views: 81 crops, each flipped or not. Of 40 draws, about
        # 35 differ. RandAugment often draws an op that changes nothing.
        assert len(views) > 20, name


def test_a_users_own_op_is_bit_identical_too():
    policy = data.AugmentationPolicy([Darken()])
    images, _ = in_order(examples(IMAGES).apply(data.augment(policy)))
    np.testing.assert_array_equal(images, one_by_one(policy, seed=0, view=0))


@pytest.mark.slow
def test_large_images_are_bit_identical_on_any_number_of_threads():
    images = noise(3, 224, 224, 3)
    policy = data.AugmentationPolicy(
        [ops.ColorJitter(), ops.GaussianBlur(5), ops.RandAugment(2, 15)]
    )
    expected = one_by_one(policy, images, seed=0, view=0)
    for threads in (1, 4):
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        options.threading.max_intra_op_parallelism = threads
        dataset = examples(images).apply(data.augment(policy)).with_options(options)
        np.testing.assert_array_equal(in_order(dataset)[0], expected)


def test_a_restart_in_the_middle_gives_the_remaining_views():
    dataset = examples(IMAGES).shuffle(COUNT, seed=3, reshuffle_each_iteration=False)
    full = list(dataset.apply(data.augment("combined")).as_numpy_iterator())
    rest = dataset.skip(7).apply(data.augment("combined", num_parallel_calls=3))
    for ours, theirs in zip(rest.as_numpy_iterator(), full[7:], strict=True):
        np.testing.assert_array_equal(ours["image"], theirs["image"])


def test_no_two_ops_of_a_view_share_a_draw():
    policy = data.AugmentationPolicy([ops.RandomRotation(), ops.RandomRotation()])
    index = np.arange(3000)
    drawn = examples(noise(3000, 1, 1, 1)).map(
        lambda e: policy.draw(seed=0, index=e["index"], view=e["view"])
    )
    drawn = next(iter(drawn.batch(len(index))))
    assert set(drawn) == {"random_rotation/0", "random_rotation/1"}
    angles = np.array([op["degrees"] for op in drawn.values()])
    # |correlation| of independent numbers stays below 4 / sqrt(3000).
    assert abs(np.corrcoef(angles)[0, 1]) < 4 / np.sqrt(3000)


@every_policy
def test_every_op_has_a_stream_of_its_own(policy):
    streams = list(policy.draw(seed=0, index=0, view=0, size=(10, 12)))
    seeds = {tuple(stateless_seed(0, name, 0, 0).numpy()) for name in streams}
    assert len(seeds) == len(policy.ops)


def test_what_is_drawn_is_what_is_applied():
    policy, place = data.policy("rotation"), {"seed": 1, "index": 2, "view": 3}
    image = tf.constant(unit(10, 12, 3))
    for op, drawn in zip(policy.ops, policy.draw(**place).values(), strict=True):
        image = op.transform(image, **drawn)
    np.testing.assert_array_equal(policy(unit(10, 12, 3), **place), image)


@every_policy
def test_config_round_trip_through_json(policy):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(policy)))
    loaded = keras.saving.deserialize_keras_object(config)
    assert loaded == policy
    np.testing.assert_array_equal(one_by_one(loaded), one_by_one(policy))


@pytest.mark.parametrize("batched", [False, True], ids=["single", "batched"])
def test_unit_cube_is_2x_minus_1(batched):
    dataset = examples(IMAGES).batch(4) if batched else examples(IMAGES)
    dataset = dataset.apply(data.normalize("unit_cube"))
    images = [e["image"].reshape(-1, 10, 12, 3) for e in dataset.as_numpy_iterator()]
    expected = IMAGES.astype("float64") / 255 * 2 - 1
    np.testing.assert_allclose(np.concatenate(images), expected, atol=1e-6)


def test_z_score_has_mean_0_and_deviation_1():
    pixels = IMAGES / 255.0
    mean, std = pixels.mean((0, 1, 2)), pixels.std((0, 1, 2))
    dataset = examples(IMAGES).apply(data.normalize("z_score", mean=mean, std=std))
    images = in_order(dataset)[0].astype("float64")
    np.testing.assert_allclose(images.mean((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(images.std((0, 1, 2)), 1, rtol=1e-6)


def test_padding_is_black_after_normalisation():
    white = np.full((COUNT, 8, 8, 1), 255, "uint8")
    views = examples(white).apply(data.augment("baseline"))
    images, _ = in_order(views.apply(data.normalize("unit_cube")))
    assert set(np.unique(images)) == {-1.0, 1.0}


def test_pixels_out_of_range_stop_the_pipeline():
    raw = noise(2, 4, 4, 3).astype("float32")
    dataset = examples(raw).apply(data.augment("baseline"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="must lie in"):
        list(dataset)


def call(image, **place):
    place = {"seed": 0, "index": 0, "view": 0, **place}
    return data.policy("baseline")(image, **place)


MISTAKES = {
    "pixels out of range": (
        lambda: call(noise(4, 4, 3).astype("float32")),
        ValueError,
        r"must lie in \[0, 1\].*Divide by 255.*Received: 4 to 248",
    ),
    "not a number": (
        lambda: call(np.full((4, 4, 3), np.nan, "float32")),
        ValueError,
        "must lie in",
    ),
    "dtype": (
        lambda: call(np.zeros((4, 4, 3), "int32")),
        TypeError,
        "uint8 .* or float32 .* Received: dtype int32",
    ),
    "dtype of a dataset": (
        lambda: examples(np.zeros((2, 4, 4, 3))).apply(data.augment("none")),
        TypeError,
        "Received: dtype float64",
    ),
    "rank": (lambda: call(noise(4, 4)), ValueError, "must have the shape"),
    "one index for a batch": (
        lambda: call(IMAGES),
        ValueError,
        "needs the number of each example",
    ),
    "seed": (lambda: call(IMAGES[0], seed=-1), ValueError, "`seed` must be"),
    "policy name": (
        lambda: data.augment("base"),
        ValueError,
        "Did you mean 'baseline'",
    ),
    "policy type": (
        lambda: data.augment(7),
        TypeError,
        "AugmentationPolicy` or a name",
    ),
    "examples without a view": (
        lambda: tf.data.Dataset.from_tensors({"image": IMAGES[0], "index": 0}).apply(
            data.augment("baseline")
        ),
        ValueError,
        r"Missing: \['view'\].*`source.examples",
    ),
    "pairs": (
        lambda: tf.data.Dataset.from_tensors((IMAGES[0], 0)).apply(data.normalize()),
        ValueError,
        r"needs a dataset of dicts.*Missing: \['image'\]",
    ),
    "colours of four channels": (
        lambda: examples(noise(2, 4, 4, 4)).apply(data.augment("combined")),
        ValueError,
        r"1 \(grey\) or 3",
    ),
    "scheme": (
        lambda: data.normalize("zscore"),
        ValueError,
        "Did you mean 'z_score'",
    ),
    "z_score without numbers": (
        lambda: data.normalize("z_score"),
        ValueError,
        "needs `mean` and `std`.*source.mean",
    ),
    "unit_cube with numbers": (
        lambda: data.normalize(mean=0.5, std=0.5),
        ValueError,
        "belong to the scheme 'z_score'",
    ),
    "std of 0": (
        lambda: data.normalize("z_score", mean=[0.5], std=[0.0]),
        ValueError,
        "`std` positive",
    ),
    "numbers of other channels": (
        lambda: examples(noise(2, 4, 4, 1)).apply(
            data.normalize("z_score", mean=[0.5] * 3, std=[0.5] * 3)
        ),
        ValueError,
        "one number a channel. Received: 3",
    ),
}


@pytest.mark.parametrize(("wrong", "error", "says"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_refused_at_the_call(wrong, error, says):
    with pytest.raises(error, match=says):
        wrong()
