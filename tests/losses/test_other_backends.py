"""The functions of `keras_kd.losses` give the same values on JAX."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from loss_functions import NAMES, value_of

TESTS = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def on_jax(tmp_path_factory):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("needs jax (pip install 'keras-kd[test]')")
    path = tmp_path_factory.mktemp("jax") / "values.npz"
    subprocess.run(
        [sys.executable, TESTS / "loss_functions.py", path],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        check=True,
    )
    with np.load(path) as file:
        return dict(file)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_tensorflow(name, on_jax):
    found, wanted = on_jax[name], np.asarray(value_of(name))
    assert found.dtype == wanted.dtype == "float32"
    assert found.shape == wanted.shape
    assert np.isfinite(wanted).all()
    assert np.ptp(wanted) > 0  # or the comparison would say little
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
