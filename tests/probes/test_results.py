"""What all results of probes have in common, found through `__all__`."""

import dataclasses
import inspect

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from small_models import mlp, toy_data

from keras_kd import probes
from keras_kd._common.table import InTable

X, Y = toy_data(12)
NO_PICTURE = {
    "GeneratorQuality": "a few numbers",
    "Section": "says where to look",
    "SurfacePoint": "one point",
}


def conv_net():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(3, 3),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )


def two():
    return mlp("t"), mlp("s", seed=1)


MADE = {
    "AttentionMaps": lambda: probes.attention_maps(
        conv_net(), np.random.default_rng(0).random((3, 6, 6, 1))
    ),
    "EigenspaceTrajectory": lambda: probes.eigenspace_trajectory(
        [np.eye(4) * i for i in range(3)], X
    ),
    "Eigenvalues": lambda: probes.top_eigenvalues(
        probes.LossHessian(mlp("m"), X, Y), 2, verbose=0
    ),
    "InterpolationPath": lambda: probes.interpolation_path(
        *two(), X, Y, points=3, verbose=0
    ),
    "LayerSimilarity": lambda: probes.LayerSimilarity(np.eye(2), "ab", "cd"),
    "LossSurface": lambda: probes.loss_surface(*two(), X, Y, resolution=3, verbose=0),
    "TraceEstimate": lambda: probes.hessian_trace(
        probes.LossHessian(mlp("m"), X, Y), 3, verbose=0
    ),
}


def results():
    exported = {name: getattr(probes, name) for name in probes.__all__}
    classes = {n: c for n, c in exported.items() if inspect.isclass(c)}
    return {n: c for n, c in classes.items() if dataclasses.is_dataclass(c)}


def test_every_result_is_under_test():
    assert set(results()) == MADE.keys() | NO_PICTURE.keys()


@pytest.mark.parametrize("name", results())
def test_results_are_frozen(name):
    assert results()[name].__dataclass_params__.frozen


@pytest.mark.parametrize("name", MADE)
def test_results_hold_arrays_and_draw_themselves_on_given_axes(name):
    found = MADE[name]()
    assert type(found) is results()[name]
    values = [getattr(found, f.name) for f in dataclasses.fields(found)]
    assert any(isinstance(value, np.ndarray) for value in values)
    assert "<table>" in found._repr_html_()
    assert 1 < len(repr(found).splitlines()) < 20  # arrays are not written out
    figure, axes = plt.subplots()
    try:
        assert found.plot(ax=axes) is axes
        assert axes.has_data()
        figure.canvas.draw()  # what cannot be rendered raises here
        own = found.plot()
        assert own is not axes
        assert own.has_data()
    finally:
        plt.close("all")


@pytest.mark.parametrize("name", results())
def test_results_are_tables_in_a_notebook(name):
    assert issubclass(results()[name], InTable)
