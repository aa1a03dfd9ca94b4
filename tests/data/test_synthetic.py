"""Synthetic and other images in a pipeline: how many, which, where, and in training."""

import fractions
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from small_models import numpy_weights, scattered, sparse_cross_entropy
from two_devices import on_each

import keras_kd
from keras_kd.data import (
    fixed_gan_samples,
    from_arrays,
    gan_samples,
    inputs_and_labels,
    mixup,
    out_of_distribution,
    sample_images,
    uniform_noise,
    with_temperature,
)

SHAPE, LATENT = (2, 2, 1), 3
PAPER = [(0.2, 103, 25), (0.4, 77, 51), (0.6, 52, 76), (0.8, 26, 102)]  # of 128


def tiny_generator(extra=(), shape=SHAPE):
    units = math.prod(shape)
    layers = [
        keras.Input((LATENT,)),
        keras.layers.Dense(units),
        *extra,
        keras.layers.Reshape(shape),
        keras.layers.Activation("tanh"),
    ]
    return scattered(keras.Sequential(layers, name="generator"))


def examples(count, *, shape=SHAPE, views=1, dtype="float32"):
    """Real images are all 0, with label 7; `views` passes, one behind the other."""
    one_pass = {
        "index": np.arange(count),
        "image": np.zeros((count, *shape), dtype),
        "label": np.full(count, 7),
    }
    parts = [{**one_pass, "view": np.full(count, v)} for v in range(views)]
    whole = {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}
    return tf.data.Dataset.from_tensor_slices(whole)


def all_of(dataset):
    return list(dataset.as_numpy_iterator())


def synthetic(batch):
    return batch["label"] == keras_kd.UNLABELED


# Online samples: how many.


@pytest.mark.parametrize(("ratio", "real", "want"), PAPER)
def test_batches_are_those_of_the_paper(ratio, real, want):
    step = gan_samples(tiny_generator(), ratio, batch_size=128)
    (batch,) = all_of(examples(real).batch(real).apply(step))
    assert (batch["image"].shape[0], synthetic(batch).sum()) == (128, want)


@pytest.mark.parametrize("ratio", ["0", "0.01", "0.2", "0.25", "0.3", "0.6", "0.9"])
def test_the_ratio_is_that_of_the_whole_batch(ratio):
    """Whatever the real rows: the whole batch holds int(ratio * size) samples."""
    exact = fractions.Fraction(ratio)
    sizes = tf.data.Dataset.range(1, 131)
    batches = sizes.flat_map(lambda real: examples(130).batch(real).take(1))
    for batch in all_of(batches.apply(gan_samples(tiny_generator(), float(ratio)))):
        assert synthetic(batch).sum() == int(exact * len(batch["label"]))


def test_over_a_thousand_batches_the_share_is_the_ratio():
    """Whole batches of 10 and a last one of 3, to which none can be added."""
    batches = examples(8003).batch(8).apply(gan_samples(tiny_generator(), 0.2))
    chosen = np.concatenate([synthetic(batch) for batch in all_of(batches)])
    assert len(chosen) == 8003 + 2000
    assert abs(chosen.mean() - 0.2) < 3 * np.sqrt(0.2 * 0.8 / len(chosen))


# Online samples: which.


def test_samples_are_never_repeated():
    batches = examples(2500, views=2).batch(5).apply(gan_samples(tiny_generator(), 0.5))
    found = all_of(batches)
    assert len(found) == 1000
    images = np.concatenate([batch["image"][synthetic(batch)] for batch in found])
    assert len(images) == 5000
    assert len(np.unique(images.reshape(5000, -1), axis=0)) == 5000
    numbers = [tuple(n) for b in found for n in zip(b["index"], b["view"], strict=True)]
    assert len(set(numbers)) == len(numbers)


def test_latent_vectors_are_normal_and_independent():
    """A generator that shows its latent vector: tanh undone."""
    generator = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Reshape((2, 2, 1)),
            keras.layers.Activation("tanh"),
        ]
    )
    batches = examples(2000).batch(4).apply(gan_samples(generator, 0.5))
    images = np.concatenate([b["image"][synthetic(b)] for b in all_of(batches)])
    latent = np.arctanh(np.clip(images.astype("float64"), -1 + 1e-7, 1 - 1e-7))
    latent = latent.reshape(2000, 4)
    assert stats.kstest(latent.ravel(), "norm").pvalue > 1e-3
    correlation = np.corrcoef(np.hstack([latent[1:], latent[:-1]]).T) - np.eye(8)
    assert np.abs(correlation).max() < 4 / np.sqrt(2000)


def test_real_rows_come_first_and_unchanged():
    (batch,) = all_of(examples(8).batch(8).apply(gan_samples(tiny_generator())))
    assert_array_equal(batch["label"], [7] * 8 + [-1] * 2)
    assert_array_equal(batch["index"][:8], np.arange(8))
    assert not batch["image"][:8].any()
    assert (np.abs(batch["image"][8:]) <= 1).all()
    assert batch["image"][8:].all()


def test_a_batch_depends_on_seed_and_view_alone():
    generator, batches = tiny_generator(), examples(12).batch(4)
    first = all_of(batches.apply(gan_samples(generator)))
    later = all_of(batches.skip(1).apply(gan_samples(generator)))  # a run that goes on
    other = all_of(batches.apply(gan_samples(generator, seed=1)))
    view = all_of(examples(12, views=2).skip(12).batch(4).apply(gan_samples(generator)))
    for one, again in zip(first[1:], later, strict=True):
        assert_array_equal(one["image"], again["image"])
    for a, b, c in zip(first, other, view, strict=True):
        assert not np.isin(a["image"][4:], b["image"][4:]).any()
        assert not np.isin(a["image"][4:], c["image"][4:]).any()


def test_the_generator_runs_in_inference_mode_and_is_left_as_it_was():
    norm, dropout = keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)
    generator = tiny_generator(extra=[norm, dropout])
    before = numpy_weights(generator)
    (batch,) = all_of(examples(8).batch(8).apply(gan_samples(generator, 0.5)))
    for ours, theirs in zip(before, numpy_weights(generator), strict=True):
        assert_array_equal(ours, theirs)
    # Inference is a fixed map of the latent vector, from which images are recovered.
    kernel, bias, gamma, beta, mean, variance = map(np.float64, before[:6])
    images = np.arctanh(batch["image"][8:].reshape(8, 4).astype("float64"))
    linear = (images - beta) / (gamma / np.sqrt(variance + norm.epsilon)) + mean - bias
    _, distance, _, _ = np.linalg.lstsq(kernel.T, linear.T, rcond=None)
    assert distance.max() < 1e-6


def test_later_training_of_the_generator_changes_no_sample():
    generator = tiny_generator()
    batches = examples(8).batch(4).apply(gan_samples(generator))
    before = all_of(batches)
    generator.set_weights([0 * w for w in generator.get_weights()])
    for one, again in zip(before, all_of(batches), strict=True):
        assert_array_equal(one["image"], again["image"])


def test_a_path_does_as_the_generator_itself(tmp_path):
    generator, batches = tiny_generator(), examples(8).batch(8)
    generator.save(tmp_path / "generator.keras")
    found = [
        all_of(batches.apply(gan_samples(given)))[0]["image"]
        for given in (generator, tmp_path / "generator.keras")
    ]
    assert_array_equal(*found)


def conditional(structure):
    """Shows its label: all pixels are label / 10."""
    latent = keras.Input((LATENT,), name="z")
    label = keras.Input((), dtype="int32", name="class")
    zero = keras.layers.Dense(4, kernel_initializer="zeros")(latent)
    value = keras.layers.Reshape((1,))(keras.layers.Rescaling(0.1)(label))
    image = keras.layers.Reshape(SHAPE)(keras.layers.Add()([zero, value]))
    inputs = {"list": [latent, label], "dict": {"z": latent, "class": label}}
    return keras.Model(inputs[structure], image)


@pytest.mark.parametrize("structure", ["list", "dict"])
def test_a_conditional_generator_gets_uniform_labels(structure):
    step = gan_samples(conditional(structure), 0.5, num_classes=8)
    batches = all_of(examples(4000).batch(16).apply(step))
    images = np.concatenate([batch["image"][synthetic(batch)] for batch in batches])
    labels = np.round(10 * images[:, 0, 0, 0]).astype(int)
    assert stats.chisquare(np.bincount(labels, minlength=8)).pvalue > 1e-3
    assert all(synthetic(batch).sum() == 16 for batch in batches)


def test_the_generator_may_run_on_another_device():
    batches = examples(8).batch(4)
    for device in ("CPU:0", "CPU:1"):
        found = all_of(batches.apply(gan_samples(tiny_generator(), device=device)))
        want = all_of(batches.apply(gan_samples(tiny_generator())))
        for one, other in zip(found, want, strict=True):
            assert_allclose(one["image"], other["image"], rtol=1e-6)


# A fixed set.


@pytest.mark.parametrize(
    ("size", "real", "steps"),
    [(12_500, 103, 489), (25_000, 86, 586), (37_500, 74, 684), (50_000, 64, 782)],
)
def test_batches_hold_the_papers_share_of_a_fixed_set(size, real, steps):
    """papers.md 1.4: 103 + 25, 86 + 42, 74 + 54, 64 + 64; here within one image."""
    images = np.ones((size, 1, 1, 1), "float32")
    dataset = examples(50_000, shape=(1, 1, 1)).apply(fixed_gan_samples(images, size))
    counts = [synthetic(batch).sum() for batch in all_of(dataset.batch(128))]
    assert len(counts) == steps
    assert sum(counts) == size
    assert all(abs(count - (128 - real)) <= 1 for count in counts[:-1])


def test_each_image_of_a_fixed_set_comes_once_a_pass_in_another_order():
    images = np.arange(1, 31, dtype="float32").reshape(30, 1, 1, 1) / 100
    dataset = examples(300, shape=(1, 1, 1), views=1)
    passes = []
    for view in (0, 1):
        data = dataset.map(lambda e, view=view: {**e, "view": e["view"] + view})
        found = all_of(data.apply(fixed_gan_samples(images, 30, seed=4)))
        passes.append([float(e["image"].item()) for e in found if e["label"] == -1])
        real = [e["index"] for e in found if e["label"] != -1]
        assert_array_equal(real, np.arange(300))  # in their own order
        assert len({e["index"] for e in found}) == 330
    for one in passes:
        assert_allclose(np.sort(one), images.ravel())
    assert passes[0] != passes[1]


def test_a_fixed_set_is_the_same_for_the_same_seed():
    generator = tiny_generator()
    small, large = (sample_images(generator, n, seed=2) for n in (30, 600))
    assert large.shape == (600, *SHAPE)
    assert large.dtype == "float32"
    assert_array_equal(small, large[:30])
    assert len(np.unique(large.reshape(600, -1), axis=0)) == 600
    assert not np.isin(sample_images(generator, 30, seed=3), small).any()
    mixed = all_of(examples(60).apply(fixed_gan_samples(generator, 30, seed=2)))
    found = np.array([e["image"].ravel() for e in mixed if e["label"] == -1])
    assert_array_equal(
        np.unique(found, axis=0), np.unique(small.reshape(30, -1), axis=0)
    )


# Other sets.


def test_other_images_come_once_a_pass_as_if_shuffled_together():
    """1,000 batches of 60, of 50,000 and 10,000 images: hypergeometric counts."""
    others = np.ones((12_000, 1, 1, 1), "float32")
    dataset = examples(50_000, shape=(1, 1, 1))
    dataset = dataset.apply(out_of_distribution(others, 10_000, seed=3))
    assert len(dataset) == 60_000
    counts = np.array([synthetic(batch).sum() for batch in all_of(dataset.batch(60))])
    assert counts.sum() == 10_000
    law = stats.hypergeom(60_000, 10_000, 60)
    assert (np.abs(counts - law.mean()) > 3 * law.std()).mean() < 0.01
    bins = np.arange(5, 16)
    expected = np.array([law.cdf(5), *law.pmf(bins[1:-1]), law.sf(14)])
    observed = np.bincount(np.clip(counts, 5, 15), minlength=16)[5:]
    assert stats.chisquare(observed, 1000 * expected).pvalue > 1e-3


def test_more_other_images_than_examples_fit_in_too():
    others = np.arange(1, 21, dtype="uint8").reshape(20, 1, 1, 1)
    dataset = examples(3, shape=(1, 1, 1), dtype="uint8")
    found = all_of(dataset.apply(out_of_distribution(others, 20)))
    assert sorted(e["image"].item() for e in found) == [0, 0, 0, *range(1, 21)]


def test_the_subset_of_a_source_is_drawn_by_the_seed():
    images = np.arange(40, dtype="uint8").reshape(40, 1, 1, 1)
    source = from_arrays(images, labels=np.zeros(40, int))
    dataset = examples(5, shape=(1, 1, 1), dtype="uint8")

    def taken(given, seed):
        found = all_of(dataset.apply(out_of_distribution(given, 10, seed)))
        return {e["image"].item() for e in found if e["label"] == -1}

    assert len(taken(source, 0)) == 10
    assert taken(source, 0) == taken(images, 0) != taken(source, 1)


def test_places_change_with_the_pass_and_come_back_with_the_seed():
    source = from_arrays(np.zeros((20, 1, 1, 1), "uint8"), labels=[1] * 20)
    others = np.full((10, 1, 1, 1), 9, "uint8")

    def run(initial_epoch=0, seed=0):
        data = source.examples(seed=0, initial_epoch=initial_epoch)
        return data.apply(out_of_distribution(others, 10, seed))

    def read(dataset):
        return [int(e["label"]) for e in all_of(dataset)]

    two = run()
    first, second = read(two), read(two)
    assert first == read(run()) != second == read(run(initial_epoch=1))
    assert first != read(run(seed=1))


@pytest.mark.parametrize("size", [1, 127, 128, 129, 300])
@pytest.mark.parametrize("count", [1, 127, 300])
@pytest.mark.parametrize("step", [out_of_distribution, fixed_gan_samples])
def test_a_pass_has_the_examples_that_it_claims(step, size, count):
    dataset = examples(size, shape=(1, 1, 1))
    grown = dataset.apply(step(np.ones((count, 1, 1, 1), "float32"), count))
    assert len(grown) == len(all_of(grown)) == size + count


def test_a_pass_that_goes_on_has_the_remaining_examples_and_their_share():
    source = from_arrays(np.zeros((400, 1, 1, 1), "uint8"), labels=[1] * 400)
    others = np.ones((100, 1, 1, 1), "uint8")
    data = source.examples(seed=0, initial_step=300)
    data = data.apply(out_of_distribution(others, 100))
    assert len(data) == 500
    whole = [e["index"] for e in source.examples(seed=0).as_numpy_iterator()]
    first, second = all_of(data), all_of(data)
    assert [e["index"] for e in first if e["label"] == 1] == whole[300:]
    added = sum(e["label"] == -1 for e in first)
    assert abs(added - 25) < 3 * stats.hypergeom(500, 100, 125).std()
    assert len(second) == 500


# In training.


def classifier(name, seed=0):
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(8)]
    return scattered(keras.Sequential(layers, name=name), seed)


def distiller():
    model = keras_kd.Distiller(
        classifier("teacher", seed=1),
        classifier("student", seed=2),
        keras_kd.losses.KnowledgeDistillation(),
    )
    model.compile(keras.optimizers.SGD(0.05), sparse_cross_entropy(), ["accuracy"])
    return model


def everything(seed=0):
    generator = np.random.default_rng(seed)
    images = generator.uniform(-1, 1, (40, *SHAPE)).astype("float32")
    source = from_arrays((images + 1) / 2, labels=generator.integers(0, 8, 40))
    others = generator.uniform(0, 1, (10, *SHAPE)).astype("float32")
    return (
        source.examples(shuffle=True, seed=0)
        .apply(out_of_distribution(others, size=10))
        .map(lambda e: {**e, "image": 2 * e["image"] - 1})
        .apply(uniform_noise(0.2))
        .apply(fixed_gan_samples(tiny_generator(), size=20))
        .batch(8)
        .apply(gan_samples(tiny_generator(), ratio=0.2))
        .apply(mixup(seed=0))
        .map(inputs_and_labels)
        .prefetch(tf.data.AUTOTUNE)
    )


def test_a_pipeline_of_everything_trains_a_student():
    history = distiller().fit(everything(), epochs=4, verbose=0).history
    assert history["distillation_loss"][-1] < history["distillation_loss"][0]
    assert np.isfinite(history["loss"]).all()


def test_labels_count_for_real_images_alone():
    """Accuracy and label loss of batches with samples are those of the real rows."""
    plain = examples(16).map(lambda e: {**e, "label": e["index"] % 8}).batch(8)
    model = distiller()
    grown = plain.apply(gan_samples(tiny_generator(), 0.5)).map(inputs_and_labels)
    found = model.evaluate(grown, verbose=0, return_dict=True)
    want = model.evaluate(plain.map(inputs_and_labels), verbose=0, return_dict=True)
    for name in ("accuracy", "student_loss"):
        assert_allclose(found[name], want[name], rtol=1e-6)


@pytest.mark.distributed
def test_two_replicas_train_as_one_device():
    """Wherever the generator was made: the pipeline holds none of its variables."""
    found = []
    one, two = on_each()
    for strategy, made_inside in ((one, False), (two, False), (two, True)):
        generator = None if made_inside else tiny_generator()
        with strategy.scope():
            generator = generator or tiny_generator()
            model = distiller()
        train = examples(24).batch(8).apply(gan_samples(generator, 0.2))
        train = train.apply(mixup()).map(inputs_and_labels).prefetch(2)
        model.fit(train, epochs=2, verbose=0)
        found.append(numpy_weights(model))
    for wanted, *others in zip(*found, strict=True):
        for weights in others:
            assert_allclose(weights, wanted, rtol=1e-5, atol=1e-6)


# Temperatures and other keys.


def test_every_source_may_have_its_own_temperature():
    others, samples = (np.full((4, *SHAPE), v, "float32") for v in (0.25, 0.5))
    dataset = (
        examples(8)
        .apply(with_temperature(4.0))
        .apply(out_of_distribution(others, 4, temperature=3.0))
        .apply(fixed_gan_samples(samples, 4))
        .batch(16)
        .apply(gan_samples(tiny_generator(), 0.2, temperature=1.0))
    )
    (batch,) = all_of(dataset)
    want = np.select(
        [batch["label"] == 7, batch["image"][:, 0, 0, 0] == 0.25, batch["index"] < 0],
        [4.0, 3.0, 1.0],
        0.0,  # that of the loss
    )
    assert_array_equal(batch["temperature"], want)
    _, targets = next(iter(dataset.map(inputs_and_labels)))
    assert_array_equal(targets["labels"], batch["label"])
    assert_array_equal(targets["temperature"], want)


def test_added_rows_weigh_one():
    data = examples(4).map(lambda e: {**e, "sample_weight": 0.5}).batch(4)
    (batch,) = all_of(data.apply(gan_samples(tiny_generator())))
    assert_array_equal(batch["sample_weight"], [0.5] * 4 + [1.0])


def test_unknown_keys_are_refused():
    data = examples(4).map(lambda e: {**e, "caption": "a"})
    for dataset, step in [
        (data.batch(4), gan_samples(tiny_generator())),
        (data, fixed_gan_samples(np.ones((2, *SHAPE), "float32"), 2)),
    ]:
        with pytest.raises(ValueError, match=r"does not know .* \['caption'\]"):
            dataset.apply(step)


# Mistakes.


class Unbuilt(keras.Model):
    def call(self, inputs):
        return inputs


def batches(dtype="float32"):
    return examples(8, dtype=dtype).batch(4)


@pytest.mark.parametrize(
    ("mistake", "error", "message"),
    [
        (lambda: gan_samples(tiny_generator(), 1.0), ValueError, "must be below 1"),
        (lambda: gan_samples(tiny_generator(), -0.1), ValueError, "`ratio` must be"),
        (lambda: gan_samples("no.keras"), ValueError, "There is no generator at"),
        (
            lambda: gan_samples(tiny_generator(), device="GPU:9"),
            ValueError,
            "`device` must be one of .*'CPU:0'",
        ),
        (lambda: gan_samples(3), TypeError, "a keras.Model or the path"),
        (lambda: gan_samples(Unbuilt()), ValueError, "was never built"),
        (
            lambda: gan_samples(classifier("teacher")),
            ValueError,
            r"latent vectors of shape \(batch, latent_dim\)",
        ),
        (
            lambda: gan_samples(conditional("list")),
            ValueError,
            r"takes 1 input.*Pass `num_classes`",
        ),
        (
            lambda: gan_samples(tiny_generator(), num_classes=8),
            ValueError,
            "takes 2 input",
        ),
        (
            lambda: gan_samples(tiny_generator(), temperature=0),
            ValueError,
            "`temperature` must be",
        ),
        (
            lambda: batches().apply(gan_samples(tiny_generator(shape=(4, 4, 1)))),
            ValueError,
            r"images of shape \(4, 4, 1\).*images of shape \(2, 2, 1\)",
        ),
        (
            lambda: batches("uint8").apply(gan_samples(tiny_generator())),
            ValueError,
            "uint8 images.*unit_cube",
        ),
        (
            lambda: examples(8).apply(gan_samples(tiny_generator())),
            ValueError,
            r"`\.batch\(size\)` before",
        ),
        (
            lambda: batches().apply(out_of_distribution(np.ones((4, *SHAPE)), 4)),
            ValueError,
            r"put it before `\.batch\(size\)`",
        ),
        (
            lambda: examples(8).apply(out_of_distribution(np.ones((4, *SHAPE)), 4)),
            ValueError,
            "float64.*float32",
        ),
        (
            lambda: (
                examples(8)
                .repeat()
                .apply(fixed_gan_samples(np.ones((4, *SHAPE), "float32"), 4))
            ),
            ValueError,
            "how many examples a pass has",
        ),
        (lambda: out_of_distribution(np.ones((4, *SHAPE)), 5), ValueError, "only 4"),
        (lambda: out_of_distribution(3), TypeError, "Received: 3"),
        (
            lambda: out_of_distribution(from_arrays(["good"], [1]), 1),
            TypeError,
            "a keras_kd.data.Source of images",
        ),
        (lambda: out_of_distribution("svhn"), ValueError, "'svhn_cropped'"),
        (lambda: fixed_gan_samples(tiny_generator(), 0), ValueError, "at least 1"),
    ],
)
def test_a_mistake_is_answered_at_the_call(mistake, error, message):
    with pytest.raises(error, match=message):
        mistake()


def test_images_of_another_range_are_told():
    data = batches().map(lambda b: {**b, "image": b["image"] + 2})
    with pytest.raises(tf.errors.InvalidArgumentError, match="unit_cube"):
        all_of(data.apply(gan_samples(tiny_generator())))
