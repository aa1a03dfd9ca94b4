"""What a wrapper hands on to its inner loss, in both classes that wrap."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_allclose

from keras_kd import losses

WRAPPERS = [losses.LogitStandardization, losses.PerTeacher]
each_wrapper = pytest.mark.parametrize("wrap", WRAPPERS)
KD = losses.KnowledgeDistillation


@keras.saving.register_keras_serializable(package=__name__)
class TakesAll(losses.BatchCoupled, losses.DistillationLoss):
    """Couples a batch, trains a layer, and notes what it is called with."""

    takes = frozenset({"temperature", "labels", "mask", "layers"})
    compares = "class_logits"

    def __init__(self, batch="replica", name="takes_all", reduction="sum", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype, batch=batch)
        self.built_with, self.seen = [], []

    def make_layers(self, teacher_shape, student_shape):
        self.built_with.append((teacher_shape, student_shape))
        return ["a layer"]

    def call(self, teacher_logits, student_logits, **options):
        self.seen.append(options)
        return ops.sum(teacher_logits * student_logits, axis=-1)


def sides(shape=(6, 5)):
    return np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")


@each_wrapper
def test_what_the_inner_loss_is_holds_for_the_wrapper(wrap):
    inner = TakesAll(batch="replica")
    for loss in (wrap(inner), losses.LogitStandardization(wrap(inner))):
        of_members = {"members"} if wrap is losses.PerTeacher else set()
        assert loss.takes == inner.takes | of_members
        assert isinstance(loss.takes, frozenset)
        assert loss.compares == "class_logits"
        assert loss.couples_batch
        assert loss.batch == "replica"
        assert loss.make_layers((None, 5), (None, 5)) == ["a layer"]
        loss.build((None, 5), (None, 5))
        assert loss.trainable_layers == ["a layer"]
    assert inner.built_with == 3 * [((None, 5), (None, 5))]  # its own, only once
    plain = wrap(losses.HardLabel())
    assert plain.takes == of_members
    assert wrap(losses.LogitMSE()).compares == (
        "logits" if wrap is losses.PerTeacher else "class_logits"
    )
    assert not plain.couples_batch
    assert not hasattr(plain, "batch")
    assert not hasattr(plain, "temperature")
    assert plain.make_layers((None, 5), (None, 5)) == plain.trainable_layers == []


@each_wrapper
def test_options_reach_the_inner_loss(wrap):
    inner, options = TakesAll(), {"labels": 1, "mask": 2, "layers": 3}
    wrap(inner).call(*sides(), **options)
    losses.LogitStandardization(wrap(inner)).call(*sides(), **options)
    wrap(inner).call(*sides())
    assert inner.seen == [options, options, {}]


@each_wrapper
def test_the_temperature_is_that_of_the_inner_loss(wrap):
    inner, (teacher, student) = KD(temperature=2.0), sides()
    loss, traces = losses.LogitStandardization(wrap(inner)), []

    @tf.function
    def compiled(teacher, student):
        traces.append(1)
        return loss.call(teacher, student)

    found = []
    for temperature in (2.0, 5.0):
        loss.temperature = temperature
        assert loss.temperature == inner.temperature == temperature
        found.append(compiled(teacher, student))
        standard = map(losses.standardize, (teacher, student))
        want = losses.knowledge_distillation(*standard, temperature=temperature)
        assert_allclose(found[-1], want, rtol=1e-4)
    assert len(traces) == 1
    with pytest.raises(AttributeError, match="HardLabel, the inner loss .* has no"):
        wrap(losses.HardLabel()).temperature = 2.0


@each_wrapper
def test_the_config_holds_the_inner_loss_and_its_schedule(wrap):
    schedule = keras.optimizers.schedules.PolynomialDecay(6.0, 10, 2.0)
    for inner in (KD(temperature=2.5), KD(temperature=schedule), TakesAll("global")):
        loss = wrap(inner, name="own", reduction="sum")
        for original in (loss, losses.LogitStandardization(loss)):
            copy = keras.saving.deserialize_keras_object(
                keras.saving.serialize_keras_object(original)
            )
            assert copy.get_config() == original.get_config()
            assert copy(*sides()) == original(*sides())
        copy = type(loss).from_config(loss.get_config())
        assert type(copy.loss) is type(inner)
        assert (copy.name, copy.reduction) == ("own", "sum")


@each_wrapper
def test_the_dtype_is_that_of_the_inner_loss_unless_given(wrap):
    assert wrap(KD()).dtype == "float32"
    loss = wrap(KD(dtype="float64"))
    assert loss(*sides()).dtype == "float64"
    assert wrap.from_config(loss.get_config()).dtype == "float64"
    assert wrap(KD(dtype="float64"), dtype="float32").dtype == "float32"


@each_wrapper
def test_the_reduction_is_that_of_the_wrapper(wrap):
    teacher, student = sides()
    loss = wrap(KD(reduction="sum"))
    values = ops.convert_to_numpy(loss.call(teacher, student))
    assert_allclose(loss(teacher, student), values.mean(), rtol=1e-6)
    weights = np.arange(6) % 2
    weighted = (weights * values).mean()
    assert_allclose(loss(teacher, student, weights), weighted, rtol=1e-6)


@each_wrapper
def test_masked_positions_do_not_count(wrap):
    teacher, student = sides((2, 4, 5))
    real = np.array([[True, True, False, False], [True, True, True, True]])
    masked = keras.layers.Masking()(np.where(real[..., None], student, 0.0))
    want = ops.convert_to_numpy(wrap(KD()).call(teacher, student))[real].mean()
    assert_allclose(wrap(KD())(teacher, masked), want, rtol=1e-5)


@each_wrapper
@pytest.mark.parametrize(
    "inner",
    [losses.FeatureMatching("a", "b"), losses.FeatureMatching(None, None)],
    ids=["of layers", "of outputs"],
)
def test_a_feature_loss_is_refused(wrap, inner):
    with pytest.raises(TypeError, match="takes a loss on logits.*FeatureMatching"):
        wrap(inner)


@each_wrapper
@pytest.mark.parametrize(
    "inner",
    [None, "kd", KD, keras.losses.KLDivergence(), losses.knowledge_distillation],
    ids=["None", "name", "class", "Keras loss", "function"],
)
def test_what_is_no_loss_of_ours_is_refused(wrap, inner):
    with pytest.raises(TypeError, match="takes a logit loss of keras_kd"):
        wrap(inner)
