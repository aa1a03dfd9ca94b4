"""What Distiller hands to losses: one output, its labels, mask, each member."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from oracles import logits as oracles
from small_models import mlp, scattered, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.losses import DistillationLoss, KnowledgeDistillation

X, Y = toy_data(12)


def two_heads(name, seed, structure=dict):
    """Heads "wide" of 5 and "narrow" of 3 classes."""
    inputs = keras.Input((4,))
    init = keras.initializers.GlorotUniform(seed=seed)
    heads = {
        key: keras.layers.Dense(units, name=key, kernel_initializer=init)(inputs)
        for key, units in (("wide", 5), ("narrow", 3))
    }
    outputs = heads if structure is dict else list(heads.values())
    return keras.Model(inputs, outputs, name=name)


def two_headed(losses, structure=dict, **arguments):
    distiller = keras_kd.Distiller(
        two_heads("teacher", 1, structure),
        two_heads("student", 2, structure),
        losses,
        student_loss_weight=0.0,
        **arguments,
    )
    distiller.compile("sgd")
    return distiller


def evaluate(distiller, y=None, **arguments):
    return distiller.evaluate(X, y, return_dict=True, verbose=0, **arguments)


def of_head(distiller, name, temperature):
    sides = [
        np.asarray(
            outputs[name]
            if isinstance(outputs, dict)
            else outputs[["wide", "narrow"].index(name)]
        )
        for outputs in (distiller.teacher(X), distiller.student(X))
    ]
    return oracles.knowledge_distillation(*sides, temperature).mean()


BY_HEAD = {
    "wide": KnowledgeDistillation(2.0),
    "narrow": [KnowledgeDistillation(4.0), KnowledgeDistillation(1.0, name="sharp")],
}


@pytest.mark.parametrize("structure", [dict, list])
def test_each_output_may_have_losses_of_its_own(structure):
    weights = {"narrow": [0.5, 3.0]}
    distiller = two_headed(BY_HEAD, structure, distillation_loss_weights=weights)
    assert distiller.distillation_loss_weights == [1.0, 0.5, 3.0]
    logs = evaluate(distiller)
    want = {
        "wide_knowledge_distillation": of_head(distiller, "wide", 2.0),
        "narrow_knowledge_distillation": of_head(distiller, "narrow", 4.0),
        "narrow_sharp": of_head(distiller, "narrow", 1.0),
    }
    for name, value in want.items():
        assert_allclose(logs[name], value, rtol=1e-5, err_msg=name)
    total = np.dot([1.0, 0.5, 3.0], list(want.values()))
    assert_allclose(logs["loss"], total, rtol=1e-5)


def test_an_output_without_a_loss_does_not_count():
    distiller = two_headed({"wide": KnowledgeDistillation(2.0)})
    assert_allclose(evaluate(distiller)["loss"], of_head(distiller, "wide", 2.0), 1e-5)


def test_losses_by_output_survive_saving(tmp_path):
    distiller = two_headed(BY_HEAD)
    distiller.save(tmp_path / "d.keras")
    loaded = keras.saving.load_model(tmp_path / "d.keras")
    assert evaluate(loaded) == evaluate(distiller)


@keras.saving.register_keras_serializable(package=__name__)
class OfLabels(DistillationLoss):
    """The label itself, -1 where it is none; -2 where there are no labels at all."""

    takes = frozenset({"labels"})

    def call(self, teacher_logits, student_logits, labels=None):
        zeros = 0.0 * keras.ops.sum(student_logits, axis=-1)
        return zeros + (-2.0 if labels is None else keras.ops.cast(labels, zeros.dtype))


def of_labels(y, **data):
    loss = [KnowledgeDistillation(), OfLabels(name="of_labels")]
    distiller = keras_kd.Distiller(mlp("t"), mlp("s", seed=1), loss)
    distiller.compile("sgd", sparse_cross_entropy())
    return evaluate(distiller, y, **data)["of_labels"]


def test_labels_reach_the_loss_that_takes_them():
    some = np.where(np.arange(12) % 3, Y, keras_kd.UNLABELED)
    assert_allclose(of_labels(some), some.mean(), rtol=1e-6)
    assert_allclose(of_labels({"labels": some}), some.mean(), rtol=1e-6)


def test_each_output_brings_its_own_labels():
    y = {"wide": np.full(12, 4), "narrow": np.full(12, 2)}
    assert evaluate(two_headed(OfLabels()), y)["loss"] == 6.0
    assert evaluate(two_headed({"narrow": OfLabels()}), y)["loss"] == 2.0


def test_without_labels_the_loss_is_told_so():
    distiller = keras_kd.Distiller(mlp("t"), mlp("s"), OfLabels(), None, 0.0)
    distiller.compile("sgd")
    assert evaluate(distiller)["loss"] == -2.0


class OfMembers(DistillationLoss):
    takes = frozenset({"members"})

    def call(self, member_logits, student_logits, weights=None):
        distances = [
            w * keras.ops.mean((z - student_logits) ** 2, axis=-1)
            for w, z in zip(weights, member_logits, strict=True)
        ]
        return sum(distances)


def test_members_and_their_weights_reach_the_loss_that_takes_them():
    members = [scattered(mlp(f"t{i}"), seed=i) for i in range(3)]
    teacher = keras_kd.TeacherEnsemble(members, weights=[1.0, 2.0, 5.0])
    student = mlp("s", seed=1)
    losses = [KnowledgeDistillation(2.0), OfMembers(name="of_members")]
    distiller = keras_kd.Distiller(teacher, student, losses, None, 0.0)
    distiller.compile("sgd")
    logs = evaluate(distiller)
    gaps = [np.mean((np.asarray(m(X)) - np.asarray(student(X))) ** 2) for m in members]
    assert_allclose(logs["of_members"], np.dot([0.125, 0.25, 0.625], gaps), rtol=1e-5)
    kd = KnowledgeDistillation(2.0)(teacher(X), student(X))
    assert_allclose(logs["knowledge_distillation"], kd, rtol=1e-5)


class OfMask(DistillationLoss):
    takes = frozenset({"mask"})

    def call(self, teacher_logits, student_logits, mask=None):
        masked = keras.ops.sum(1.0 - keras.ops.cast(mask, "float32"))
        return 0.0 * keras.ops.sum(student_logits, axis=-1) + masked


def test_the_mask_reaches_the_loss_that_takes_it():
    def tagger(seed):
        inputs = keras.Input((5,), dtype="int32")
        x = keras.layers.Embedding(9, 4, mask_zero=True)(inputs)
        return keras.Model(inputs, keras.layers.Dense(3)(x), name=f"tagger_{seed}")

    tokens = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 0, 0]])
    distiller = keras_kd.Distiller(tagger(0), tagger(1), OfMask(), None, 0.0)
    distiller.compile("sgd")
    assert distiller.evaluate(tokens, verbose=0, return_dict=True)["loss"] == 5.0


def test_members_cannot_come_from_stored_logits():
    distiller = keras_kd.Distiller(mlp("t"), mlp("s"), OfMembers(), None, 0.0)
    distiller.compile("sgd")
    stored = tf.data.Dataset.from_tensors((X, {"teacher_logits": np.zeros((12, 3))}))
    with pytest.raises(ValueError, match=r"each teacher .* of the whole ensemble"):
        distiller.fit(stored, verbose=0)


@pytest.mark.parametrize(
    ("losses", "weights", "says"),
    [
        ({"wild": KnowledgeDistillation()}, None, r"\['wild'\].*Did you mean 'wide'"),
        ({}, None, "`distillation_losses` is empty"),
        (BY_HEAD, {"wild": 1.0}, r"weights for \['wild'\], losses for \['wide', 'n"),
        (BY_HEAD, {"narrow": 1.0}, r"\['narrow'\]` must hold .* its 2 losses"),
        (KnowledgeDistillation(), {"wide": 1.0}, "must be one with the same names"),
    ],
    ids=["unknown output", "no output", "unknown weight", "too few", "no dict"],
)
def test_mistakes_with_outputs_are_answered_at_the_call(losses, weights, says):
    with pytest.raises(ValueError, match=says):
        two_headed(losses, distillation_loss_weights=weights)
