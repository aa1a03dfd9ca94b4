"""Answers of a teacher, written once and read by any job."""

from keras_kd.data.label_store.label_store import LabelStore

__all__ = ["LabelStore"]
