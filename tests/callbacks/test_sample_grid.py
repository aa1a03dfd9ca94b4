"""Pictures of what a generator makes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_kd.callbacks import SampleGrid, image_grid


class Generator(keras.Model):
    """Stands for an SN-GAN: each image is of one gray, that of its label."""

    def __init__(self, num_classes=None):
        super().__init__()
        self.num_classes = num_classes
        self.calls = []

    def generate(self, count, labels=None, *, seed=0):
        self.calls.append((count, seed))
        grays = np.zeros(count) if labels is None else labels / 5
        return np.broadcast_to(grays[:, None, None, None], (count, 4, 4, 1))


def fit(callback, epochs, model=None):
    model = model or Generator()
    callback.set_model(model)
    for epoch in range(epochs):
        callback.on_epoch_end(epoch)
    callback.on_train_end()
    return model


def read(path):
    return tf.io.decode_png(tf.io.read_file(str(path))).numpy()


def test_images_stand_in_rows():
    images = np.stack([np.full((2, 3, 1), v) for v in (-1.0, 0.0, 1.0)])
    grid = image_grid(images, columns=2, padding=1)[..., 0]
    white = [255] * 9
    first = [255, 0, 0, 0, 255, 128, 128, 128, 255]
    second = [255, 255, 255, 255, 255, 255, 255, 255, 255]
    expected = [white, first, first, white, second, second, white]
    np.testing.assert_array_equal(grid, expected)


@pytest.mark.parametrize(
    ("every", "epochs", "shown"), [(1, 2, [1, 2]), (2, 5, [2, 4, 5]), (9, 1, [1])]
)
def test_a_picture_at_every_so_many_epochs_and_at_the_last(
    every, epochs, shown, tmp_path
):
    fit(SampleGrid(directory=tmp_path, every=every, num_samples=4), epochs)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"samples_{i:04d}.png" for i in shown]


def test_pictures_show_the_same_latent_vectors(tmp_path):
    model = fit(SampleGrid(directory=tmp_path, num_samples=6, seed=3), 2)
    assert model.calls == [(6, 3), (6, 3)]


def test_classes_are_shown_in_turn(tmp_path):
    callback = SampleGrid(directory=tmp_path, num_samples=4, columns=4)
    fit(callback, 1, Generator(num_classes=2))
    row = read(tmp_path / "samples_0001.png")[2, :, 0]
    grays = [row[2], row[8], row[14], row[20]]
    assert grays == [128, 153, 128, 153]


def test_tensorboard_gets_the_picture(tmp_path):
    fit(SampleGrid(tmp_path, num_samples=4, columns=2), 1)
    (path,) = tmp_path.iterdir()
    values = [
        value
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    ]
    (picture,) = [value for value in values if value.tag == "samples"]
    image = tf.io.decode_png(picture.tensor.string_val[2])
    assert image.shape == (14, 14, 1)


def test_somewhere_to_show_it_is_needed():
    with pytest.raises(ValueError, match="log_dir"):
        SampleGrid()


def test_a_model_that_generates_nothing_is_refused(tmp_path):
    with pytest.raises(TypeError, match="SNGAN"):
        SampleGrid(tmp_path).set_model(keras.Sequential())
