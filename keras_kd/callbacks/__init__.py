"""Keras callbacks that watch what the student learns."""

from keras_kd.callbacks.fidelity_monitor import FidelityMonitor
from keras_kd.callbacks.sample_grid import SampleGrid, image_grid

__all__ = [
    "FidelityMonitor",
    "SampleGrid",
    "image_grid",
]
