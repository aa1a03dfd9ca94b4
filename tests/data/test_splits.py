"""Splits: disjoint, whole, with the numbers of the source, whatever is shuffled."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from sklearn.model_selection import StratifiedShuffleSplit

from keras_kd import data
from keras_kd.data._storage import Records

# Of 100 examples 10, 20, 30 and 40 are of the classes 0 to 3.
LABELS = np.repeat([0, 1, 2, 3], [10, 20, 30, 40])


def in_memory(size=100, labels=LABELS):
    pixels = (np.arange(size) / size).astype("float32").reshape(-1, 1, 1, 1)
    return data.from_arrays(pixels, None if labels is None else labels[:size])


def on_disk():
    whole = in_memory()
    store = Records(whole.dataset, dict, whole.size)
    return data.Source("records", 100, 4, whole.shape, "image", _store=store)


each_kind = pytest.mark.parametrize("kind", [in_memory, on_disk])


def cut(source, seed=0):
    """All splits, with their own names."""
    d0, d1 = data.halves(source, seed)
    train, validation = data.held_out(source, 0.3, seed)
    few = data.subsample(source, 10, seed=seed)
    some = data.subsample(source, 10, stratify=False, seed=seed)
    return [d0, d1, train, validation, few, some]


@each_kind
@pytest.mark.parametrize(
    ("parts", "sizes"),
    [
        (lambda s: data.halves(s), (50, 50)),
        (lambda s: data.halves(data.subsample(s, 7)), (3, 4)),
        (lambda s: data.held_out(s, 0.2), (80, 20)),
        (lambda s: data.held_out(s, 1), (99, 1)),
        (lambda s: data.held_out(s, 0.001), (99, 1)),
    ],
)
def test_two_parts_have_no_common_example_and_all_together(kind, parts, sizes):
    source = kind()
    first, second = parts(source)
    assert (first.size, second.size) == sizes
    assert not set(first.indices) & set(second.indices)
    both = data.union(first, second)
    assert both.size == sum(sizes)
    np.testing.assert_array_equal(
        both.indices, np.sort([*first.indices, *second.indices])
    )


@each_kind
def test_a_part_keeps_the_numbers_and_shows_nothing_else(kind):
    source = kind()
    for part in cut(source):
        np.testing.assert_array_equal(part.labels, LABELS[part.indices])
        (found,) = part.examples(seed=3).batch(100).as_numpy_iterator()
        assert int(part.examples().cardinality()) == part.size
        assert sorted(found["index"]) == part.indices.tolist()
        assert found["index"].tolist() != part.indices.tolist()
        np.testing.assert_allclose(found["image"].ravel(), found["index"] / 100)
        (rows,) = part.dataset.batch(100).as_numpy_iterator()
        assert rows["index"].tolist() == part.indices.tolist()


def test_a_split_is_the_same_in_memory_and_on_disk_and_whatever_is_shuffled():
    source = in_memory()
    before = [part.indices.tolist() for part in cut(source)]
    list(source.examples(seed=9))
    tf.random.set_seed(5)
    np.random.default_rng(5)
    assert [part.indices.tolist() for part in cut(source)] == before
    assert [part.indices.tolist() for part in cut(on_disk())] == before


def test_another_seed_and_another_split_draw_anew():
    source = in_memory()
    drawn = [tuple(p.indices) for seed in range(3) for p in cut(source, seed)[:-1]]
    assert len(set(drawn)) == len(drawn)
    (half, _), (_, half_held_out) = data.halves(source), data.held_out(source, 50)
    few = data.subsample(source, 50, stratify=False)
    for a, b in [(half, half_held_out), (half, few), (few, half_held_out)]:
        # Two random halves of 100 share 25 examples, give or take 2.5.
        assert abs(len(set(a.indices) & set(b.indices)) - 25) <= 3 * 2.51


def test_halves_take_no_account_of_classes():
    # The count of class 3 in D0 is hypergeometric: mean 20, not always 20.
    source = in_memory()
    counts = [(data.halves(source, seed)[0].labels == 3).sum() for seed in range(200)]
    law = stats.hypergeom(100, 40, 50)
    error = law.std() / np.sqrt(200)
    assert abs(np.mean(counts) - law.mean()) < 3 * error
    assert abs(np.var(counts) / law.var() - 1) < 3 * np.sqrt(2 / 199)


def test_every_example_is_as_likely_as_any_other():
    source = in_memory(10)
    chosen = [data.held_out(source, 5, seed)[1].indices for seed in range(400)]
    counts = np.bincount(np.concatenate(chosen))
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("n", [4, 10, 13, 37, 99, 100])
def test_a_stratified_sample_has_the_shares_of_the_source(n):
    few = data.subsample(in_memory(), n)
    counts = np.bincount(few.labels, minlength=4)
    assert counts.sum() == few.size == n
    assert np.abs(counts - n * np.array([0.1, 0.2, 0.3, 0.4])).max() < 1
    if n < 97:  # scikit-learn wants one of each class for the other part too
        splitter = StratifiedShuffleSplit(1, train_size=n, random_state=0)
        ((chosen, _),) = splitter.split(LABELS, LABELS)
        assert np.abs(counts - np.bincount(LABELS[chosen])).max() <= 1


@pytest.mark.data("mnist")
def test_the_paper_s_sample_of_mnist_has_its_shares():
    source = data.load("mnist", split="test", in_memory=False)
    few = data.subsample(source, 200)
    exact = 200 * np.bincount(source.labels) / source.size
    assert np.abs(np.bincount(few.labels) - exact).max() < 1


def test_parts_of_parts_keep_the_numbers_too():
    source = in_memory()
    _, d1 = data.halves(source)
    train, validation = data.held_out(d1, 10)
    assert set(train.indices) | set(validation.indices) == set(d1.indices)
    few = data.subsample(train, 4)
    assert set(few.indices) < set(train.indices)
    np.testing.assert_array_equal(few.labels, LABELS[few.indices])


def test_in_a_union_every_example_counts_once():
    source = in_memory()
    d0, d1 = data.halves(source)
    few = data.subsample(source, 20)
    assert data.union(d0, d0).indices.tolist() == d0.indices.tolist()
    assert set(data.union(d0, few).indices) == {*d0.indices, *few.indices}
    assert data.union(d0, d1).indices.tolist() == source.indices.tolist()


def test_parts_of_digits_keep_their_own_numbers():
    train = data.load("digits")
    d0, d1 = data.halves(train)
    assert set(d0.indices) | set(d1.indices) == set(train.indices)
    (row,) = d0.dataset.take(1).as_numpy_iterator()
    (want,) = train.dataset.filter(lambda e: e["index"] == row["index"])
    np.testing.assert_array_equal(row["image"], want["image"])


def test_names_tell_the_parts_apart():
    names = [part.name for part in cut(in_memory())]
    assert names[:4] == [
        "arrays/D0",
        "arrays/D1",
        "arrays/training",
        "arrays/validation",
    ]


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda s: data.subsample(s, 101), ValueError, "needs 101 .* has 100"),
        (lambda s: data.subsample(s, 0), ValueError, "n=0"),
        (lambda s: data.subsample(s, 0.5), TypeError, "n=0.5"),
        (lambda s: data.subsample(s, 3), ValueError, "n=3 .* each of 4 classes"),
        (lambda s: data.held_out(s, 100), ValueError, "100 for validation .* has 100"),
        (lambda s: data.held_out(s, 0), ValueError, "fraction_or_n=0"),
        (lambda s: data.held_out(s, 1.0), ValueError, "between 0 and 1.*=1.0"),
        (lambda s: data.held_out(s, "half"), TypeError, "fraction_or_n='half'"),
        (lambda s: data.halves(s, seed=-1), ValueError, "seed=-1"),
        (
            lambda s: data.halves(data.subsample(s, 1, stratify=False)),
            ValueError,
            "Two halves needs? 2",
        ),
        (lambda s: data.union(s, in_memory()), ValueError, "Load once"),
        (
            lambda s: data.subsample(in_memory(9, labels=None), 2),
            ValueError,
            "without a label.*stratify=False",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_the_call(call, error, says):
    with pytest.raises(error, match=says):
        call(in_memory())


def test_without_labels_a_plain_sample_is_drawn():
    few = data.subsample(in_memory(9, labels=None), 2, stratify=False)
    assert few.size == 2
