"""Sources: what examples hold, in which order, and which view each pass shows."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from sklearn.datasets import load_digits
from two_devices import on_two_devices

from keras_kd import UNLABELED, data
from keras_kd.data._storage import Records

SIZE = 530  # more than a chunk of 512


def numbers(size):
    """Images of one pixel whose examples can be told from it."""
    pixels = (np.arange(size) / size).astype("float32")
    return data.from_arrays(pixels.reshape(-1, 1, 1, 1), np.arange(size) % 10)


def on_disk(size):
    """The same source, as one is read from records."""
    whole = numbers(size)
    rows = whole.dataset.map(lambda e: {**e, "image": e["image"] * 2})
    halve = lambda e: {**e, "image": e["image"] / 2}  # noqa: E731
    store = Records(rows, halve, size)
    return data.Source("records", size, 10, whole.shape, "image", _store=store)


each_kind = pytest.mark.parametrize("kind", [numbers, on_disk])


def a_pass(dataset):
    """Views and indices of one iteration."""
    parts = [(b["view"], b["index"]) for b in dataset.batch(1000).as_numpy_iterator()]
    views, indices = map(np.concatenate, zip(*parts, strict=True))
    return views, indices


# What a pass holds.


@each_kind
def test_a_pass_shows_every_example_once_as_it_is(kind):
    source = kind(SIZE)
    dataset = source.examples(seed=1)
    assert int(dataset.cardinality()) == SIZE
    for view in range(2):
        (found,) = dataset.batch(SIZE).as_numpy_iterator()
        indices = found["index"]
        assert sorted(indices) == list(range(SIZE))
        assert set(found["view"]) == {view}
        np.testing.assert_array_equal(found["label"], indices % 10)
        np.testing.assert_allclose(found["image"].ravel(), indices / SIZE, rtol=1e-6)


@each_kind
def test_the_dataset_of_a_source_is_in_order_and_has_no_views(kind):
    source = kind(SIZE)
    (rows,) = source.dataset.batch(SIZE).as_numpy_iterator()
    assert list(rows["index"]) == list(range(SIZE))
    assert set(rows) == {"index", "image", "label"}
    assert int(source.dataset.cardinality()) == SIZE
    np.testing.assert_array_equal(source.indices, np.arange(SIZE))
    np.testing.assert_array_equal(source.labels, np.arange(SIZE) % 10)


def test_dtypes_are_those_of_the_contract():
    spec = numbers(3).examples().element_spec
    assert {key: value.dtype.name for key, value in spec.items()} == {
        "index": "int64",
        "view": "int64",
        "image": "float32",
        "label": "int64",
    }


# Orders.


@each_kind
def test_without_shuffle_each_pass_keeps_the_order(kind):
    _, indices = a_pass(kind(SIZE).examples(shuffle=False).repeat(2))
    np.testing.assert_array_equal(indices, np.tile(np.arange(SIZE), 2))


@each_kind
def test_order_is_a_function_of_seed_and_view(kind):
    def order(seed, epoch, global_seed):
        tf.random.set_seed(global_seed)
        return a_pass(kind(SIZE).examples(seed=seed, initial_epoch=epoch))[1].tolist()

    _, passes = a_pass(kind(SIZE).examples(seed=5).repeat(2))
    passes = passes.reshape(2, SIZE).tolist()
    assert [order(5, epoch, 10 + epoch) for epoch in range(2)] == passes
    assert order(6, 0, 0) not in passes
    assert passes[0] != passes[1]


@each_kind
def test_every_order_is_equally_likely(kind):
    _, indices = a_pass(kind(3).examples(seed=0).repeat(300))
    _, counts = np.unique(indices.reshape(300, 3), axis=0, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_buffer_bounds_how_far_forward_a_record_moves():
    _, order = a_pass(on_disk(SIZE).examples(shuffle=10))
    assert sorted(order) == list(range(SIZE))
    assert (order - np.arange(SIZE)).max() == 9
    assert (order != np.arange(SIZE)).mean() > 0.5


def test_a_source_in_memory_is_shuffled_as_a_whole_whatever_the_buffer():
    whole, among_two = (a_pass(numbers(50).examples(shuffle=s)) for s in (True, 2))
    np.testing.assert_array_equal(whole, among_two)


# Passes.


@each_kind
@pytest.mark.parametrize("skip", [1, SIZE - 512, SIZE - 1])
def test_a_run_restarted_in_mid_epoch_sees_the_same_remaining_views(kind, skip):
    _, uninterrupted = a_pass(kind(SIZE).examples(seed=3).repeat(3))
    restarted = kind(SIZE).examples(seed=3, initial_epoch=1, initial_step=skip)
    assert int(restarted.cardinality()) == SIZE
    found = [a_pass(restarted) for _ in range(2)]
    indices = np.concatenate([indices for _, indices in found])
    np.testing.assert_array_equal(indices, uninterrupted[SIZE + skip :])
    assert [set(views) for views, _ in found] == [{1}, {2}]


def test_two_datasets_of_one_source_count_apart():
    source = numbers(20)
    first, second = source.examples(), source.examples(initial_epoch=7)
    views = [a_pass(d)[0][0] for d in (first, first, second, first, second)]
    assert views == [0, 1, 7, 2, 8]
    both = [(a["view"], b["view"]) for a, b in zip(first, second, strict=True)]
    assert {(int(a), int(b)) for a, b in both} == {(3, 9)}


@pytest.mark.parametrize("skip", [0, 4])
def test_repeat_and_prefetch_go_on_counting(skip):
    dataset = numbers(20).examples(initial_step=skip).repeat(3).batch(7).prefetch(5)
    views = np.concatenate([batch["view"] for batch in dataset])
    np.testing.assert_array_equal(views, np.repeat([0, 1, 2], [20 - skip, 20, 20]))


def test_a_pass_may_be_left_early():
    dataset = numbers(SIZE).examples(initial_step=5)
    assert next(iter(dataset))["view"] == 0
    assert int(next(iter(dataset.take(3)))["view"]) == 1
    assert len(a_pass(dataset)[0]) == SIZE


def test_a_pass_in_a_graph_is_a_view_too():
    dataset = numbers(20).examples()

    @tf.function
    def total(dataset):
        return dataset.reduce(tf.zeros([], tf.int64), lambda t, e: t + e["view"])

    assert [int(total(dataset)) for _ in range(3)] == [0, 20, 40]


# Under Keras.


def fit_on_views(source, *, built=True, batch=8, **arguments):
    """Mean view of each epoch, and steps of each: the model gives out its input."""
    dataset = source.examples(**arguments).map(lambda e: (e["view"][None], 0.0))
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((1,)), dense] if built else [dense])
    assert model.built == built
    model.compile(keras.optimizers.SGD(0.0), loss=lambda y, view: view)
    steps = []
    count = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: steps.append(0),
        on_train_batch_end=lambda i, logs: steps.append(steps.pop() + 1),
    )
    history = model.fit(dataset.batch(batch), epochs=3, verbose=0, callbacks=[count])
    return history.history["loss"], steps


@each_kind
@pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])
def test_fit_shows_one_view_an_epoch(kind, built):
    views, steps = fit_on_views(kind(20), built=built, initial_epoch=4)
    assert views == [4, 5, 6]
    assert steps == [3, 3, 3]


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_fit_goes_on_after_the_rest_of_an_interrupted_epoch():
    views, steps = fit_on_views(numbers(40), initial_epoch=4, initial_step=24)
    assert views == [4, 5, 6]
    assert steps == [2, 5, 5]


@pytest.mark.distributed
@pytest.mark.parametrize("made_in_scope", [True, False])
def test_replicas_share_one_pass(made_in_scope):
    strategy = on_two_devices()
    source = numbers(50)
    if made_in_scope:
        with strategy.scope():
            dataset = source.examples(initial_step=10)
    else:
        dataset = source.examples(initial_step=10)
    batches = strategy.experimental_distribute_dataset(dataset.batch(8).prefetch(2))
    for view, size in ((0, 40), (1, 50)):
        parts = [strategy.experimental_local_results(b) for b in batches]
        parts = [part for pair in parts for part in pair]
        assert np.unique(np.concatenate([p["view"] for p in parts])) == [view]
        assert len(np.unique(np.concatenate([p["index"] for p in parts]))) == size


@pytest.mark.distributed
def test_fit_under_a_strategy_spends_a_pass_on_building():
    # The docstring of `examples` says so. Keras 3.15 takes a batch in every `fit`.
    strategy = on_two_devices()
    with strategy.scope():
        views, steps = fit_on_views(numbers(20))
    assert views == [1, 2, 3]
    assert steps == [3, 3, 3]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"shuffle": 0}, ValueError, "`shuffle` must be a whole number of at least 1"),
        ({"shuffle": "yes"}, TypeError, "shuffle='yes'"),
        ({"seed": -1}, ValueError, "seed=-1"),
        ({"initial_epoch": -1}, ValueError, "initial_epoch=-1"),
        ({"initial_step": 1.0}, TypeError, "initial_step=1.0"),
        ({"initial_step": 20}, ValueError, "which has 20.*add 1 to `initial_epoch`"),
    ],
)
def test_arguments_of_examples_are_checked(arguments, error, says):
    with pytest.raises(error, match=says):
        numbers(20).examples(**arguments)


# Arrays.


def test_arrays_are_taken_as_they_are_then():
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)
    source = data.from_arrays(images, np.arange(6)[:, None] % 4, name="own")
    want = images.copy()
    images[:] = 0
    found = np.stack([e["image"] for e in source.dataset.as_numpy_iterator()])
    np.testing.assert_array_equal(found, want)
    assert found.dtype == np.uint8
    assert (source.name, source.shape, source.num_classes) == ("own", (4, 5, 3), 4)
    assert source.mean is source.std is source.class_names is None


def test_a_source_is_frozen():
    source = numbers(3)
    with pytest.raises(AttributeError, match="cannot assign"):
        source.size = 4
    source.indices[:] = 9
    assert source.indices.tolist() == [0, 1, 2]


def test_unknown_labels_are_unlabelled():
    source = data.from_arrays(np.zeros((3, 2, 2, 1), "uint8"))
    assert source.labels.tolist() == [UNLABELED] * 3
    assert source.num_classes is None
    partly = data.from_arrays(np.zeros((3, 2, 2, 1), "uint8"), [2, -1, 0])
    assert partly.num_classes == 3


@pytest.mark.parametrize("texts", [["good", "bäd"], np.array(["good", "bäd"])])
def test_texts_are_a_source(texts):
    source = data.from_arrays(texts, [1, 0])
    assert (source.feature, source.shape, source.size) == ("text", None, 2)
    found = [e["text"].decode() for e in source.dataset.as_numpy_iterator()]
    assert found == ["good", "bäd"]
    assert set(source.examples().element_spec) == {"index", "view", "text", "label"}


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_pixel_statistics_are_those_of_numpy(dtype):
    pixels = np.random.default_rng(0).integers(0, 256, (700, 3, 2, 3))
    images = pixels.astype(dtype) if dtype == "uint8" else (pixels / 255).astype(dtype)
    source = data.from_arrays(images).with_pixel_statistics()
    want = pixels.reshape(-1, 3) / 255
    np.testing.assert_allclose(source.mean, want.mean(0), rtol=1e-6)
    np.testing.assert_allclose(source.std, want.std(0), rtol=1e-6)
    assert all(type(m) is float for m in source.mean + source.std)


def test_one_number_serves_all_channels():
    source = data.from_arrays(np.zeros((2, 4, 4, 3)), mean=0.5, std=[0.1, 0.2, 0.3])
    assert (source.mean, source.std) == ((0.5, 0.5, 0.5), (0.1, 0.2, 0.3))


IMAGES = np.zeros((4, 8, 8, 3), "uint8")


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ([IMAGES[..., 0]], ValueError, r"\(4, 8, 8\).*images\[..., None\]"),
        ([IMAGES[:0]], ValueError, "at least one example"),
        ([3], ValueError, "at least one example"),
        ([[1, 2]], ValueError, r"or texts of shape \(n,\)"),
        ([IMAGES + 255.0], ValueError, "255 to 255. Divide by 255"),
        ([IMAGES / np.nan], ValueError, r"must lie in \[0, 1\]"),
        ([IMAGES.astype("int32")], TypeError, "int32.*astype"),
        ([IMAGES, [0, 1]], ValueError, r"\(4,\).*Received: shape \(2,\)"),
        ([IMAGES, np.eye(4)], ValueError, "argmax"),
        ([IMAGES, [0.0, 1, 2, 3]], TypeError, "class indices"),
        ([IMAGES, [0, 1, 2, 3], 3], ValueError, "num_classes.*values from 0 to 3"),
        ([IMAGES, [0, 1, -2, 3]], ValueError, "or be -1 where unknown"),
        ([IMAGES, None, 0], ValueError, "num_classes=0"),
    ],
)
def test_arrays_that_are_no_examples_are_refused(arguments, error, says):
    with pytest.raises(error, match=says), np.errstate(invalid="ignore"):
        data.from_arrays(*arguments)


@pytest.mark.parametrize("given", [{"mean": [0.5, 0.5]}, {"std": 0}, {"mean": 127.5}])
def test_statistics_that_do_not_fit_are_refused(given):
    with pytest.raises(ValueError, match="one number .* for each of 3 channels"):
        data.from_arrays(IMAGES, **given)


def test_texts_have_no_statistics():
    with pytest.raises(ValueError, match="no pixels"):
        data.from_arrays(["a"], mean=0.5)
    with pytest.raises(ValueError, match="no pixels"):
        data.from_arrays(["a"]).with_pixel_statistics()


# Known sets.


def test_digits_are_those_of_scikit_learn_in_two_parts():
    pixels, labels = load_digits(return_X_y=True)
    train, test = data.load("digits"), data.load("digits", split="test")
    assert (train.size, test.size) == (1257, 540)
    together = np.concatenate([train.indices, test.indices])
    np.testing.assert_array_equal(np.sort(together), np.arange(1797))
    for source in (train, test):
        np.testing.assert_array_equal(source.labels, labels[source.indices])
        images = np.stack([e["image"] for e in source.dataset.as_numpy_iterator()])
        want = pixels[source.indices].reshape(-1, 8, 8, 1) / 16
        np.testing.assert_array_equal(images, want.astype("float32"))
        share = np.bincount(source.labels) / source.size
        np.testing.assert_allclose(share, np.bincount(labels) / 1797, atol=2e-3)
        assert source.mean == pytest.approx((pixels[train.indices].mean() / 16,))
        assert source.std == pytest.approx((pixels[train.indices].std() / 16,))


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'pip install "keras-kd\[demo\]"'):
        data.load("digits")


@pytest.mark.parametrize(
    ("name", "split", "says"),
    [
        ("cifar-100", "train", "Did you mean 'cifar100'"),
        ("glue/sst", "train", "Did you mean 'glue/sst2'"),
        ("glue/stsb", "train", "scores from 0 to 5, not classes"),
        ("digits", "tests", "Did you mean 'test'"),
        ("tiny_imagenet", "validate", "Did you mean 'validation'"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(name, split, says):
    with pytest.raises(ValueError, match=says):
        data.load(name, split)


# Published facts of real sets: class counts, and means and deviations of pixels.


@pytest.mark.data("mnist")
def test_mnist_is_the_published_set():
    source = data.load("mnist", split="test")
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(source.labels).tolist() == counts
    assert (source.shape, source.num_classes) == ((28, 28, 1), 10)
    found = source.with_pixel_statistics()
    np.testing.assert_allclose(found.mean, source.mean, atol=3e-3)
    np.testing.assert_allclose(found.std, source.std, atol=3e-3)


@pytest.mark.data("cifar100")
def test_cifar100_has_fine_labels():
    source = data.load("cifar100", split="test")
    np.testing.assert_array_equal(np.bincount(source.labels), np.full(100, 100))
    assert (source.shape, source.num_classes) == ((32, 32, 3), 100)
    assert source.class_names[:2] == ("apple", "aquarium_fish")
    found = source.with_pixel_statistics()
    np.testing.assert_allclose(found.mean, source.mean, atol=3e-3)
    np.testing.assert_allclose(found.std, source.std, atol=3e-3)


@pytest.mark.data("imdb_reviews")
def test_imdb_has_as_many_good_as_bad_reviews():
    source = data.load("imdb_reviews", split="test")
    assert np.bincount(source.labels).tolist() == [12500, 12500]
    assert source.class_names == ("neg", "pos")
    assert next(iter(source.examples()))["text"].dtype == tf.string


@pytest.mark.data("mnist")
def test_a_set_on_disk_has_the_order_of_the_one_in_memory():
    disk, memory = (data.load("mnist", "test", in_memory=m) for m in (False, True))
    np.testing.assert_array_equal(disk.labels, memory.labels)
    pairs = zip(disk.dataset.take(50), memory.dataset, strict=False)
    for found, want in pairs:
        assert found["index"] == want["index"]
        np.testing.assert_array_equal(found["image"], want["image"])
