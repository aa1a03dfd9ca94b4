"""What the code before the distiller package wrote still loads, and goes on."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "files_of_before"  # written at git 2198e6e


@pytest.fixture(scope="module")
def before():
    return {
        **np.load(FOLDER / "data.npz"),
        **json.loads((FOLDER / "expected.json").read_text()),
    }


def goes_on(distiller, before):
    """Evaluation and the next epoch are those of the code that wrote the file."""
    x, y = before["x"], before["y"]
    found = distiller.evaluate(x, y, batch_size=16, verbose=0, return_dict=True)
    assert found == pytest.approx(before["evaluate"], rel=1e-5)
    logs = distiller.fit(x, y, batch_size=16, shuffle=False, verbose=0).history
    found = {name: value for name, (value,) in logs.items()}
    assert found == pytest.approx(before["next_epoch"], rel=1e-4)


def test_a_saved_distiller_loads_and_goes_on(before):
    distiller = keras.saving.load_model(FOLDER / "distiller.keras")
    teacher = np.array(distiller.teacher(before["x"]))
    np.testing.assert_allclose(teacher, before["teacher"], rtol=1e-5, atol=1e-6)
    found = distiller.predict(before["x"], verbose=0)
    np.testing.assert_allclose(found, before["student"], rtol=1e-5, atol=1e-6)
    assert distiller.distillation_loss_weights == [1.0, 0.5, 0.1, 0.1, 0.2, 0.3]
    goes_on(distiller, before)


def test_a_checkpoint_of_weights_loads_and_goes_on(before):
    distiller = keras.saving.load_model(FOLDER / "distiller.keras")
    layers = [layer for found in distiller.get_projectors().values() for layer in found]
    for model in (distiller.student, *layers):
        model.set_weights([0 * weight for weight in model.get_weights()])
    distiller.load_weights(FOLDER / "checkpoint.weights.h5")
    goes_on(distiller, before)
