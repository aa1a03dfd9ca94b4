"""Data that a student is shown: sources, splits, augmentation, mixing, synthesis."""

from keras_kd.data import ops
from keras_kd.data.augmentation import (
    AugmentationPolicy,
    augment,
    normalize,
    policy,
)
from keras_kd.data.label_store import LabelStore
from keras_kd.data.mixing import classic_mixup, cutmix, mixup, uniform_noise
from keras_kd.data.sources import Source, from_arrays, from_directory, load
from keras_kd.data.splits import halves, held_out, subsample, union
from keras_kd.data.synthetic import (
    fixed_gan_samples,
    gan_samples,
    out_of_distribution,
    sample_images,
)
from keras_kd.data.targets import inputs_and_labels, unlabelled, with_temperature
from keras_kd.data.text import basic_english, text_vectorization, tokenize

__all__ = [
    "AugmentationPolicy",
    "LabelStore",
    "Source",
    "augment",
    "basic_english",
    "classic_mixup",
    "cutmix",
    "fixed_gan_samples",
    "from_arrays",
    "from_directory",
    "gan_samples",
    "halves",
    "held_out",
    "inputs_and_labels",
    "load",
    "mixup",
    "normalize",
    "ops",
    "out_of_distribution",
    "policy",
    "sample_images",
    "subsample",
    "text_vectorization",
    "tokenize",
    "uniform_noise",
    "union",
    "unlabelled",
    "with_temperature",
]
