"""Probes: functions that look into models and return a frozen result."""

from keras_kd.probes.attention_maps import AttentionMaps, attention_maps
from keras_kd.probes.eigenspace import EigenspaceTrajectory, eigenspace_trajectory
from keras_kd.probes.generator_quality import GeneratorQuality, generator_quality
from keras_kd.probes.hessian import LossHessian
from keras_kd.probes.interpolation import (
    InterpolationPath,
    interpolate,
    interpolation_path,
)
from keras_kd.probes.layer_similarity import LayerSimilarity
from keras_kd.probes.loss_surface import LossSurface, SurfacePoint, loss_surface
from keras_kd.probes.sections import (
    Section,
    line_through,
    plane_through,
    random_line,
    random_plane,
)
from keras_kd.probes.spectrum import (
    Eigenvalues,
    TraceEstimate,
    hessian_trace,
    top_eigenvalues,
)
from keras_kd.probes.weights import filter_normalized_direction, temporary_weights

__all__ = [
    "AttentionMaps",
    "EigenspaceTrajectory",
    "Eigenvalues",
    "GeneratorQuality",
    "InterpolationPath",
    "LayerSimilarity",
    "LossHessian",
    "LossSurface",
    "Section",
    "SurfacePoint",
    "TraceEstimate",
    "attention_maps",
    "eigenspace_trajectory",
    "filter_normalized_direction",
    "generator_quality",
    "hessian_trace",
    "interpolate",
    "interpolation_path",
    "line_through",
    "loss_surface",
    "plane_through",
    "random_line",
    "random_plane",
    "temporary_weights",
    "top_eigenvalues",
]
