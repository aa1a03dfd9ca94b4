"""The Distiller: one training step that teaches a student from frozen teachers."""

from keras_kd.distiller.distiller import Distiller

__all__ = ["Distiller"]
