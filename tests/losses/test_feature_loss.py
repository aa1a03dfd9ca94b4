"""What losses on a pair of layers have in common: training, files, names, refusals.

Maps of 4x4 and 2x2 cells in the student meet 8x8 and 4x4 in the teacher, of half as
many channels again.
"""

import json

import keras
import numpy as np
import pytest
from feature_cases import images, network, teacher_and_student
from numpy.testing import assert_allclose
from small_models import numpy_weights, snapshot, sparse_cross_entropy

import keras_kd
from keras_kd import losses

X, Y = images()
MAKE = {
    "FeatureMatching": losses.FeatureMatching,
    "HintLoss": losses.HintLoss,
    "HintLoss, own": lambda *layers: losses.HintLoss(
        *layers, regressor=keras.layers.Conv2D(12, 1)
    ),
    "AttentionTransfer": losses.AttentionTransfer,
    "SquaredAttentionTransfer": losses.SquaredAttentionTransfer,
    "VID": losses.VID,
}
WITH_LAYERS = [kind for kind in MAKE if "Attention" not in kind]
each_loss = pytest.mark.parametrize("kind", MAKE)
each_with_layers = pytest.mark.parametrize("kind", WITH_LAYERS)


def distiller_with(*given, models=None, weight=0.0):
    """Of some losses alone, unless labels have a weight; eager, to trace nothing."""
    teacher, student = models or teacher_and_student()
    distiller = keras_kd.Distiller(
        teacher, student, list(given), student_loss_weight=weight
    )
    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
    distiller.compile(optimizer, sparse_cross_entropy(), run_eagerly=True)
    return distiller


def fit(distiller, epochs=2):
    options = {"batch_size": len(X), "shuffle": False, "verbose": 0}
    return distiller.fit(X, Y, epochs=epochs, **options).history


def changed(before, after):
    return [np.any(a != b) for a, b in zip(before, after, strict=True)]


def assert_same_weights(ours, theirs, **tolerance):
    for one, other in zip(numpy_weights(ours), numpy_weights(theirs), strict=True):
        assert_allclose(one, other, **(tolerance or {"rtol": 0}))


@pytest.mark.filterwarnings(  # a loss of an inner layer leaves those above alone
    "ignore:Gradients do not exist for variables"
)
@each_loss
def test_two_steps_lower_it_and_train_student_and_layers_alone(kind):
    loss = MAKE[kind]("stage2", "stage2")
    distiller = distiller_with(loss)
    teacher, student = distiller.teacher.members[0], distiller.student
    stem, frozen = student.get_layer("stage1"), snapshot(teacher)
    (loss,) = distiller.distillation_losses  # its own copy, which holds the layers
    before = [numpy_weights(layer) for layer in (stem, *loss.trainable_layers)]
    first, second, third = fit(distiller, epochs=3)["distillation_loss"]
    assert third < second < first
    assert snapshot(teacher) == frozen
    after = [numpy_weights(layer) for layer in (stem, *loss.trainable_layers)]
    for old, new in zip(before, after, strict=True):
        assert all(changed(old, new))


@each_with_layers
def test_the_student_has_nothing_of_the_loss(kind):
    loss = MAKE[kind]("stage2", "stage2")
    distiller = distiller_with(loss)
    _, fresh = teacher_and_student()
    student = distiller.student
    assert [w.path for w in student.weights] == [w.path for w in fresh.weights]
    assert student.get_config() == fresh.get_config()
    (layer,) = distiller.distillation_losses[0].trainable_layers
    assert not set(map(id, loss.trainable_layers)) & {id(layer)}
    extra = distiller.trainable_weights[len(student.trainable_weights) :]
    assert [id(w) for w in extra] == [id(w) for w in layer.trainable_weights]


def of_every_kind(weight=0.9):
    given = [make("stage2", "stage2") for make in MAKE.values()]
    return distiller_with(*given, weight=weight)


def test_a_saved_distiller_goes_on_as_if_uninterrupted(tmp_path):
    distiller = of_every_kind()
    fit(distiller, epochs=1)
    distiller.save(tmp_path / "d.keras")
    loaded = keras.saving.load_model(tmp_path / "d.keras")
    assert_same_weights(loaded, distiller)
    assert json.dumps(loaded.get_config()) == json.dumps(distiller.get_config())
    for ours, theirs in zip(
        distiller.distillation_losses, loaded.distillation_losses, strict=True
    ):
        layers = [loss.trainable_layers for loss in (ours, theirs)]
        for layer, other in zip(*layers, strict=True):
            assert layer is not other
            assert layer.name == other.name
            assert_same_weights(layer, other)
    resumed, uninterrupted = (fit(model, epochs=1) for model in (loaded, distiller))
    assert_allclose(resumed["loss"], uninterrupted["loss"], rtol=1e-6)
    assert_same_weights(loaded, distiller, rtol=1e-5, atol=1e-7)


def test_saved_weights_restore_the_layers_of_every_loss(tmp_path):
    distiller, restored = of_every_kind(), of_every_kind()
    fit(distiller, epochs=1)
    distiller.save_weights(tmp_path / "d.weights.h5")
    restored.optimizer.build(restored.trainable_variables)
    restored.load_weights(tmp_path / "d.weights.h5")
    assert_same_weights(restored, distiller)
    for ours, theirs in zip(distiller._projectors, restored._projectors, strict=True):
        assert_same_weights(theirs, ours)
    assert len(restored._projectors) == len(WITH_LAYERS)


@pytest.mark.parametrize("kind", ["FeatureMatching", "HintLoss", "VID"])
def test_layers_of_losses_of_one_name_have_names_of_their_own(kind):
    pairs = [("stage1", "stage1"), ("stage2", "stage1"), ("features", "features")]
    given = [MAKE[kind](*pair) for pair in pairs]
    distiller = distiller_with(*given)
    own = distiller.distillation_losses
    names = [layer.name for loss in own for layer in loss.trainable_layers]
    assert len(set(names)) == len(pairs)
    paths = [weight.path for weight in distiller.trainable_weights]
    assert len(set(paths)) == len(paths)
    distiller.get_state_tree()  # refuses a path that occurs twice


@each_with_layers
def test_layers_are_made_once(kind):
    loss, shapes = MAKE[kind]("t", "s"), [(None, 4, 4, 12), (None, 2, 2, 8)]
    loss.build(*shapes)
    (layer,) = loss.trainable_layers
    weights = numpy_weights(layer)
    loss.build(*shapes)
    assert loss.trainable_layers == [layer]
    assert not any(changed(weights, numpy_weights(layer)))


SHAPES = (None, 4, 4, 12), (None, 2, 2, 8)


def given_to(shapes, seed=0):
    sizes = [(3, *shape[1:]) for shape in shapes]
    return [np.random.default_rng(seed).normal(size=s).astype("f4") for s in sizes]


@pytest.mark.parametrize("kind", [*WITH_LAYERS, "CRD"])
def test_new_layers_are_used_as_given_and_leave_the_loss_as_it_was(kind):
    """So one object may serve two distillers, of other widths too."""
    loss = {**MAKE, "CRD": losses.CRD}[kind]("t", "s")
    assert "layers" in loss.takes
    before = loss.trainable_layers
    for shapes in (SHAPES, ((None, 4, 4, 12), (None, 4, 4, 5))):
        first, second = loss.make_layers(*shapes), loss.make_layers(*shapes)
        assert [layer.name for layer in first] == [layer.name for layer in second]
        for one, other in zip(first, second, strict=True):
            assert one is not other
            assert one.built
            assert [w.shape for w in one.weights] == [w.shape for w in other.weights]
        data = given_to(shapes)
        want = loss.call(*data, layers=first)
        for layer in second:
            layer.set_weights([2.0 * weight for weight in layer.get_weights()])
        changed_value = loss.call(*data, layers=second)
        assert np.all(np.abs(changed_value - want) > 1e-6)
        assert_allclose(loss.call(*data, layers=first), want, rtol=1e-6)
    assert loss.trainable_layers == before


@pytest.mark.parametrize("kind", ["FeatureMatching", "HintLoss", "VID"])
def test_made_layers_are_those_that_build_would_make(kind):
    keras.utils.set_random_seed(3)
    (made,) = MAKE[kind]("t", "s").make_layers(*SHAPES)
    loss = MAKE[kind]("t", "s")
    keras.utils.set_random_seed(3)
    loss.build(*SHAPES)
    assert loss.trainable_layers[0].name == made.name
    assert_same_weights(made, loss.trainable_layers[0])


def test_without_layers_features_are_compared_as_they_are():
    loss = losses.FeatureMatching("t", "s")
    assert loss.make_layers((None, 5), (None, 5)) == []
    teacher, student = given_to([(None, 5), (None, 5)])
    want = losses.feature_matching(teacher, student)
    assert_allclose(loss.call(teacher, student, layers=[]), want, rtol=1e-6)
    loss.build((None, 5), (None, 2))  # its own layers are another matter
    assert_allclose(loss.call(teacher, student, layers=[]), want, rtol=1e-6)
    with pytest.raises(ValueError, match="has no projector yet"):
        loss.call(teacher, student[:, :2], layers=[])


@pytest.mark.parametrize("kind", MAKE)
def test_layers_are_not_made_for_features_of_other_kinds(kind):
    for bad in [((None, 4, 4, 5), (None, 5)), ((None, 3, 5), (None, 1, 5))]:
        with pytest.raises(ValueError, match="axes .* must agree|number of axes"):
            MAKE[kind]("t", "s").make_layers(*bad)


@pytest.mark.parametrize("kind", ["FeatureMatching", "HintLoss", "VID"])
def test_layers_compute_in_float32_whatever_the_global_policy(kind):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        loss = MAKE[kind]("t", "s")
        loss.build((None, 4, 4, 5), (None, 2, 2, 2))
    finally:
        keras.config.set_dtype_policy("float32")
    (layer,) = loss.trainable_layers
    parts = list(layer._flatten_layers())
    assert {part.compute_dtype for part in parts} == {"float32"}
    assert {weight.dtype for weight in layer.weights} == {"float32"}


@keras.saving.register_keras_serializable(package=__name__)
class LateStudent(keras.Model):
    """Built by the first batch, and with it the layers of the losses."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = network("inner", 4, 2, seed=2)

    def call(self, inputs):
        return self.inner(inputs)


def test_a_student_that_the_first_batch_builds_trains_them():
    """In a compiled step."""
    teacher, _ = teacher_and_student()
    given = [MAKE[k]("stage2", "inner.stage2") for k in ("HintLoss, own", "VID")]
    models = teacher, LateStudent(name="student")
    distiller = distiller_with(*given, models=models, weight=0.5)
    distiller.compile("sgd", sparse_cross_entropy())
    fit(distiller, epochs=1)
    own = distiller.distillation_losses
    layers = [layer for loss in own for layer in loss.trainable_layers]
    before = [numpy_weights(layer) for layer in layers]
    fit(distiller, epochs=1)
    assert len(layers) == 2
    for layer, old in zip(layers, before, strict=True):
        assert all(changed(old, numpy_weights(layer)))


@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")
@pytest.mark.parametrize("kind", ["AttentionTransfer", "SquaredAttentionTransfer"])
def test_attention_transfer_trains_in_keras_distiller(kind):
    teacher, student = teacher_and_student()
    loss = MAKE[kind]("stage2", "stage1")
    model = keras.distillation.Distiller(teacher, student, loss, None, 0.0)
    model.compile(keras.optimizers.SGD(1e-2), sparse_cross_entropy(), run_eagerly=True)
    first, second = fit(model)["distillation_loss"]
    assert second < first


@pytest.mark.parametrize("kind", ["HintLoss", "VID"])
def test_keras_distiller_would_not_train_the_layers_of_a_loss(kind):
    """Once it does, `_refuse_untrained` may go."""
    teacher, student = teacher_and_student()
    model = keras.distillation.Distiller(
        teacher, student, losses.FeatureMatching("logits", "logits")
    )
    loss = MAKE[kind]("stage2", "stage2")
    loss.build((None, 4, 4, 12), (None, 2, 2, 8))
    model.distillation_losses = [loss]
    theirs = {id(weight) for weight in model.trainable_weights}
    assert not theirs & {id(w) for w in loss.trainable_layers[0].weights}
    with pytest.raises(ValueError, match=r"Use keras_kd\.Distiller"):
        loss.validate_model_compatibility(teacher, student)


@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")
def test_a_loss_of_the_users_needs_only_a_call():
    class Gap(losses.FeatureLoss):
        def call(self, teacher_features, student_features):
            teacher = keras.ops.mean(teacher_features, axis=(1, 2, 3))
            return (teacher - keras.ops.mean(student_features, axis=(1, 2, 3))) ** 2

    loss = Gap("stage1", "stage1", name="gap")
    assert (loss.reduction, loss.trainable_layers) == ("sum_over_batch_size", [])
    first, second = fit(distiller_with(loss))["distillation_loss"]
    assert second < first
