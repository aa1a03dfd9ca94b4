"""Ops of an augmentation policy: a draw of parameters and a function of one image."""

from keras_kd.data.ops.auto_augment import AutoAugment, RandAugment
from keras_kd.data.ops.base import ImageOp
from keras_kd.data.ops.color import ColorJitter, RandomGrayscale
from keras_kd.data.ops.crops import RandomCrop, RandomResizedCrop, Resize
from keras_kd.data.ops.cutout import Cutout
from keras_kd.data.ops.filters import GaussianBlur
from keras_kd.data.ops.flips import RandomHorizontalFlip, RandomVerticalFlip
from keras_kd.data.ops.layer_op import LayerOp
from keras_kd.data.ops.random_apply import RandomApply
from keras_kd.data.ops.released_auto_augment import ReleasedAutoAugment
from keras_kd.data.ops.rotations import RandomPerspective, RandomRotation

__all__ = [
    "AutoAugment",
    "ColorJitter",
    "Cutout",
    "GaussianBlur",
    "ImageOp",
    "LayerOp",
    "RandAugment",
    "RandomApply",
    "RandomCrop",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomPerspective",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomVerticalFlip",
    "ReleasedAutoAugment",
    "Resize",
]
