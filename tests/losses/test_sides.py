"""No loss repeats a side, labels, a temperature or a mask to make shapes fit."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_contracts import LOSSES, arguments_of

from keras_kd import losses

LOGIT_LOSSES = [cls for cls in LOSSES if not issubclass(cls, losses.FeatureLoss)]
TOKEN_LOSSES = [
    losses.FeatureMatching,
    losses.HintLoss,
    losses.VID,
    losses.AttentionTransfer,
    losses.SquaredAttentionTransfer,
]
each_logit_loss = pytest.mark.parametrize("cls", LOGIT_LOSSES)
each_token_loss = pytest.mark.parametrize("cls", TOKEN_LOSSES)


def make(cls):
    return cls(**arguments_of(cls))


def sides(*shapes):
    return [np.random.default_rng(0).normal(size=s).astype("float32") for s in shapes]


@each_logit_loss
@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        ((4, 5, 3), (4, 1, 3)),
        ((4, 1, 3), (4, 5, 3)),
        ((4, 8, 8, 3), (4, 1, 8, 3)),
        ((4, 3), (1, 3)),
        ((4, 3), (4, 1, 3)),
        ((4, 3), (4, 1)),
    ],
    ids=str,
)
def test_logits_of_other_shapes_are_refused(cls, teacher, student):
    with pytest.raises(ValueError, match="same rank and number of classes") as refused:
        make(cls).call(*sides(teacher, student))
    assert f"teacher {teacher}, student {student}" in str(refused.value)


@each_logit_loss
def test_outputs_without_an_axis_of_units_are_refused(cls):
    with pytest.raises(ValueError, match=r"axis of classes.*\(4,\).*Reshape"):
        make(cls).call(*sides((4,), (4,)))


def in_a_graph(loss, *signature):
    return tf.function(loss.call, input_signature=[tf.TensorSpec(s) for s in signature])


@each_logit_loss
def test_a_length_that_only_the_run_tells_is_compared_there(cls):
    unknown = (None, None, 3)
    for signature in ((unknown, unknown), (unknown, (None, 1, 3))):
        compiled = in_a_graph(make(cls), *signature)
        compiled(*sides((4, 1, 3), (4, 1, 3)))
        with pytest.raises(tf.errors.InvalidArgumentError, match="as many examples"):
            compiled(*sides((4, 5, 3), (4, 1, 3)))


def test_under_xla_it_is_compared_as_well():
    unknown = [tf.TensorSpec((None, None, 3))] * 2
    loss = losses.KnowledgeDistillation()
    compiled = tf.function(loss.call, input_signature=unknown, jit_compile=True)
    assert compiled(*sides((4, 5, 3), (4, 5, 3))).shape == (4, 5)
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        compiled(*sides((4, 5, 3), (4, 1, 3)))


@each_token_loss
def test_tokens_of_other_lengths_are_refused(cls):
    loss = make(cls)
    with pytest.raises(ValueError, match="token axes .* must agree"):
        loss.call(*sides((4, 5, 3), (4, 1, 3)))
    with pytest.raises(ValueError, match="token axes .* must agree"):
        loss.make_layers((None, 5, 3), (None, 1, 3))
    compiled = in_a_graph(loss, (None, None, 3), (None, 1, 3))
    compiled(*sides((4, 1, 3), (4, 1, 3)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many examples"):
        compiled(*sides((4, 5, 3), (4, 1, 3)))


@pytest.mark.parametrize("cls", TOKEN_LOSSES[:3])
def test_features_of_another_batch_are_refused(cls):
    with pytest.raises(ValueError, match="must have as many examples"):
        make(cls).call(*sides((4, 3), (1, 3)))


TEMPERED = [cls for cls in LOGIT_LOSSES if "temperature" in cls.takes]


@pytest.mark.parametrize("cls", TEMPERED)
def test_a_temperature_is_one_or_one_an_example(cls):
    data = sides((4, 5, 3), (4, 5, 3))
    of_each = tf.constant([1.0, 2.0, 3.0, 4.0])
    make_loss = lambda: make(cls)  # noqa: E731  SampledLabel draws anew
    want = make_loss().call(*data, temperature=of_each)
    column = make_loss().call(*data, temperature=of_each[:, None])
    np.testing.assert_allclose(column, want, rtol=1e-6)
    for bad in ([1.0], [1.0, 2.0], np.ones((4, 5)), np.ones((1, 4))):
        with pytest.raises(ValueError, match="`temperature` must have the first axes"):
            make_loss().call(*data, temperature=tf.constant(bad, "float32"))


@pytest.mark.parametrize("function", [losses.dist, losses.multi_level_logit])
@pytest.mark.parametrize("shape", [(1,), (4, 1), (1, 5), (5,)], ids=str)
def test_a_mask_has_the_axes_of_the_logits(function, shape):
    with pytest.raises(ValueError, match="`mask` must have the first axes"):
        function(*sides((4, 5, 3), (4, 5, 3)), mask=np.ones(shape, bool))


@pytest.mark.parametrize("cls", [*TOKEN_LOSSES[3:]])
def test_a_mask_has_the_axes_of_the_tokens(cls):
    with pytest.raises(ValueError, match="`mask` must have the first axes"):
        make(cls).call(*sides((4, 5, 3), (4, 5, 3)), mask=np.ones((4, 1), bool))


@pytest.mark.parametrize("shape", [(1,), (4, 1), (1, 5), (5,), (4, 5, 1, 1)], ids=str)
def test_labels_have_the_axes_of_the_logits(shape):
    data = sides((4, 5, 3), (4, 5, 3))
    with pytest.raises(ValueError, match="fit no logits"):
        losses.decoupled_kd(*data, np.zeros(shape, "int32"))


@pytest.mark.parametrize("shape", [(1,), (3,), (1, 4)], ids=str)
def test_a_weight_of_a_term_is_one_or_one_an_example(shape):
    data = sides((4, 5, 3), (4, 5, 3))
    for function, name in ((losses.dist, "beta"), (losses.decoupled_kd, "alpha")):
        with pytest.raises(ValueError, match=f"`{name}` must have the first axes"):
            function(*data, **{name: np.ones(shape)})


@pytest.mark.parametrize("shape", [(6, 1), (6, 4, 1)], ids=str)
def test_one_unit_is_compared_by_its_raw_output_alone(shape):
    teacher, student = sides(shape, shape)[0], 2 * sides(shape)[0]
    values = losses.LogitMSE().call(teacher, student)
    np.testing.assert_allclose(values, np.square(teacher - student)[..., 0], rtol=1e-6)
    over_classes = [cls for cls in LOGIT_LOSSES if cls is not losses.LogitMSE]
    for loss in (*map(make, over_classes), losses.LogitMSE(center=True)):
        assert loss.compares == "class_logits"
        with pytest.raises(ValueError, match="at least 2 classes"):
            loss.call(teacher, student)
    of_raw = losses.PerTeacher(losses.LogitMSE())
    np.testing.assert_allclose(of_raw.call([teacher], student), values, rtol=1e-6)


def test_shapes_of_outputs_are_compared_in_losses_of_keras_too():
    wrapped = keras.distillation.LogitsDistillation(loss="mse")
    loss = losses.keras_distillation.as_distillation_loss(wrapped)
    with pytest.raises(ValueError, match="same rank and number of classes"):
        loss.call(*sides((4, 5, 3), (4, 1, 3)))
