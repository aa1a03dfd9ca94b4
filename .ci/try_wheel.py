"""The installed package, away from its source: what is in it, and one tiny fit."""

import importlib.metadata
import sys
from pathlib import Path

import keras
import numpy as np

import keras_kd
from keras_kd import Distiller
from keras_kd.losses import KnowledgeDistillation

assert Path(keras_kd.__file__).is_relative_to(sys.prefix), keras_kd.__file__
assert importlib.metadata.version("keras-kd") == keras_kd.__version__

files = importlib.metadata.files("keras-kd")
assert any(file.name == "LICENSE" for file in files), "no LICENSE in the wheel"
assert any(f.name == "template.html" for f in files), "no template of the report"
scripts = [f for f in files if f.parent.name == "bin"]  # pip puts them beside python
assert [f.name for f in scripts] == ["keras-kd"], scripts
strays = [
    f for f in files if not f.parts[0].startswith("keras_kd") and f not in scripts
]
assert not strays, f"the wheel holds more than keras_kd: {strays}"


def classifier(width):
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((64,)), layers.Dense(width, "relu"), layers.Dense(10)]
    )


rng = np.random.default_rng(0)
x, y = rng.random((128, 64), "float32"), rng.integers(0, 10, 128)
teacher, student = classifier(32), classifier(8)
distiller = Distiller(
    teacher, student, KnowledgeDistillation(temperature=4.0), student_loss_weight=0.5
)
label_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
distiller.compile(optimizer="adam", loss=label_loss)
history = distiller.fit(x, y, epochs=2, verbose=0).history
assert np.isfinite(history["loss"]).all(), history
print(f"{keras_kd.__file__}: version {keras_kd.__version__}, loss {history['loss']}")
