"""What all image models share: names of layers, saving, distillation by stage."""

import functools
import importlib.util
import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from image_networks import arrays, images, scatter
from numpy.testing import assert_allclose, assert_array_equal
from small_models import sparse_cross_entropy

import keras_kd
from keras_kd import models

SMALL = (8, 8, 3)
# Builds that stand for every family, and how many stages each has.
SMALL_MODELS = {
    "PreActResNet": (lambda **k: models.PreActResNet(8, input_shape=SMALL, **k), 3),
    "CIFARResNet": (lambda **k: models.CIFARResNet(8, input_shape=SMALL, **k), 3),
    "WideResNet": (lambda **k: models.WideResNet(10, 1, input_shape=SMALL, **k), 3),
    "VGG": (lambda **k: models.VGG(8, input_shape=SMALL, **k), 4),
    "MobileNetV2": (lambda **k: models.MobileNetV2(width=0.125, **k), 4),
    "LeNet5": (lambda **k: models.LeNet5(**k), 1),
    "ViT": (lambda **k: models.ViT("tiny", 4, input_shape=SMALL, **k), 1),
}
LARGE = {
    "PlainVGG16": (lambda **k: models.PlainVGG16(**k), 4),
    "ResNet18": (lambda **k: models.ResNet18(input_shape=(32, 32, 3), **k), 4),
    "ResNet50": (lambda **k: models.ResNet50(input_shape=(32, 32, 3), **k), 4),
}
MODELS = {**SMALL_MODELS, **LARGE}
each_model = pytest.mark.parametrize(
    "name", [*SMALL_MODELS, *(pytest.param(n, marks=pytest.mark.slow) for n in LARGE)]
)
LAYER_NAME = re.compile(
    r"images|stem|stage\d|features|logits"  # the documented ones
    r"|(stem|final|stage\d_block\d+)(_\w+)?|(stem|stage\d)_(pool|conv)"
    r"|pool|flat|dense\d(_relu)?|dropout\d"
    r"|patch_embedding|patches|class_token|tokens|position_embedding"
)


@pytest.fixture(scope="module")
def built():
    """The model of a name, with norms away from where they start, built once."""
    return functools.cache(lambda name: scatter(MODELS[name][0](num_classes=7)))


@each_model
def test_documented_layers_are_there(built, name):
    model, (_, stages) = built(name), MODELS[name]
    names = [layer.name for layer in model.layers]
    wanted = ["images", "stem", *(f"stage{i + 1}" for i in range(stages))]
    positions = [names.index(layer) for layer in [*wanted, "features", "logits"]]
    assert positions == sorted(positions)
    assert f"stage{stages + 1}" not in names
    assert model.get_layer("logits").input is model.get_layer("features").output
    assert model.get_layer("logits").output is model.outputs[0]
    assert len(model.get_layer("features").output.shape) == 2


@each_model
def test_no_layer_has_a_name_that_counts_up_between_models(built, name):
    strange = [
        layer.name
        for layer in built(name).layers
        if not LAYER_NAME.fullmatch(layer.name)
    ]
    assert strange == []


@each_model
def test_a_saved_model_loads_without_keras_kd(built, name, tmp_path):
    model = built(name)
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    x = images(model)
    assert_array_equal(loaded(x), model(x))
    assert [la.name for la in loaded.layers] == [la.name for la in model.layers]


@each_model
def test_no_two_layers_start_alike(built, name):
    kernels = [
        (layer, w["kernel"].ravel())
        for layer, w in arrays(built(name)).items()
        if "kernel" in w
    ]
    firsts = {layer: tuple(np.round(k[:4] / k.std(), 4)) for layer, k in kernels}
    assert len(set(firsts.values())) == len(firsts)


def test_models_of_one_seed_start_alike():
    starts = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        starts.append(arrays(models.LeNet5())["stem_conv"]["kernel"])
    assert_array_equal(starts[0], starts[1])
    assert np.any(starts[0] != starts[2])


@each_model
def test_a_model_takes_the_name_and_classes_given(built, name):
    model = built(name)
    assert re.fullmatch(r"[a-z0-9_]+", model.name)
    assert model.output_shape == (None, 7)


def test_name_and_numpy_numbers_are_taken(tmp_path):
    model = models.CIFARResNet(
        np.int64(8), num_classes=np.int64(7), input_shape=[8, 8, 3], name="mine"
    )
    assert model.name == "mine"
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").output_shape == (None, 7)


def test_every_stage_can_be_distilled():
    arguments = {"num_classes": 3, "input_shape": SMALL}
    teacher = models.CIFARResNet(8, **arguments)
    student = models.PreActResNet(8, **arguments)
    stages = ["stem", "stage1", "stage2", "stage3", "stage3_block1", "features"]
    losses = [
        keras_kd.losses.FeatureMatching(stage, stage, name=stage) for stage in stages
    ]
    losses.append(keras_kd.losses.KnowledgeDistillation())
    distiller = keras_kd.Distiller(teacher, student, losses)
    distiller.compile("sgd", sparse_cross_entropy(), run_eagerly=True)  # no tracing
    x = images(student, batch=8)
    logs = distiller.fit(x, np.arange(8) % 3, batch_size=4, verbose=0).history
    for stage in stages:
        (value,) = next(v for k, v in logs.items() if k.startswith(stage))
        assert 0 < value < 100


def test_members_of_unlike_families_make_an_ensemble(built):
    members = [built(name) for name in ("PreActResNet", "WideResNet", "VGG", "ViT")]
    x = images(members[0])
    probabilities = [np.array(keras.ops.softmax(m(x))) for m in members]
    want = np.log(np.mean(probabilities, axis=0))
    assert_allclose(keras_kd.TeacherEnsemble(members)(x), want, atol=1e-5)


SCRIPT = """
import sys
import keras, numpy as np

def zeros(self, shape, dtype=None, **kwargs):
    return np.zeros(shape, dtype)

# The file says what the weights are; JAX would compile a draw for each shape.
init = keras.initializers
for cls in (init.VarianceScaling, init.RandomNormal, init.RandomUniform):
    cls.__call__ = zeros
for path in sys.argv[1:]:
    model = keras.saving.load_model(path, compile=False)
    data = np.load(path + ".npz")
    found = model.predict(data["x"], verbose=0)
    np.testing.assert_allclose(found, data["logits"], rtol=1e-3, atol=1e-4)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_logits_are_the_same_on_another_backend(built, backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend} (pip install {backend})")
    paths = []
    for name in ("PreActResNet", "MobileNetV2", "ViT"):  # all kinds of layers
        model, path = built(name), str(tmp_path / f"{name}.keras")
        x = images(model)
        model.save(path)
        np.savez(path + ".npz", x=x, logits=np.array(model(x)))
        paths.append(path)
    subprocess.run(
        [sys.executable, "-c", SCRIPT, *paths],
        env={**os.environ, "KERAS_BACKEND": backend},
        check=True,
    )
