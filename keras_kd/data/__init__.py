"""Data that a student is shown: sources, splits, augmentation, mixing, synthesis."""

from keras_kd.data.text import basic_english, text_vectorization, tokenize

__all__ = [
    "basic_english",
    "text_vectorization",
    "tokenize",
]
