"""Probes: functions that look into models and return a frozen result."""

from keras_kd.probes.generator_quality import GeneratorQuality, generator_quality

__all__ = ["GeneratorQuality", "generator_quality"]
