"""Objects of keras.distillation inside keras_kd: the numbers that they give there."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_allclose
from small_models import mlp, toy_data

from keras_kd import Distiller, losses
from keras_kd.losses.keras_distillation import KerasLoss, as_distillation_loss

Logits = keras.distillation.LogitsDistillation
Features = keras.distillation.FeatureDistillation
KL = keras.losses.KLDivergence

OBJECTS = {
    "default logits": lambda: Logits(),
    "KL instance": lambda: Logits(4.0, loss=KL()),
    "KL instance, T 1": lambda: Logits(1.0, loss=KL()),
    "cross-entropy instance": lambda: Logits(
        2.0, loss=keras.losses.CategoricalCrossentropy(from_logits=True)
    ),
    "mse of logits": lambda: Logits(2.0, loss="mse"),
    "mse of outputs": lambda: Features(),
    "cosine of outputs": lambda: Features(loss="cosine_similarity"),
    "mae instance": lambda: Features(loss=keras.losses.MeanAbsoluteError()),
    "mean by weight": lambda: Features(
        loss=keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    ),
}
LAYERS = {"teacher_layer_name": "features", "student_layer_name": "features"}


def outputs(shape=(12, 5)):
    return np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")


@pytest.mark.parametrize("shape", [(12, 5), (4, 3, 5), (4, 2, 2, 5)], ids=str)
@pytest.mark.parametrize("make", OBJECTS.values(), ids=OBJECTS)
def test_mean_of_the_values_is_what_keras_computes(make, shape):
    wrapped, (teacher, student) = make(), outputs(shape)
    values = as_distillation_loss(wrapped).call(teacher, student)
    assert values.shape == shape[:1]
    assert_allclose(np.mean(values), wrapped.compute_loss(teacher, student), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "structure"),
    [
        (lambda: Logits(3.0, loss=[KL(), "mse"]), lambda a, b: [a, b]),
        (lambda: Logits(3.0, loss=[KL(), None]), lambda a, b: [a, b]),
        (lambda: Logits(loss={"a": "mse", "b": KL()}), lambda a, b: {"a": a, "b": b}),
        (lambda: Features(loss=["mse", "cosine_similarity"]), lambda a, b: [a, b]),
    ],
    ids=["list", "None skips", "dict", "features"],
)
def test_several_outputs_are_summed_as_keras_does(make, structure):
    wrapped, (teacher, student) = make(), outputs()
    sides = structure(teacher, teacher[:, ::-1]), structure(student, 2 * student)
    values = as_distillation_loss(wrapped).call(*sides)
    assert_allclose(np.mean(values), wrapped.compute_loss(*sides), rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        *OBJECTS.values(),
        lambda: Features(**LAYERS),
        lambda: Features(loss="cosine_similarity", **LAYERS),
    ],
    ids=[*OBJECTS, "layers", "cosine of layers"],
)
def test_distiller_gives_the_number_of_keras(make):
    wrapped = make()
    teacher, student = mlp("teacher", seed=1), mlp("student", seed=2)
    x, _ = toy_data(12)
    assert_allclose(
        distillation_loss_of(wrapped, teacher, student, x),
        wrapped.compute_loss(*read(wrapped, teacher, student, x)),
        rtol=1e-5,
    )


def distillation_loss_of(loss, teacher, student, x):
    distiller = Distiller(teacher, student, loss, student_loss_weight=0)
    distiller.compile()
    logs = distiller.evaluate(x, batch_size=len(x), verbose=0, return_dict=True)
    return logs["distillation_loss"]


def read(wrapped, teacher, student, x):
    """What the object compares, through models of our own."""
    for model, side in ((teacher, "teacher"), (student, "student")):
        name = getattr(wrapped, f"{side}_layer_name", None)
        output = model.get_layer(name).output if name else model.output
        yield keras.Model(model.input, output)(x)


class MeanOverExamples(keras.distillation.DistillationLoss):
    """A user's own, one scalar a batch."""

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        return ops.mean(ops.square(teacher_outputs - student_outputs))


class OneValueAnExample(keras.distillation.DistillationLoss):
    """A user's own, one value an example."""

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        return ops.mean(ops.square(teacher_outputs - student_outputs), axis=-1)


class OwnFormula(Logits):
    """A user's own, built on a class of Keras."""

    def compute_loss(self, teacher_outputs, student_outputs, **kwargs):
        return ops.mean(ops.square(teacher_outputs - student_outputs))


@pytest.mark.parametrize("make", [MeanOverExamples, OneValueAnExample, OwnFormula])
def test_an_own_loss_gives_its_number(make):
    teacher, student = mlp("teacher", seed=1), mlp("student", seed=2)
    x, _ = toy_data(12)
    want = np.mean((teacher(x) - student(x)) ** 2)
    assert_allclose(distillation_loss_of(make(), teacher, student, x), want, rtol=1e-5)


def test_an_own_loss_gives_a_scalar_or_one_value_an_example_as_it_is():
    teacher, student = outputs()
    scalar, values = map(
        as_distillation_loss, (MeanOverExamples(), OneValueAnExample())
    )
    assert isinstance(scalar, KerasLoss)
    assert scalar.call(teacher, student).shape == ()
    assert values.call(teacher, student).shape == (12,)
    assert vars(scalar) == vars(as_distillation_loss(scalar.wrapped))


def test_what_objects_of_keras_compare():
    """Keras takes a softmax for instances of its KL alone."""
    compared = {
        name: as_distillation_loss(make()).compares for name, make in OBJECTS.items()
    }
    of_classes = {"KL instance", "KL instance, T 1"}
    assert {k for k, v in compared.items() if v == "class_logits"} == of_classes
    assert compared["default logits"] == compared["mse of logits"] == "logits"
    assert compared["mse of outputs"] == "features"
    assert as_distillation_loss(MeanOverExamples()).compares == "logits"


def test_sample_weights_reach_an_own_loss_with_one_value_an_example():
    teacher, student = mlp("teacher", seed=1), mlp("student", seed=2)
    distiller = Distiller(teacher, student, OneValueAnExample(), student_loss_weight=0)
    distiller.compile()
    x, y = toy_data(12)
    weights = np.arange(12) / 4
    data = tf.data.Dataset.from_tensors((x, y, weights))
    logs = distiller.evaluate(data, verbose=0, return_dict=True)
    values = np.mean((teacher(x) - student(x)) ** 2, axis=-1)
    assert_allclose(logs["loss"], np.sum(weights * values) / 12, rtol=1e-5)


def test_sample_weights_and_a_scalar_loss_are_refused():
    distiller = Distiller(
        mlp("teacher"), mlp("student"), MeanOverExamples(), student_loss_weight=0
    )
    distiller.compile()
    x, y = toy_data(12)
    with pytest.raises(ValueError, match="one scalar a batch"):
        distiller.evaluate(x, y, sample_weight=np.ones(12), verbose=0)


@pytest.mark.parametrize("make", [Logits, Features])
def test_each_output_needs_an_inner_loss(make):
    teacher, student = outputs()
    with pytest.raises(ValueError, match="Received: 2 for 1 outputs"):
        as_distillation_loss(make(loss=["mse", "mse"])).call(teacher, student)
    with pytest.raises(ValueError, match="Received: 1 for 2 outputs"):
        as_distillation_loss(make(loss="mse")).call([teacher] * 2, [student] * 2)


def test_the_log_names_a_wrapped_loss_by_its_class():
    assert as_distillation_loss(Logits()).name == "logits_distillation"
    assert as_distillation_loss(OneValueAnExample()).name == "one_value_an_example"


def test_our_own_losses_pass_through():
    loss = losses.KnowledgeDistillation()
    assert as_distillation_loss(loss) is loss


@pytest.mark.parametrize(
    "bad",
    ["kl_divergence", KL(), None, 4.0, losses.KnowledgeDistillation],
    ids=["string", "Keras loss", "None", "number", "class"],
)
def test_anything_else_is_a_type_error(bad):
    with pytest.raises(
        TypeError, match=r"must hold keras_kd\.losses\.DistillationLoss"
    ):
        as_distillation_loss(bad)


@pytest.mark.parametrize("make", [Logits, Features])
def test_a_summing_inner_loss_is_refused(make):
    """Keras multiplies it by the batch size; over replicas it would mean nothing."""
    with pytest.raises(ValueError, match="reduction='sum'"):
        as_distillation_loss(make(loss=keras.losses.MeanSquaredError(reduction="sum")))
