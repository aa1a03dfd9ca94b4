"""Mixing and noise against NumPy, stated distributions and what two models see."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from small_models import sparse_cross_entropy

import keras_kd
from keras_kd.data import (
    classic_mixup,
    cutmix,
    inputs_and_labels,
    mixing,
    mixup,
    uniform_noise,
)

CLASSES = 5


def rows(count, shape=(4, 4, 2), *, seed=0, view=0, label=None):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, count) if label is None else label
    return {
        "index": np.arange(count),
        "view": np.full(count, view, "int64"),
        "image": generator.uniform(-1, 1, (count, *shape)).astype("float32"),
        "label": np.asarray(labels),
    }


def dataset(count, batch, **arguments):
    return tf.data.Dataset.from_tensor_slices(rows(count, **arguments)).batch(batch)


def identity_batches(count, batch):
    """Images that are one-hot rows: a mixed one tells lambda and its partner."""
    data = rows(count)
    data["image"] = np.eye(batch, dtype="float32")[np.arange(count) % batch]
    data["image"] = data["image"].reshape(count, 1, batch, 1)
    data["label"] = np.arange(count) % batch
    return tf.data.Dataset.from_tensor_slices(data).batch(batch)


def read_identity(images):
    """`(lambda, permutation)` of a mixed batch of one-hot images."""
    matrix = np.squeeze(images, (1, 3))
    own = np.diag(matrix)
    others = matrix - np.diag(own)
    moved = others.sum(axis=1) > 0
    permutation = np.where(moved, others.argmax(axis=1), np.arange(len(matrix)))
    return (own[moved].min() if moved.any() else np.nan), permutation


def all_of(dataset):
    return list(dataset.as_numpy_iterator())


STEPS = {
    "mixup": lambda seed: mixup(seed=seed),
    "classic mixup": lambda seed: classic_mixup(0.4, CLASSES, seed=seed),
    "cutmix": lambda seed: cutmix(1.0, CLASSES, seed=seed),
    "noise": lambda seed: uniform_noise(0.5, seed=seed),
}
each_step = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)


# The pure functions against NumPy.


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_mix_equals_numpy(lam):
    x, order = rows(6)["image"], np.array([3, 0, 2, 5, 1, 4])
    want = np.float64(lam) * x + (1 - np.float64(lam)) * x[order]
    assert_allclose(mixing.mix(tf.constant(x), order, lam), want, atol=1e-6)


def test_mixed_labels_equal_numpy_and_miss_where_one_of_two_is_missing():
    labels, order, lam = np.array([0, 2, -1, 4]), np.array([1, 2, 3, 0]), 0.3
    one_hot = np.float32(np.eye(CLASSES)[labels] * (labels >= 0)[:, None])
    want = np.zeros((4, CLASSES))
    want[0, [0, 2]] = 0.3, 0.7
    want[3, [4, 0]] = 0.3, 0.7  # rows 1 and 2 have the missing label in them
    assert_allclose(
        mixing.mix_labels(tf.constant(one_hot), order, lam), want, atol=1e-7
    )


def box_of_the_paper(lam, row, column, height, width):
    """Yun et al. 2019, algorithm 1, as their code does it, one axis after another."""
    box = []
    for centre, length in ((row, height), (column, width)):
        cut = int(length * np.sqrt(1 - lam))
        box += [max(centre - cut // 2, 0), min(centre + cut // 2, length)]
    return box


@pytest.mark.parametrize("lam", [0.0, 0.1, 0.5, 0.93, 1.0])
@pytest.mark.parametrize("centre", [(0, 0), (3, 8), (5, 2)], ids=str)
def test_box_and_paste_equal_numpy(lam, centre):
    x = rows(3, (6, 9, 2))["image"]
    order = np.array([1, 2, 0])
    box = mixing.cut_box(lam, *centre, 6, 9)
    top, bottom, left, right = box_of_the_paper(lam, *centre, 6, 9)
    assert_array_equal(box, [top, bottom, left, right])
    want = x.copy()
    want[:, top:bottom, left:right] = x[order][:, top:bottom, left:right]
    assert_array_equal(mixing.paste(tf.constant(x), order, box), want)
    share = 1 - (bottom - top) * (right - left) / 54
    assert_allclose(mixing.seen_share(box, 6, 9), share, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_lambda_follows_beta(alpha):
    seeds = tf.data.Dataset.range(5000).map(lambda i: tf.stack([7, i]))
    drawn = all_of(seeds.map(lambda seed: mixing.beta_lambda(alpha, seed)))
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_lambda_of_a_tiny_alpha_is_a_fair_coin():
    """Both Gamma numbers are 0 in float32 there: their ratio would be NaN."""
    seeds = tf.data.Dataset.range(2000).map(lambda i: tf.stack([7, i]))
    drawn = np.array(all_of(seeds.map(lambda seed: mixing.beta_lambda(1e-4, seed))))
    assert np.isin(drawn, [0, 1]).mean() > 0.99
    assert abs(drawn.mean() - 0.5) < 3 * 0.5 / np.sqrt(2000)


# The transformations.


@pytest.fixture(scope="module")
def mixed_batches():
    """5,000 batches of four one-hot images, as mixup gives them."""
    found = all_of(identity_batches(20_000, 4).apply(mixup(seed=1)))
    return found, [read_identity(batch["image"]) for batch in found]


def test_mixup_draws_one_uniform_lambda_a_batch(mixed_batches):
    batches, read = mixed_batches
    drawn = np.array([lam for lam, _ in read])
    drawn = drawn[np.isfinite(drawn)]  # where no image met itself alone
    assert len(drawn) > 4700
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3
    for batch, (lam, order) in zip(batches[:50], read, strict=False):
        if np.isfinite(lam):
            eye = np.eye(4)
            images = np.squeeze(batch["image"], (1, 3))
            assert_allclose(images, lam * eye + (1 - lam) * eye[order], atol=1e-6)


def test_mixup_draws_every_permutation_alike(mixed_batches):
    _, read = mixed_batches
    orders = [tuple(order) for _, order in read]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


def test_mixup_takes_the_labels_away(mixed_batches):
    assert {label for batch in mixed_batches[0] for label in batch["label"]} == {-1}


def test_classic_mixup_mixes_labels_as_it_mixes_images():
    """Labels are the numbers of the one-hot images, so both tell the same mixture."""
    for batch in all_of(identity_batches(40, 4).apply(classic_mixup(0.7, 4, seed=3))):
        assert batch["label"].dtype == "float32"
        assert_allclose(batch["label"], np.squeeze(batch["image"], (1, 3)), atol=1e-6)


def test_cutmix_mixes_labels_by_the_pixels_that_are_seen():
    count, size = 64, 8
    data = rows(count, (8, 8, 1), label=np.arange(count) % size)
    data["image"] = np.broadcast_to(
        data["label"][:, None, None, None], data["image"].shape
    ).astype("float32")
    batches = tf.data.Dataset.from_tensor_slices(data).batch(size)
    shares = []
    for batch in all_of(batches.apply(cutmix(1.0, size, seed=2))):
        for image, label in zip(batch["image"], batch["label"], strict=True):
            seen = np.bincount(image.astype(int).ravel(), minlength=size) / 64
            assert_allclose(label, seen, atol=1e-6)
        shares.append(batch["label"].max())
    assert min(shares) < 1


@pytest.mark.parametrize("step", [classic_mixup, cutmix])
def test_a_missing_label_stays_missing(step):
    """With every other label missing, rows are whole labels or nothing."""
    label = np.where(np.arange(40) % 2, 3, keras_kd.UNLABELED)
    batches = dataset(40, 8, label=label).apply(step(1.0, CLASSES))
    totals = np.concatenate([batch["label"].sum(axis=1) for batch in all_of(batches)])
    assert_allclose(totals, np.round(totals), atol=1e-6)
    assert 0 < totals.sum() <= 20


def test_rows_of_labels_may_be_mixed_again():
    batches = (
        dataset(16, 8).apply(cutmix(1.0, CLASSES)).apply(classic_mixup(1.0, CLASSES))
    )
    for batch in all_of(batches):
        assert_allclose(batch["label"].sum(axis=1), 1, atol=1e-6)


@each_step
def test_a_batch_depends_on_seed_and_view_alone(step):
    batches = dataset(48, 8)
    first, again = all_of(batches.apply(step(0))), all_of(batches.apply(step(0)))
    later = all_of(batches.skip(2).apply(step(0)))  # a run that goes on
    other_seed = all_of(batches.apply(step(1)))
    other_view = all_of(dataset(48, 8, view=1).apply(step(0)))
    for a, b in [*zip(first, again, strict=True), *zip(first[2:], later, strict=True)]:
        assert_array_equal(a["image"], b["image"])
        assert_array_equal(a["label"], b["label"])
    for a, b, c in zip(first, other_seed, other_view, strict=True):
        assert (a["image"] != b["image"]).any()
        assert (a["image"] != c["image"]).any()


@each_step
def test_other_keys_pass_through(step):
    data = {**rows(8), "sample_weight": np.arange(8.0)}
    (batch,) = all_of(tf.data.Dataset.from_tensor_slices(data).batch(8).apply(step(0)))
    for key in ("index", "view", "sample_weight"):
        assert_array_equal(batch[key], data[key])


class Recorder(keras.layers.Layer):
    """Passes its input on, and keeps a copy."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def call(self, inputs):
        if isinstance(inputs, tf.Tensor):
            tf.numpy_function(lambda x: self.seen.append(x.copy()), [inputs], [])
        return inputs


def test_teacher_and_student_see_the_same_mixed_pixels():
    recorders, models = [Recorder(), Recorder()], []
    for recorder in recorders:
        layers = [keras.Input((4, 4, 2)), recorder, keras.layers.Flatten()]
        models.append(keras.Sequential([*layers, keras.layers.Dense(CLASSES)]))
    distiller = keras_kd.Distiller(
        *models, keras_kd.losses.KnowledgeDistillation(), student_loss_weight=0.0
    )
    distiller.compile("sgd", sparse_cross_entropy())
    train = dataset(24, 8).apply(mixup(seed=4))
    for recorder in recorders:
        recorder.seen.clear()
    distiller.fit(train.map(inputs_and_labels), verbose=0)
    of_teacher, of_student = (recorder.seen for recorder in recorders)
    assert len(of_teacher) == len(of_student) == 3
    plain = all_of(dataset(24, 8))
    for step, batch in enumerate(all_of(train)):
        assert_array_equal(of_teacher[step], of_student[step])
        assert_array_equal(of_teacher[step], batch["image"])
        assert (of_teacher[step] != plain[step]["image"]).mean() > 0.5


# Noise.


@pytest.mark.parametrize("batched", [False, True], ids=["examples", "batches"])
def test_noise_replaces_images_with_the_stated_probability(batched):
    size, count = 16, 16_000
    examples = tf.data.Dataset.from_tensor_slices(rows(count, (1, 2, 1)))
    noisy = examples.batch(size).apply(uniform_noise(0.2, seed=5))
    if not batched:
        noisy = examples.apply(uniform_noise(0.2, seed=5)).batch(size)
    noisy, plain = all_of(noisy), rows(count, (1, 2, 1))
    images = np.concatenate([batch["image"] for batch in noisy])
    replaced = (images != plain["image"]).any(axis=(1, 2, 3))
    assert len(noisy) == 1000
    assert abs(replaced.mean() - 0.2) < 3 * np.sqrt(0.2 * 0.8 / count)
    per_batch = replaced.reshape(1000, size).sum(axis=1)
    counts = np.bincount(np.minimum(per_batch, 8), minlength=9)
    expected = stats.binom(size, 0.2).pmf(np.arange(9))
    expected[8] = 1 - expected[:8].sum()
    assert stats.chisquare(counts, 1000 * expected).pvalue > 1e-3
    pixels = (images[replaced].ravel() + 1) / 2
    assert stats.kstest(pixels, "uniform").pvalue > 1e-3
    labels = np.concatenate([batch["label"] for batch in noisy])
    assert_array_equal(labels, np.where(replaced, -1, plain["label"]))


def test_noise_of_two_images_is_unrelated():
    data = dataset(64, 64, shape=(8, 8, 1)).apply(uniform_noise(1.0))
    (batch,) = all_of(data)
    correlation = np.corrcoef(batch["image"].reshape(64, -1))
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 5 / np.sqrt(64)


def test_noise_has_the_range_of_the_data():
    (batch,) = all_of(dataset(32, 32).apply(uniform_noise(1.0, low=0.0, high=3.0)))
    assert 0 <= batch["image"].min() < 0.05
    assert 2.95 < batch["image"].max() < 3


@pytest.mark.parametrize("probability", [0, 1])
def test_noise_never_and_always(probability):
    (batch,) = all_of(dataset(32, 32).apply(uniform_noise(probability)))
    assert_array_equal(batch["label"] == -1, probability == 1)


def test_noise_takes_a_one_hot_label_away():
    data = rows(8, label=np.eye(CLASSES)[[1] * 8])
    (batch,) = all_of(
        tf.data.Dataset.from_tensor_slices(data).batch(8).apply(uniform_noise(0.5))
    )
    replaced = (batch["image"] != data["image"]).any(axis=(1, 2, 3))
    assert_array_equal(batch["label"].sum(axis=1), 1.0 - replaced)


def test_unsigned_labels_can_be_missing_too():
    batches = dataset(8, 8, label=np.full(8, 7, "uint8")).apply(mixup())
    assert all_of(batches)[0]["label"].tolist() == [-1] * 8


# Mistakes.


def texts():
    data = {"index": [0], "view": [0], "text": ["good"], "label": [1]}
    return tf.data.Dataset.from_tensor_slices(data)


def whole_numbers():
    data = rows(8)
    data["image"] = data["image"].astype("uint8")
    return tf.data.Dataset.from_tensor_slices(data).batch(8)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: classic_mixup(0, CLASSES), "`alpha` must be a finite number > 0"),
        (lambda: cutmix(-1.0, CLASSES), "`alpha` must be a finite number > 0"),
        (lambda: cutmix(1.0, 1), "`num_classes` must be a whole number of at least 2"),
        (lambda: uniform_noise(1.5), "`probability` must be .* >= 0 and <= 1"),
        (
            lambda: uniform_noise(0.2, low=1, high=1),
            "`high` must be a finite number > 1",
        ),
        (lambda: mixup(seed=-1), "`seed` must be"),
        (lambda: dataset(8, 8).unbatch().apply(mixup()), r"`\.batch\(size\)` before"),
        (lambda: whole_numbers().apply(mixup()), r"uint8.*normalize"),
        (lambda: whole_numbers().apply(uniform_noise()), r"uint8.*normalize"),
        (lambda: texts().batch(1).apply(mixup()), "works on images"),
        (
            lambda: dataset(8, 8).map(inputs_and_labels).apply(cutmix(1.0, CLASSES)),
            "dicts of examples",
        ),
    ],
)
def test_a_mistake_is_answered_at_the_call(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake()


def test_a_label_beyond_the_classes_is_told():
    batches = dataset(8, 8, label=np.full(8, 9)).apply(cutmix(1.0, CLASSES))
    with pytest.raises(tf.errors.InvalidArgumentError, match="num_classes=5"):
        all_of(batches)


def test_rows_of_other_length_are_refused():
    batches = dataset(8, 8).apply(cutmix(1.0, CLASSES))
    with pytest.raises(ValueError, match="rows of 5 numbers"):
        batches.apply(classic_mixup(1.0, 6))
