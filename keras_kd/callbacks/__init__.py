"""Keras callbacks that watch what the student learns."""

from keras_kd.callbacks.fidelity_monitor import FidelityMonitor

__all__ = ["FidelityMonitor"]
