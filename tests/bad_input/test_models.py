"""One row for each mistake that a user can make with models and generators."""

import keras
import numpy as np
import pytest

import keras_kd
from bad_input import Row, check
from keras_kd.callbacks import SampleGrid
from keras_kd.metrics import frechet_distance, inception_score
from keras_kd.models import SNGAN

ROWS = [
    Row(
        "depth of a pre-activation ResNet",
        lambda: keras_kd.models.PreActResNet(21),
        ValueError,
        [r"must be 6n\+2: 8, 14, 20", r"from 44 on 9n\+2: 47, 56", "depth=21"],
    ),
    Row(
        "depth of a pre-activation ResNet with bottlenecks",
        lambda: keras_kd.models.PreActResNet(50),
        ValueError,
        [r"must be 9n\+2: 47, 56, 65", r"below 44 6n\+2: 8, 14", "depth=50"],
    ),
    Row(
        "unknown normalization",
        lambda: keras_kd.models.PreActResNet(20, normalization="layr"),
        ValueError,
        ["normalization='layr'", r"\['batch', 'layer', None\]", "mean 'layer'"],
    ),
    Row(
        "image that cannot be pooled in tiles",
        lambda: keras_kd.models.PreActResNet(20, input_shape=(48, 48, 3)),
        ValueError,
        [r"\(48, 48, 3\)", "multiples of 32", "Resize or pad"],
    ),
    Row(
        "depth of a CIFAR ResNet",
        lambda: keras_kd.models.CIFARResNet(18),
        ValueError,
        [r"must be 6n\+2: 8, 14, 20", "depth=18"],
    ),
    Row(
        "width of a CIFAR ResNet",
        lambda: keras_kd.models.CIFARResNet(20, 2),
        ValueError,
        ["must be 1 or 4", "width=2", "WideResNet takes any"],
    ),
    Row(
        "depth of a wide ResNet",
        lambda: keras_kd.models.WideResNet(20, 2),
        ValueError,
        [r"must be 6n\+4: 10, 16, 22", "depth=20"],
    ),
    Row(
        "depth of a VGG",
        lambda: keras_kd.models.VGG(12),
        ValueError,
        [r"one of \[8, 11, 13, 16, 19\]", "depth=12"],
    ),
    Row(
        "stem of a ResNet",
        lambda: keras_kd.models.ResNet18(stem="cifar10"),
        ValueError,
        ["stem='cifar10'", r"\['imagenet', 'cifar'\]", "mean 'cifar'"],
    ),
    Row(
        "patches that do not fit the image",
        lambda: keras_kd.models.ViT("tiny", input_shape=(40, 40, 3)),
        ValueError,
        ["patch_size=16", r"\(40, 40, 3\)", "must divide", "16 or 32"],
    ),
    Row(
        "size of a ViT",
        lambda: keras_kd.models.ViT("smal"),
        ValueError,
        ["size='smal'", "mean 'small'"],
    ),
    Row(
        "image size with the batch",
        lambda: keras_kd.models.LeNet5(input_shape=(None, 28, 28, 1)),
        ValueError,
        [r"\(height, width, channels\), without the batch", r"\(None, 28, 28, 1\)"],
    ),
    Row(
        "one class",
        lambda: keras_kd.models.MobileNetV2(num_classes=1),
        ValueError,
        ["num_classes=1", "at least 2"],
    ),
    Row(
        "unknown recipe of an SN-GAN",
        lambda: SNGAN((8, 8, 1), training="realeased"),
        ValueError,
        ["training='realeased'", "Did you mean 'released'"],
    ),
    Row(
        "image that no generator makes",
        lambda: SNGAN((30, 30, 3)),
        ValueError,
        ["multiple of 4", r"\(30, 30, 3\)", "Resize or pad"],
    ),
    Row(
        "weight decay of what has no weights",
        lambda: keras_kd.models.coupled_weight_decay(keras.Sequential(), 1e-4),
        ValueError,
        ["built keras.Model", "give it an Input"],
    ),
    Row(
        "pictures for nobody",
        lambda: SampleGrid(),
        ValueError,
        ["log_dir", "directory", "Received neither"],
    ),
    Row(
        "features of two layers",
        lambda: frechet_distance(np.zeros((4, 2)), np.zeros((4, 3))),
        ValueError,
        ["one length", r"\(4, 2\)", r"\(4, 3\)"],
    ),
    Row(
        "more parts than images",
        lambda: inception_score(np.zeros((4, 2)), 5),
        ValueError,
        ["num_splits=5", "1 to the number of images, 4"],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_mistake_is_answered_at_the_call(row):
    check(row)
