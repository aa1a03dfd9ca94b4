"""What a generator makes, along its training."""

import os

import numpy as np
import tensorflow as tf

from keras_kd._common.checks import check_whole_number
from keras_kd._common.files import replacing
from keras_kd.callbacks._every import EveryEpochs


def image_grid(images, columns=8, padding=2):
    """Images side by side in one picture.

    Args:
        images: `(n, height, width, channels)` array in [-1, 1], 1 or 3 channels.
        columns: Images in a row. Defaults to 8.
        padding: Pixels between images. Defaults to 2.

    Returns:
        uint8 array `(rows * (height + padding) + padding, ..., channels)`.

    Example:

    >>> keras_kd.callbacks.image_grid(np.zeros((6, 8, 8, 1)), columns=3).shape
    (22, 32, 1)
    """
    images = np.asarray(images)
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    step = (height + padding, width + padding)
    size = (rows * step[0] + padding, columns * step[1] + padding, channels)
    grid = np.full(size, 255, np.uint8)
    for i, image in enumerate(images):
        top = padding + (i // columns) * step[0]
        left = padding + (i % columns) * step[1]
        pixels = np.clip(np.round((image + 1) * 127.5), 0, 255)
        grid[top : top + height, left : left + width] = pixels
    return grid


class SampleGrid(EveryEpochs):
    """Shows the same latent vectors after every so many epochs.

    A model with several classes shows them in turn. The picture goes to TensorBoard as
    `samples`, to PNG files, or to both.

    Args:
        log_dir: Folder of TensorBoard logs. Defaults to None.
        directory: Folder for `samples_0001.png` and so on. Defaults to None.
        every: Epochs from one picture to the next; the last is always shown, also of a
            training that stops early. Defaults to 1.
        num_samples: Images in the picture. Defaults to 64.
        columns: Images in a row. Defaults to 8.
        seed: Of the latent vectors. Defaults to 0.

    Example:

    >>> import os, tempfile
    >>> training = keras_kd.models.SNGANTraining(
    ...     generator_steps=2, batch_size=5, discriminator_steps=1, minibatches=1)
    >>> gan = keras_kd.models.SNGAN((8, 8, 1), latent_dim=4, generator_width=8,
    ...                             discriminator_width=8, training=training)
    >>> gan.compile()
    >>> folder = tempfile.mkdtemp()
    >>> grid = keras_kd.callbacks.SampleGrid(directory=folder, num_samples=4)
    >>> history = gan.fit(np.zeros((5, 8, 8, 1)), verbose=0, callbacks=[grid])
    >>> os.listdir(folder)
    ['samples_0001.png']
    """

    def __init__(
        self,
        log_dir=None,
        *,
        directory=None,
        every=1,
        num_samples=64,
        columns=8,
        seed=0,
    ):
        super().__init__()
        if log_dir is None and directory is None:
            raise ValueError(
                "SampleGrid needs `log_dir` (TensorBoard), `directory` (PNG files), or "
                "both. Received neither."
            )
        self._log_dir = None if log_dir is None else os.fspath(log_dir)
        self._directory = None if directory is None else os.fspath(directory)
        self._every = check_whole_number("every", every, at_least=1)
        self._count = check_whole_number("num_samples", num_samples, at_least=1)
        self._columns = check_whole_number("columns", columns, at_least=1)
        self._seed = seed

    def set_model(self, model):
        if not callable(getattr(model, "generate", None)):
            raise TypeError(
                "SampleGrid shows a model with `generate(count, labels, seed=)`, such "
                f"as keras_kd.models.SNGAN. Received: {type(model).__name__}."
            )
        super().set_model(model)

    def _at_epoch(self, epoch, logs, is_due):
        if is_due(self._every):
            self._show(epoch)

    def _show(self, epoch):
        classes = getattr(self.model, "num_classes", None)
        labels = None if classes is None else np.arange(self._count) % classes
        images = self.model.generate(self._count, labels, seed=self._seed)
        picture = image_grid(images, self._columns)
        if self._log_dir is not None:
            writer = tf.summary.create_file_writer(self._log_dir)
            with writer.as_default(step=epoch):
                tf.summary.image("samples", picture[None])
            writer.close()
        if self._directory is not None:
            os.makedirs(self._directory, exist_ok=True)
            path = os.path.join(self._directory, f"samples_{epoch + 1:04d}.png")
            with replacing(path) as temporary:
                tf.io.write_file(temporary, tf.io.encode_png(picture))
