"""Keras callbacks that watch what the student learns."""

from keras_kd.callbacks.checkpoint_trajectory import CheckpointTrajectory, Snapshot
from keras_kd.callbacks.fidelity_monitor import FidelityMonitor
from keras_kd.callbacks.loss_surface_probe import LossSurfaceProbe
from keras_kd.callbacks.loss_switch import LossSwitch
from keras_kd.callbacks.sample_grid import SampleGrid, image_grid

__all__ = [
    "CheckpointTrajectory",
    "FidelityMonitor",
    "LossSurfaceProbe",
    "LossSwitch",
    "SampleGrid",
    "Snapshot",
    "image_grid",
]
