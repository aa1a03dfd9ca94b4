"""Which outputs belong together, and in what shape: against float64 NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from numpy.testing import assert_allclose
from oracles.logits import knowledge_distillation, log_softmax

import keras_kd
from keras_kd import TeacherEnsemble
from keras_kd.losses import (
    BrierLoss,
    FeatureMatching,
    HardLabel,
    KnowledgeDistillation,
    LogitMSE,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 6)).astype("float32")
BY_NAME = [("a", "a"), ("b", "b")]


def heads(names, kind="dict", *, named=True, units=3, activations=()):
    inputs = keras.Input((6,))
    hidden = layers.Dense(5, "tanh")(inputs)
    activations = dict(activations)
    outputs = {
        n: layers.Dense(units, activations.get(n), name=n if named else None)(hidden)
        for n in names
    }
    whole = outputs if kind == "dict" else list(outputs.values())
    return keras.Model(inputs, outputs[names[0]] if kind == "lone" else whole)


class Subclassed(keras.Model):
    def __init__(self, names, kind="dict"):
        super().__init__()
        self.kind, self.names = kind, list(names)
        self.heads = [layers.Dense(3) for _ in names]

    def call(self, inputs):
        outputs = [head(inputs) for head in self.heads]
        return (
            outputs
            if self.kind == "list"
            else dict(zip(self.names, outputs, strict=True))
        )


def called(*arguments):
    model = Subclassed(*arguments)
    model(X)
    return model


def by_name(model, names):
    outputs = model.predict(X, verbose=0)
    if isinstance(outputs, dict):
        return outputs
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return dict(zip(names, outputs, strict=True))


def compiled(teacher, student, losses, w=0.0, **arguments):
    distiller = keras_kd.Distiller(teacher, student, losses, student_loss_weight=w)
    distiller.compile("sgd", run_eagerly=True, **arguments)
    return distiller


def logs_of(teacher, student, losses=None, x=X, y=None, **arguments):
    losses = losses or KnowledgeDistillation(2.0)
    distiller = compiled(teacher, student, losses)
    return distiller.evaluate(x, y, verbose=0, return_dict=True, **arguments)


PAIRS = {
    "dict, other order": (heads("ab"), "ab", heads("ba"), "ba", BY_NAME),
    "lists, other order": (
        heads("ab", "list"),
        "ab",
        heads("ba", "list"),
        "ba",
        BY_NAME,
    ),
    "subclassed dict, list": (called("ab"), "ab", heads("ba", "list"), "ba", BY_NAME),
    "subclassed dicts": (called("ab"), "ab", called("ba"), "ba", BY_NAME),
    "a head more": (heads("cab", "list"), "cab", heads("ba"), "ba", BY_NAME),
    "no names, by place": (
        called("ab", "list"),
        "ab",
        called("cd", "list"),
        "cd",
        [("a", "c"), ("b", "d")],
    ),
    "names that Keras made, by place": (
        heads("ab", "list", named=False),
        "ab",
        heads("ba", "list"),
        "ba",
        [("a", "b"), ("b", "a")],
    ),
    "one of the teacher's": (
        heads("ab", "list"),
        "ab",
        heads("b", "lone"),
        "b",
        BY_NAME[1:],
    ),
}


@pytest.mark.parametrize("case", PAIRS)
def test_outputs_belong_together_by_name_else_by_place(case):
    teacher, theirs, student, ours, pairs = PAIRS[case]
    z_t, z_s = by_name(teacher, theirs), by_name(student, ours)
    want = sum(
        knowledge_distillation(z_t[one], z_s[other], 2.0).mean() for one, other in pairs
    )
    assert_allclose(logs_of(teacher, student)["loss"], want, rtol=1e-4)


UNPAIRED = {
    "a student's head more": (heads("ab"), heads("abc"), None),
    "a subclassed student's head more": (called("ab"), called("abc"), None),
    "other names": (heads("ab"), heads("cd"), None),
    "lone teacher named as another": (heads("b", "lone"), heads("ab"), None),
    "loss on the one it is not named as": (
        heads("b", "lone"),
        heads("ab"),
        {"a": LogitMSE()},
    ),
    "student without a name": (
        heads("ab", "list"),
        heads("a", "lone", named=False),
        None,
    ),
}


@pytest.mark.parametrize("case", UNPAIRED)
def test_an_output_without_a_counterpart_is_an_error(case):
    with pytest.raises(ValueError, match="no output of the teacher belongs to it"):
        logs_of(*UNPAIRED[case])


@pytest.mark.parametrize("name", ["zzz", None])
def test_a_lone_output_of_the_teacher_goes_with_the_one_that_is_named(name):
    """A student with a head of its own for distillation, as DeiT has."""
    teacher = heads([name or "a"], "lone", named=name is not None)
    student = heads(["cls", "dist"])
    logs = logs_of(teacher, student, {"dist": HardLabel()})
    z_t = teacher.predict(X, verbose=0)
    rows = log_softmax(student.predict(X, verbose=0)["dist"])
    want = -np.take_along_axis(rows, z_t.argmax(-1)[:, None], -1).mean()
    assert_allclose(logs["loss"], want, rtol=1e-4)


def test_fidelity_is_logged_of_outputs_that_belong_together():
    logs = logs_of(heads("b", "lone"), heads("ab"), {"b": LogitMSE()})
    assert "b_agreement" in logs
    assert "a_agreement" not in logs


@pytest.mark.parametrize("softmax", ["", "b"])
def test_members_with_heads_in_another_order(softmax):
    acts = dict.fromkeys(softmax, "softmax")
    members = [heads("ab", "list", activations=acts), heads("bca"), called("ba")]
    names, student = ["ab", "bca", "ba"], heads("ba", "list")
    z_s, want = by_name(student, "ba"), 0.0
    outputs = [by_name(m, n) for m, n in zip(members, names, strict=True)]
    for head in "ab":
        logs = [z[head] for z in outputs]
        logs[0] = np.log(logs[0]) if head in softmax else logs[0]
        z_t = np.log(np.mean([np.exp(log_softmax(z)) for z in logs], axis=0))
        want += knowledge_distillation(z_t, z_s[head], 2.0).mean()
    logs = logs_of(TeacherEnsemble(members), student)
    assert_allclose(logs["loss"], want, rtol=1e-4)


def test_a_first_member_with_a_head_more_is_an_error():
    with pytest.raises(ValueError, match="cannot come first"):
        logs_of(TeacherEnsemble([heads("cab"), heads("ab")]), heads("ab"))


@pytest.mark.parametrize("key", ["teacher_logits", "teacher_probs"])
@pytest.mark.parametrize(
    "student", [heads("ba", "list"), called("ba")], ids=["list", "sub"]
)
def test_stored_answers_belong_together_by_name(student, key):
    z = by_name(heads("cab"), "cab")
    given = {k: np.exp(log_softmax(v)) for k, v in z.items()} if key[8] == "p" else z
    z_s = by_name(student, "ba")
    want = sum(knowledge_distillation(z[h], z_s[h], 2.0).mean() for h in "ab")
    given = {name: value.astype("float32") for name, value in given.items()}
    assert_allclose(logs_of(None, student, y={key: given})["loss"], want, rtol=1e-4)


def test_stored_numbers_that_no_loss_takes_as_logits_stay_as_they_are():
    """Shares of a whole, compared as features beside a head of logits."""
    student, z = heads("ab"), by_name(heads("ab"), "ab")
    z_s, shares = by_name(student, "ab"), np.exp(log_softmax(z["b"]))
    stored = {"a": np.exp(log_softmax(z["a"])), "b": shares}
    y = {"teacher_logits": {k: v.astype("float32") for k, v in stored.items()}}
    losses = {"a": KnowledgeDistillation(2.0), "b": FeatureMatching(None, None)}
    want = knowledge_distillation(z["a"], z_s["a"], 2.0).mean()
    want += np.mean((shares - z_s["b"]) ** 2)
    assert_allclose(logs_of(None, student, losses, y=y)["loss"], want, rtol=1e-4)


@pytest.mark.parametrize("form", [dict, list])
def test_an_output_is_weighed_by_its_own_weights(form):
    teacher, student = heads("ab"), heads("ab", "list" if form is list else "dict")
    y, weight = RNG.integers(0, 3, 8), RNG.random((2, 8)).astype("float32")
    weight[0, :3] = 0.0
    weights = dict(zip("ab", weight, strict=True))
    z_t, z_s = by_name(teacher, "ab"), by_name(student, "ab")
    values = knowledge_distillation(z_t["a"], z_s["a"], 2.0)
    logs = logs_of(
        teacher,
        student,
        {"a": KnowledgeDistillation(2.0)},
        y={"a": y, "b": y} if form is dict else [y, y],
        sample_weight=weights if form is dict else list(weight),
    )
    assert_allclose(logs["loss"], np.mean(weight[0] * values), rtol=1e-4)


T = RNG.normal(size=(4, 5, 4)).astype("float32")


def tokens(pooled):
    pool = [layers.GlobalAveragePooling1D(), layers.Reshape((1, 4))] if pooled else []
    return keras.Sequential([keras.Input((5, 4)), *pool, layers.Dense(3)])


def of_any_length(first_only):
    inputs = keras.Input((None, 4))
    outputs = layers.Dense(3)(inputs)
    return keras.Model(inputs, outputs[:, :1] if first_only else outputs)


@pytest.mark.parametrize(
    "loss",
    [
        KnowledgeDistillation(),
        LogitMSE(),
        BrierLoss(),
        FeatureMatching(None, None),
        keras.distillation.LogitsDistillation(loss=keras.losses.KLDivergence()),
        keras.distillation.FeatureDistillation(loss="mse"),
    ],
    ids=lambda loss: type(loss).__name__,
)
@pytest.mark.parametrize("make", [tokens, of_any_length])
@pytest.mark.parametrize("pooled", [(False, True), (True, False)], ids=str)
def test_positions_are_compared_before_anything_broadcasts(pooled, make, loss):
    teacher, student = map(make, pooled)
    with pytest.raises((ValueError, tf.errors.OpError)):
        logs_of(teacher, student, loss, x=T)


@pytest.mark.parametrize(
    "loss", [LogitMSE(), FeatureMatching(None, None)], ids=lambda loss: loss.name
)
def test_a_column_and_a_row_of_numbers_are_not_compared(loss):
    inputs = keras.Input((6,))
    row = keras.Model(inputs, layers.Dense(1)(inputs)[:, 0])
    column = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
    for teacher, student in ((row, column), (column, row)):
        with pytest.raises(ValueError, match="axes|axis"):
            logs_of(teacher, student, loss)


def test_one_unit_heads_are_distilled_and_leave_others_alone():
    student, teacher = heads("ab", units=1), heads("ab", units=1)
    logs = logs_of(teacher, student, LogitMSE())
    z_t, z_s = by_name(teacher, "ab"), by_name(student, "ab")
    want = sum(np.mean((z_t[h] - z_s[h]) ** 2) for h in "ab")
    assert_allclose(logs["loss"], want, rtol=1e-4)
    assert set(logs) == {"loss", "distillation_loss"}
    with pytest.raises(ValueError, match="classes"):
        logs_of(teacher, student)


def test_masks_of_members_are_those_of_the_ensemble():
    class NoNumber(layers.Layer):
        supports_masking = True

        def call(self, z, mask=None):
            return z if mask is None else keras.ops.where(mask[..., None], z, np.nan)

    def tagger(mask):
        inputs = keras.Input((5,), dtype="int32")
        embedded = layers.Embedding(20, 4, mask_zero=mask)(inputs)
        return keras.Model(inputs, NoNumber()(layers.Dense(3)(embedded)))

    x = RNG.integers(1, 20, (8, 5))
    x[:, 3:] = 0
    members, student = [tagger(True), tagger(True)], tagger(False)
    distiller = compiled(TeacherEnsemble(members), student, KnowledgeDistillation(2.0))
    z = [np.asarray(member(x), "float64")[:, :3] for member in members]
    z_t = np.log(np.mean([np.exp(log_softmax(one)) for one in z], axis=0))
    z_s = student.predict(x, verbose=0)[:, :3]
    logs = distiller.train_on_batch(x, return_dict=True)
    want = knowledge_distillation(z_t, z_s, 2.0).mean()
    assert_allclose(logs["loss"], want, rtol=1e-4)
    assert all(np.isfinite(w).all() for w in student.get_weights())


STORED_LOSSES = [
    KnowledgeDistillation(2.0),
    LogitMSE(),
    BrierLoss(),
    FeatureMatching(None, None),
    keras.distillation.LogitsDistillation(loss=keras.losses.KLDivergence()),
]


@pytest.mark.parametrize("loss", STORED_LOSSES, ids=lambda loss: type(loss).__name__)
def test_answers_at_weight_0_stay_out_of_value_and_gradient(loss):
    z, weight = RNG.normal(size=(8, 3)).astype("float32"), np.ones(8, "float32")
    z[:3], weight[:3] = np.nan, 0.0
    student = heads("a", "lone")
    distiller = compiled(
        None, student, loss, fidelity_metrics=[keras_kd.metrics.TotalVariation()]
    )
    logs = distiller.train_on_batch(X, {"teacher_logits": z}, weight, return_dict=True)
    assert all(np.isfinite(value) for value in logs.values()), logs
    assert all(np.isfinite(w).all() for w in student.get_weights())
