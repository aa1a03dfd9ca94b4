"""Data that a student is shown: sources, splits, augmentation, mixing, synthesis."""

from keras_kd.data.mixing import classic_mixup, cutmix, mixup, uniform_noise
from keras_kd.data.synthetic import (
    fixed_gan_samples,
    gan_samples,
    out_of_distribution,
    sample_images,
)
from keras_kd.data.targets import inputs_and_labels, unlabelled, with_temperature
from keras_kd.data.text import basic_english, text_vectorization, tokenize

__all__ = [
    "basic_english",
    "classic_mixup",
    "cutmix",
    "fixed_gan_samples",
    "gan_samples",
    "inputs_and_labels",
    "mixup",
    "out_of_distribution",
    "sample_images",
    "text_vectorization",
    "tokenize",
    "uniform_noise",
    "unlabelled",
    "with_temperature",
]
