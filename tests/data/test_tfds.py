"""Sets of TensorFlow Datasets: small ones, written here by TFDS's own builders."""

import http.server
import os
import socket
import sys
import threading

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_kd import UNLABELED, data
from keras_kd.data import _tfds

RNG = np.random.default_rng(0)
EMNIST = RNG.integers(0, 256, (7, 28, 28, 1), np.uint8)
PAIRS = [(f"one {i}", f"two {i}", i % 2) for i in range(6)]
WIDE = [RNG.integers(0, 256, (8 + i, 12, 3), np.uint8) for i in range(40)]


def emnist():
    for i, image in enumerate(EMNIST):
        yield i, {"image": image, "label": i}


def pairs():
    for i, (first, second, label) in enumerate(PAIRS):
        texts = {"sentence1": first, "sentence2": second}
        yield i, {**texts, "label": label if i else -1, "idx": i}


def phrases():
    for i in range(5):
        yield i, {"sentence": f"phrase {i}", "label": i % 2, "idx": i}


def photographs():
    for i, image in enumerate(WIDE):
        yield i, {"image": image, "label": i, "file_name": f"{i}.JPEG"}


SETS = {
    "emnist/byclass": emnist,
    "glue/mrpc": pairs,
    "glue/sst2": phrases,
    "imagenet2012": photographs,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data_dir with the sets above, in three files each."""
    tfds.disable_progress_bar()
    top = tmp_path_factory.mktemp("tfds")
    for name, generate in SETS.items():
        builder = tfds.builder(name, data_dir=top)
        builder._split_generators = lambda *_, generate=generate: {"train": generate()}
        builder.MANUAL_DOWNLOAD_INSTRUCTIONS = None
        config = tfds.download.DownloadConfig(num_shards=3)
        builder.download_and_prepare(download_config=config)
    return str(top)


@pytest.fixture
def load(folder, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", folder)
    return data.load


def rows_of(source):
    return list(source.dataset.as_numpy_iterator())


def test_emnist_is_turned_upright(load):
    source = load("emnist/byclass")
    assert (source.size, source.num_classes, source.shape) == (7, 62, (28, 28, 1))
    rows = rows_of(source)
    assert sorted(row["label"] for row in rows) == list(range(7))
    for row in rows:
        upright = EMNIST[row["label"]].transpose(1, 0, 2)
        np.testing.assert_array_equal(row["image"], upright)


def test_a_pair_of_sentences_is_text_and_text_pair(load):
    source = load("glue/mrpc")
    assert (source.feature, source.num_classes, source.mean) == ("text", 2, None)
    found = {(r["text"].decode(), r["text_pair"].decode()) for r in rows_of(source)}
    assert found == {(first, second) for first, second, _ in PAIRS}
    assert sorted(source.labels) == [UNLABELED, 0, 0, 1, 1, 1]
    assert source.class_names == ("not_equivalent", "equivalent")


def test_a_sentence_is_text(load):
    source = load("glue/sst2", in_memory=False)
    keys = {"index", "view", "text", "label"}
    assert set(source.examples().element_spec) == keys
    assert {row["text"] for row in rows_of(source)} == {
        f"phrase {i}".encode() for i in range(5)
    }


def test_images_of_many_sizes_stay_on_disk(load):
    source = load("imagenet2012")
    assert (source.shape, source.num_classes) == ((None, None, 3), 1000)
    for row in source.examples(seed=1).as_numpy_iterator():
        # JPEG loses a little, but no image looks like another one.
        assert row["image"].shape == WIDE[row["label"]].shape
    with pytest.raises(ValueError, match="different sizes.*Leave `in_memory` out"):
        load("imagenet2012", in_memory=True)


def test_numbers_of_a_set_in_several_files_are_stable(load):
    source = load("imagenet2012")
    assert sorted(source.labels) == list(range(40))
    for _ in range(3):
        rows = rows_of(load("imagenet2012"))
        assert [row["index"] for row in rows] == list(range(40))
        assert [row["label"] for row in rows] == source.labels.tolist()
    shuffled = {e["index"]: e["label"] for e in source.examples().as_numpy_iterator()}
    assert [shuffled[i] for i in range(40)] == source.labels.tolist()


def test_splits_of_a_set_on_disk_show_their_part(load):
    source = load("imagenet2012")
    d0, d1 = data.halves(source)
    labels = {e["label"] for e in d0.examples().as_numpy_iterator()}
    assert labels == set(source.labels) - set(d1.labels)


@pytest.mark.parametrize("name", ["emnist/byclass", "glue/mrpc", "glue/sst2"])
def test_in_memory_and_on_disk_hold_the_same(load, name):
    for found, want in zip(
        rows_of(load(name, in_memory=False)), rows_of(load(name)), strict=True
    ):
        assert found.keys() == want.keys()
        for key in found:
            np.testing.assert_array_equal(found[key], want[key])


def test_data_dir_wins_over_the_environment(load, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert data.load("glue/sst2", data_dir=folder).size == 5


def test_an_unknown_split_is_answered_with_those_there_are(load):
    with pytest.raises(ValueError, match=r"\['train'\].*'tran'.*mean 'train'"):
        load("glue/sst2", split="tran")


# Sets that are not at hand.


@pytest.mark.parametrize("name", ["cifar10", "glue/qnli", "svhn_cropped"])
def test_out_of_reach_a_set_is_an_error_at_once(name, tmp_path, monkeypatch):
    monkeypatch.setattr(_tfds, "answers", lambda url: False)
    with pytest.raises(FileNotFoundError) as raised:
        data.load(name, data_dir=tmp_path / "none")
    for text in (repr(name), "does not answer", f"tfds.load('{name}'", "TFDS_DATA_DIR"):
        assert text in str(raised.value)
    assert not (tmp_path / "none").exists()


def test_a_set_to_be_fetched_by_hand_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"by hand.*ILSVRC2012_img_train.tar"):
        data.load("imagenet2012", data_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_leave_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setattr(_tfds, "answers", lambda url: pytest.fail("asked a server"))
    with pytest.raises(FileNotFoundError, match="download=False"):
        data.load("cifar10", data_dir=tmp_path, download=False)


def test_within_reach_tfds_prepares_the_set(tmp_path, monkeypatch):
    class Called(Exception):
        pass

    def prepare(builder):
        raise Called(builder.name, str(builder.data_dir))

    monkeypatch.setattr(_tfds, "answers", lambda url: "cs.toronto.edu" in url)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", prepare)
    with pytest.raises(Called, match=f"cifar10.*{tmp_path}"):
        data.load("cifar10", data_dir=tmp_path)


@pytest.mark.parametrize("missing", ["tensorflow_datasets", "importlib_resources"])
def test_without_tfds_the_extra_is_named(missing, tmp_path, monkeypatch):
    monkeypatch.setattr(_tfds, "answers", lambda url: True)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r'pip install "keras-kd\[datasets\]"'):
        data.load("cifar10", data_dir=tmp_path)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("status", [200, 403, 404, 500])
def test_a_server_that_says_anything_answers(server, status):
    assert _tfds.answers(f"{server}/{status}")


def test_a_closed_port_does_not_answer():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert not _tfds.answers(f"http://127.0.0.1:{port}/")
    assert not _tfds.answers("no address")


def test_a_silent_server_is_left():
    """It would never answer: that the call returns shows its limit."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert not _tfds.answers(address, seconds=0.3)


def test_the_default_folder_is_that_of_tfds(monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    assert _tfds.default_folder(None) == os.path.expanduser("~/tensorflow_datasets")
