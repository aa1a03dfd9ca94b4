"""The networks of the papers: functional models that give logits."""

from keras_kd.models.lstm import BiLSTM
from keras_kd.models.sngan import SNGAN, SNGANTraining
from keras_kd.models.sngan_networks import sngan_discriminator, sngan_generator
from keras_kd.models.spectral import SpectralConv2D, SpectralDense

__all__ = [
    "SNGAN",
    "BiLSTM",
    "SNGANTraining",
    "SpectralConv2D",
    "SpectralDense",
    "sngan_discriminator",
    "sngan_generator",
]
