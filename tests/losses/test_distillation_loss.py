"""The base class: what a subclass of three lines gets from it."""

import keras
import numpy as np
import pytest
from keras import ops
from numpy.testing import assert_allclose

from keras_kd import losses


@keras.saving.register_keras_serializable(package=__name__)
class LogitGap(losses.DistillationLoss):
    def call(self, teacher_logits, student_logits):
        return ops.mean(ops.abs(teacher_logits - student_logits), axis=-1)


def logits(seed, shape=(12, 3)):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def gap(teacher, student):
    return np.abs(teacher - student).mean(axis=-1)


def test_a_subclass_is_a_keras_loss():
    teacher, student, weights = logits(0), logits(1), np.arange(12) % 2
    value = LogitGap()(teacher, student, weights)
    assert_allclose(value, np.sum(weights * gap(teacher, student)) / 12, rtol=1e-6)


def test_a_subclass_trains_a_model_alone():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    x, teacher = logits(0, (12, 4)), logits(1)
    model.compile(keras.optimizers.SGD(0.5), loss=LogitGap())
    before = gap(teacher, model.predict(x, verbose=0)).mean()
    history = model.fit(x, teacher, epochs=10, batch_size=12, verbose=0).history
    assert_allclose(history["loss"][0], before, rtol=1e-5)
    assert gap(teacher, model.predict(x, verbose=0)).mean() < 0.8 * before


@pytest.mark.parametrize(
    "structure",
    [lambda a, b: a, lambda a, b: [a, b], lambda a, b: {"main": a, "aux": b}],
    ids=["one", "list", "dict"],
)
def test_keras_distiller_gets_the_sum_over_the_outputs(structure):
    teacher = structure(logits(0), logits(1, (12, 5)))
    student = structure(logits(2), logits(3, (12, 5)))
    pairs = zip(keras.tree.flatten(teacher), keras.tree.flatten(student), strict=True)
    want = sum(gap(t, s).mean() for t, s in pairs)
    value = LogitGap().compute_loss(teacher, student)
    assert value.shape == ()
    assert_allclose(value, want, rtol=1e-6)


def test_sides_with_unlike_numbers_of_outputs_are_refused():
    with pytest.raises(ValueError, match="shorter than"):
        LogitGap().compute_loss([logits(0), logits(1)], logits(2))


def test_a_subclass_without_call_is_told_what_to_write():
    class Forgetful(losses.DistillationLoss):
        pass

    with pytest.raises(NotImplementedError, match="Forgetful must implement `call"):
        Forgetful()(logits(0), logits(1))


def test_by_default_outputs_are_compared_and_nothing_is_trained():
    loss = LogitGap()
    loss.build((None, 3), (None, 3))
    assert loss.teacher_layer_name is None
    assert loss.student_layer_name is None
    assert loss.trainable_layers == []


@pytest.mark.parametrize("dtype", [None, "float64", "bfloat16"])
def test_config_holds_the_dtype(dtype):
    loss = LogitGap(name="gap", reduction="sum", dtype=dtype)
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert (copy.name, copy.reduction, copy.dtype) == ("gap", "sum", loss.dtype)


def test_a_subclass_without_a_dtype_argument_survives_its_config():
    class Scaled(losses.DistillationLoss):
        def __init__(self, factor, name="scaled", reduction="sum_over_batch_size"):
            super().__init__(name=name, reduction=reduction)
            self.factor = factor

        def get_config(self):
            return {**super().get_config(), "factor": self.factor}

    assert Scaled.from_config(Scaled(3.0).get_config()).factor == 3.0


def declare(**attributes):
    """A subclass of these class attributes."""
    return type("Mine", (losses.DistillationLoss,), attributes)


def test_what_a_loss_takes_may_be_any_set():
    assert declare().takes == frozenset()
    assert declare(takes={"labels", "mask"}).takes == frozenset({"labels", "mask"})
    child = type("Child", (declare(takes={"labels"}),), {})
    assert isinstance(child.takes, frozenset)
    assert child.takes == {"labels"}


@pytest.mark.parametrize(
    ("attributes", "error", "says"),
    [
        ({"takes": {"label"}}, ValueError, r"Mine\.takes.*\['label'\].*mean 'labels'"),
        ({"takes": "labels"}, TypeError, "Mine.takes` must be a set.*'labels' of type"),
        ({"takes": ["mask"]}, TypeError, "must be a set.*of type list"),
        ({"compares": "logit"}, ValueError, r"Mine\.compares.*'logit'.*mean 'logits'"),
        ({"takes_labels": True}, TypeError, r'Write `takes = {"labels"}`'),
        (
            {"takes_mask": True, "takes_labels": False},
            TypeError,
            r'takes_labels.*takes_mask.*`takes = {"labels", "mask"}`',
        ),
        ({"takes_members": True}, TypeError, r'`takes = {"members"}`'),
        ({"takes_temperature": True}, TypeError, r'`takes = {"temperature"}`'),
        ({"build": lambda *shapes: None}, TypeError, "'build'.*make_layers"),
        ({"trainable_layers": []}, TypeError, "'trainable_layers'.*make_layers"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_declaration_that_nothing_would_read_is_refused(attributes, error, says):
    with pytest.raises(error, match=says):
        declare(**attributes)


def test_an_attribute_of_before_is_found_in_a_mixin_too():
    mixin = type("OfBefore", (), {"takes_labels": True})
    with pytest.raises(TypeError, match=r'Both declares.*takes = {"labels"}'):
        type("Both", (mixin, losses.DistillationLoss), {})


OVER_CLASSES = """BrierLoss ChunkedKnowledgeDistillation DIST DecoupledKD HardLabel
JensenShannonDivergence KnowledgeDistillation MultiLevelLogit ReverseKLDivergence
SampledLabel SoftCrossEntropy SymmetricKLDivergence""".split()


def test_what_losses_compare():
    assert losses.DistillationLoss.compares == losses.LogitMSE.compares == "logits"
    for name in losses.__all__:
        cls = getattr(losses, name)
        if isinstance(cls, type) and issubclass(cls, losses.FeatureLoss):
            assert cls.compares == "features"
        elif name in OVER_CLASSES:
            assert cls.compares == "class_logits"
    # A row less its mean leaves nothing of one unit: that is a matter of classes.
    assert losses.LogitMSE(center=True).compares == "class_logits"


class Shifted(losses.DistillationLoss):
    """A logit loss with a layer."""

    takes = frozenset({"layers"})

    def make_layers(self, teacher_shape, student_shape):
        layer = keras.layers.Dense(teacher_shape[-1])
        layer.build((None, *student_shape[1:]))
        return [layer]

    def call(self, teacher_logits, student_logits, layers=None):
        (layer,) = self.trainable_layers if layers is None else layers
        return ops.mean(ops.square(teacher_logits - layer(student_logits)), axis=-1)


def test_layers_are_new_each_time_and_its_own_stay():
    loss, shapes = Shifted(), ((None, 3), (None, 2))
    first, second = loss.make_layers(*shapes), loss.make_layers(*shapes)
    assert loss.trainable_layers == []
    loss.build(*shapes)
    own = loss.trainable_layers
    loss.build(*shapes)
    assert loss.trainable_layers == own
    assert len({id(layer) for layer in (*first, *second, *own)}) == 3
    teacher, student = logits(0), logits(1, (12, 2))
    for layers in (None, first, second):
        kernel = np.asarray((layers or own)[0].kernel)
        want = np.mean((teacher - student @ kernel) ** 2, axis=-1)
        found = loss.call(teacher, student, layers=layers)
        assert_allclose(found, want, rtol=1e-4, atol=1e-6)
