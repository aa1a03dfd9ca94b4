"""Folders of images, beside what Keras reads of them."""

import keras
import numpy as np
import pytest

from keras_kd import UNLABELED, data


def save(path, seed, shape=(5, 4, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    keras.utils.save_img(path, pixels, scale=False)
    return pixels


@pytest.fixture
def pets(tmp_path):
    """Three classes; images of two sizes, at two depths, in two formats."""
    top = tmp_path / "pets"
    names = ["dog/b.png", "dog/a.PNG", "cat/old/1.png", "cat/10.png", "cat/2.png"]
    for seed, name in enumerate(names):
        save(top / name, seed, (5 + seed % 2, 4, 3))
    save(top / "ant" / "1.jpg", 9)
    (top / "ant" / "notes.txt").write_text("no image")
    (top / ".hidden").mkdir()
    return top


def images_of(source):
    return [e["image"] for e in source.dataset.as_numpy_iterator()]


def test_a_folder_is_what_keras_reads(pets):
    source = data.from_directory(pets, image_size=(3, 6))
    theirs = keras.utils.image_dataset_from_directory(
        pets, image_size=(3, 6), shuffle=False, batch_size=None, verbose=False
    )
    rows = list(theirs.as_numpy_iterator())
    assert list(source.class_names) == theirs.class_names == ["ant", "cat", "dog"]
    assert source.labels.tolist() == [label for _, label in rows] == [0, 1, 1, 1, 2, 2]
    assert (source.num_classes, source.shape) == (3, (3, 6, 3))
    for found, (want, _) in zip(images_of(source), rows, strict=True):
        assert found.dtype == np.uint8
        np.testing.assert_allclose(found, want, atol=0.501)


def test_in_memory_or_from_disk_the_images_are_the_same(pets):
    disk, memory = (
        data.from_directory(pets, (3, 6), in_memory=keep) for keep in (False, True)
    )
    np.testing.assert_array_equal(images_of(disk), images_of(memory))
    assert disk.labels.tolist() == memory.labels.tolist()
    orders = [[int(e["index"]) for e in s.examples(seed=2)] for s in (disk, memory)]
    assert orders[0] == orders[1] != sorted(orders[0])


def test_images_keep_their_own_sizes_where_none_is_given(tmp_path):
    want = [save(tmp_path / "a" / f"{i}.png", i, (3 + i, 4, 3)) for i in range(2)]
    source = data.from_directory(tmp_path)
    assert source.shape == (None, None, 3)
    for found, pixels in zip(images_of(source), want, strict=True):
        np.testing.assert_array_equal(found, pixels)
    assert source.examples().element_spec["image"].shape == (None, None, 3)
    mean = np.concatenate([p.reshape(-1, 3) for p in want]).mean(0) / 255
    np.testing.assert_allclose(source.with_pixel_statistics().mean, mean)


def test_a_flat_folder_has_no_labels(tmp_path):
    for name in ("b", "a", "c"):
        save(tmp_path / f"{name}.png", ord(name))
    source = data.from_directory(tmp_path, (5, 4), channels=1)
    assert source.labels.tolist() == [UNLABELED] * 3
    assert source.num_classes is source.class_names is None
    assert source.shape == (5, 4, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"path": "nowhere"}, "must be a folder of images.*nowhere"),
        ({"path": "empty"}, "has no images.*\\.png"),
        ({"path": "mixed"}, "both beside and inside.*'1.png'"),
        ({"path": "good", "image_size": 32}, r"\(height, width\).*32"),
        ({"path": "good", "image_size": (0, 3)}, "at least 1"),
        ({"path": "good", "channels": 2}, "channels=2"),
        ({"path": "good", "in_memory": True}, "different sizes"),
        ({"path": "good", "mean": (0.5, 0.5)}, "each of 3 channels"),
    ],
)
def test_a_folder_that_is_none_is_refused(tmp_path, arguments, says):
    (tmp_path / "empty").mkdir()
    for name in ("mixed/1.png", "mixed/a/1.png", "good/a/1.png"):
        save(tmp_path / name, 0)
    path = tmp_path / arguments.pop("path")
    with pytest.raises(ValueError, match=says):
        data.from_directory(path, **arguments)


@pytest.fixture
def tiny_imagenet(tmp_path):
    """An archive of three images in each split, laid out as the real one."""
    top = tmp_path / "tiny-imagenet-200"
    shape = (64, 64, 3)
    for i, word in enumerate(["n02", "n01", "n01"]):
        save(top / "train" / word / "images" / f"{word}_{i}.JPEG", i, shape)
        save(top / "val" / "images" / f"val_{i}.JPEG", 10 + i, shape)
        save(top / "test" / "images" / f"test_{i}.JPEG", 20 + i, shape)
    rows = [f"val_{i}.JPEG\tn0{2 - i % 2}\t0\t0\t63\t63\n" for i in (2, 0, 1)]
    (top / "val" / "val_annotations.txt").write_text("".join(rows))
    return tmp_path


@pytest.mark.parametrize(
    ("split", "labels"),
    [("train", [0, 0, 1]), ("validation", [1, 0, 1]), ("test", [UNLABELED] * 3)],
)
def test_tiny_imagenet_is_read_from_its_archive(tiny_imagenet, split, labels):
    source = data.load("tiny_imagenet", split, data_dir=tiny_imagenet)
    assert source.labels.tolist() == labels
    assert source.class_names == ("n01", "n02")
    assert (source.size, source.num_classes, source.shape) == (3, 2, (64, 64, 3))
    assert source.mean == (0.4802, 0.4481, 0.3975)


def test_without_its_archive_the_command_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"curl .*unzip .*TFDS_DATA_DIR"):
        data.load("tiny_imagenet")
