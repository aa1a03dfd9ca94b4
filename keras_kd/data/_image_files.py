"""Images in files: a folder for each class, or all in one."""

import os
from pathlib import Path

import tensorflow as tf

from keras_kd._common import checks
from keras_kd._common.batch import UNLABELED
from keras_kd.data._storage import Table

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


def list_folder(path):
    """`(files, labels, class_names)`, sorted; no class names where there are none."""
    top = Path(path)
    if not top.is_dir():
        raise ValueError(f"`path` must be a folder of images. Received: path={path!r}.")
    folders = sorted(f for f in top.iterdir() if f.is_dir() and f.name[0] != ".")
    by_class = {folder.name: images_below(folder) for folder in folders}
    loose = sorted(f for f in top.iterdir() if _is_image(f))
    if loose and any(by_class.values()):
        raise ValueError(
            f"{path} has images both beside and inside of its sub-folders. Put each "
            "image into the folder of its class, or all of them into one folder "
            f"without sub-folders. Beside them is {loose[0].name!r}."
        )
    if loose:
        return loose, [UNLABELED] * len(loose), None
    files = [f for images in by_class.values() for f in images]
    if not files:
        raise ValueError(
            f"{path} has no images: files that end in {', '.join(ENDINGS)}, in one "
            "sub-folder a class or all beside each other."
        )
    sizes = [len(images) for images in by_class.values()]
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    return files, labels, tuple(by_class)


def images_below(folder):
    """Files at any depth, in the same order on every system."""
    return sorted(f for f in folder.rglob("*") if _is_image(f))


def _is_image(path):
    return path.suffix.lower() in ENDINGS and path.name[0] != "." and path.is_file()


def table_of_files(files, labels, image_size, channels):
    """Rows of path and label, which turn into uint8 images when they are read."""

    def decode(row):
        image = tf.io.decode_image(
            tf.io.read_file(row["path"]), channels, expand_animations=False
        )
        image = tf.ensure_shape(image, [None, None, channels])
        if image_size is not None:
            image = tf.image.resize(tf.cast(image, tf.float32), image_size)
            image = tf.cast(tf.round(image), tf.uint8)
        numbers = {key: row[key] for key in ("index", "view") if key in row}
        return {**numbers, "image": image, "label": row["label"]}

    paths = tf.constant([os.fspath(file) for file in files])
    return Table({"path": paths, "label": tf.constant(labels, tf.int64)}, decode)


def check_image_size(image_size):
    """`(height, width)` or None."""
    if image_size is None:
        return None
    if not isinstance(image_size, (tuple, list)) or len(image_size) != 2:
        raise ValueError(
            "`image_size` must be (height, width), or None to keep each image's own. "
            f"Received: image_size={image_size!r}."
        )
    return tuple(
        checks.check_whole_number("image_size", side, at_least=1) for side in image_size
    )


def list_tiny_imagenet(folder, split):
    """`(files, labels, class_names)` of the unpacked archive, whose splits differ."""
    top = Path(folder, "tiny-imagenet-200")
    if not (top / "train").is_dir():
        raise FileNotFoundError(
            f"Tiny-ImageNet is not in {folder}, and TensorFlow Datasets does not have "
            "it. Run `curl -O http://cs231n.stanford.edu/tiny-imagenet-200.zip && "
            f"unzip -q tiny-imagenet-200.zip -d {folder}`; or pass the folder that "
            "holds tiny-imagenet-200 as `data_dir=`, or set TFDS_DATA_DIR to it."
        )
    files, labels, names = list_folder(top / "train")
    if split == "validation":
        table = (top / "val" / "val_annotations.txt").read_text(encoding="utf-8")
        rows = sorted(line.split("\t")[:2] for line in table.splitlines())
        files = [top / "val" / "images" / name for name, _ in rows]
        labels = [names.index(word) for _, word in rows]
    elif split == "test":
        files = images_below(top / "test")
        labels = [UNLABELED] * len(files)
    return files, labels, names
