"""The networks of the papers: functional models that give logits."""

from keras_kd.models.lstm import BiLSTM

__all__ = [
    "BiLSTM",
]
