"""Teachers and students of any kind: how they are built, fed, typed, and nested."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose
from oracles.logits import knowledge_distillation, log_softmax
from small_models import mlp, scattered, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.losses import FeatureMatching, KnowledgeDistillation

X, Y = toy_data(16)
EXACT = {"rtol": 2e-6, "atol": 2e-7}


@keras.saving.register_keras_serializable(package=__name__)
class Subclassed(keras.Model):
    """`call` without a training argument; "backbone" is a model of its own."""

    def __init__(self, units=8, **kwargs):
        super().__init__(**kwargs)
        self.backbone = keras.Sequential(
            [
                keras.layers.Dense(units, activation="tanh", name="inner"),
                keras.layers.BatchNormalization(),
            ],
            name="backbone",
        )
        self.head = keras.layers.Dense(3, name="head")

    def call(self, inputs):
        return self.head(self.backbone(inputs))


def sequential(name, units=8, lazy=False):
    layers = [
        keras.layers.Dense(units, activation="tanh", name="hidden"),
        keras.layers.Dense(3, name="logits"),
    ]
    inputs = [] if lazy else [keras.Input((4,))]
    return keras.Sequential(inputs + layers, name=name)


def built(model):
    model(X[:2])
    return model


TEACHERS = {
    "functional": lambda: mlp("teacher", units=10),
    "Sequential": lambda: sequential("teacher", 10),
    "subclassed": lambda: built(Subclassed(10, name="teacher")),
}
STUDENTS = {
    "functional": lambda: mlp("student", seed=1),
    "Sequential": lambda: sequential("student"),
    "lazy Sequential": lambda: sequential("student", lazy=True),
    "subclassed": lambda: built(Subclassed(name="student")),
    "unbuilt subclassed": lambda: Subclassed(name="student"),
}
INNER = {"functional": "hidden", "Sequential": "hidden", "subclassed": "backbone.inner"}


def fit(distiller, x=X, y=Y, **arguments):
    return distiller.fit(x, y, verbose=0, **arguments).history


# Each kind on each side: how one side is read does not depend on the other's kind.
PAIRS_OF_KINDS = [
    ("functional", "lazy Sequential", False),
    ("functional", "unbuilt subclassed", False),
    ("Sequential", "functional", False),
    ("subclassed", "Sequential", False),
    ("subclassed", "subclassed", False),
    ("functional", "functional", True),
    ("functional", "unbuilt subclassed", True),
]


@pytest.mark.parametrize(
    ("teacher_kind", "student_kind", "jit_compile"), PAIRS_OF_KINDS
)
def test_any_teacher_teaches_any_student(teacher_kind, student_kind, jit_compile):
    """With a feature loss between inner layers of unlike widths."""
    inner = FeatureMatching(INNER[teacher_kind], INNER[student_kind.split()[-1]])
    losses = [KnowledgeDistillation(), inner]
    student = STUDENTS[student_kind]()
    distiller = keras_kd.Distiller(TEACHERS[teacher_kind](), student, losses)
    optimizer = keras.optimizers.Adam(0.02)
    distiller.compile(
        optimizer,
        loss=sparse_cross_entropy(),
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    history = fit(distiller, batch_size=8, epochs=6, validation_data=(X, Y))
    assert history["loss"][-1] < history["loss"][0]
    assert history["feature_matching"][-1] < history["feature_matching"][0]
    assert {"val_accuracy", "val_agreement"} < set(history)
    (layer,) = distiller.get_projectors()["feature_matching"]
    projector = layer.kernel
    assert projector.shape == (8, 10)
    assert any(projector is weight for weight in distiller.trainable_weights)
    assert len(distiller.trainable_weights) == len(student.trainable_weights) + 1
    assert_allclose(distiller.predict(X, verbose=0), student(X), rtol=1e-5, atol=1e-6)


def with_inputs(names, name, seed=0):
    """A model over several inputs of four features each."""
    inputs = {n: keras.Input((4,), name=n) for n in names}
    x = keras.layers.Concatenate()(list(inputs.values())) if len(names) > 1 else None
    x = inputs[names[0]] if x is None else x
    return keras.Model(inputs, keras.layers.Dense(3)(x), name=name)


def as_tuple(names, name):
    inputs = tuple(keras.Input((4,), name=n) for n in names)
    outputs = keras.layers.Dense(3)(keras.layers.Add()(inputs))
    return keras.Model(inputs, outputs, name=name)


@keras.saving.register_keras_serializable(package=__name__)
class OfDict(keras.Model):
    """A subclassed model takes of a dict what it wants."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(3)

    def call(self, inputs):
        return self.dense(inputs["a"] + inputs["b"])


A, B, C = (toy_data(16, seed=seed)[0] for seed in (1, 2, 3))
BATCHES = {"dict": {"a": A, "b": B, "c": C}, "tuple": (A, B)}
PAIRS = {
    "same keys": (
        "dict",
        lambda: with_inputs("abc", "teacher"),
        lambda: with_inputs("abc", "student"),
    ),
    "teacher takes more": (
        "dict",
        lambda: with_inputs("abc", "teacher"),
        lambda: with_inputs("ab", "student"),
    ),
    "student takes others": (
        "dict",
        lambda: with_inputs("ab", "teacher"),
        lambda: with_inputs("cb", "student"),
    ),
    "one key": (
        "dict",
        lambda: with_inputs("ab", "teacher"),
        lambda: as_tuple("ca", "student"),
    ),
    "subclassed": (
        "dict",
        lambda: with_inputs("ac", "teacher"),
        lambda: OfDict(name="student"),
    ),
    "tuple": (
        "tuple",
        lambda: as_tuple("ab", "teacher"),
        lambda: as_tuple("ab", "student"),
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_each_model_takes_its_part_of_the_batch(pair):
    kind, make_teacher, make_student = PAIRS[pair]
    teacher, student, x = make_teacher(), make_student(), BATCHES[kind]
    distiller = keras_kd.Distiller(teacher, student, KnowledgeDistillation())
    distiller.compile(
        keras.optimizers.SGD(0.0), loss=sparse_cross_entropy(), run_eagerly=True
    )
    history = fit(distiller, x, Y, batch_size=8, validation_data=(x, Y))
    part = {n: x[n] for n in teacher.input} if isinstance(teacher.input, dict) else x
    z_t = np.asarray(teacher(part), "float64")
    z_s = np.asarray(distiller.predict(x, verbose=0), "float64")
    want = knowledge_distillation(z_t, z_s, 4.0).mean()
    assert_allclose(history["distillation_loss"], [want], **EXACT)
    assert_allclose(history["val_distillation_loss"], [want], **EXACT)


HEADS = {"species": 3, "size": 5}


def two_headed(name, structure, seed=0):
    inputs = keras.Input((4,))
    x = keras.layers.Dense(6, activation="tanh")(inputs)
    outputs = {
        head: keras.layers.Dense(classes, name=head)(x)
        for head, classes in HEADS.items()
    }
    outputs = outputs if structure is dict else list(outputs.values())
    return scattered(keras.Model(inputs, outputs, name=name), seed)


@pytest.mark.parametrize("missing", [False, True], ids=["labelled", "some unlabelled"])
@pytest.mark.parametrize("structure", [dict, list])
def test_several_outputs_with_a_loss_each(structure, missing):
    teacher, student = (two_headed(n, structure, i) for i, n in enumerate("ts"))
    y = {"species": Y.copy(), "size": (Y + 2).astype("int32")}
    if missing:
        y["species"][::2] = keras_kd.UNLABELED

    def per_output(value):
        return (
            {h: value() for h in HEADS}
            if structure is dict
            else [value() for _ in HEADS]
        )

    factors = {"species": 2.0, "size": 0.5}
    distiller = keras_kd.Distiller(teacher, student, KnowledgeDistillation())
    distiller.compile(
        keras.optimizers.SGD(0.0),
        loss=per_output(sparse_cross_entropy),
        loss_weights=factors if structure is dict else list(factors.values()),
        metrics=per_output(lambda: ["accuracy"]),
        run_eagerly=True,
    )
    targets = y if structure is dict else list(y.values())
    history = fit(distiller, X, targets, batch_size=6, validation_data=(X, targets))
    wants = {}
    z_t, z_s = (by_head(m(X)) for m in (teacher, student))
    for head in HEADS:
        counts = y[head] >= 0
        values = -log_softmax(z_s[head])[np.arange(16), np.maximum(y[head], 0)]
        wants[f"{head}_loss"] = values[counts].mean()
        hits = z_s[head].argmax(-1) == y[head]
        wants[f"{head}_accuracy"] = hits[counts].mean()
        agree = z_t[head].argmax(-1) == z_s[head].argmax(-1)
        wants[f"{head}_agreement"] = agree.mean()
    kd = sum(knowledge_distillation(z_t[h], z_s[h], 4.0) for h in HEADS)
    wants["distillation_loss"] = kd.mean()
    wants["student_loss"] = sum(factors[h] * wants[f"{h}_loss"] for h in HEADS)
    wants["loss"] = 0.5 * wants["student_loss"] + 0.5 * kd.mean()
    for name, want in wants.items():
        assert_allclose(history[name], [want], err_msg=name, **EXACT)
        assert_allclose(history[f"val_{name}"], [want], err_msg=name, **EXACT)


def by_head(outputs):
    if not isinstance(outputs, dict):
        outputs = dict(zip(HEADS, outputs, strict=True))
    return {head: np.asarray(z, "float64") for head, z in outputs.items()}


@pytest.mark.parametrize("structure", [dict, list])
def test_sample_weights_weigh_all_outputs(structure):
    """One array for all, as Keras takes it: it hands it to each output."""
    teacher, student = (two_headed(n, structure, i) for i, n in enumerate("ts"))
    y, losses = dict.fromkeys(HEADS, Y), dict.fromkeys(HEADS, sparse_cross_entropy())
    if structure is list:
        y, losses = list(y.values()), list(losses.values())
    distiller = keras_kd.Distiller(teacher, student, KnowledgeDistillation())
    distiller.compile(keras.optimizers.SGD(0.0), loss=losses, run_eagerly=True)
    weight = np.random.default_rng(2).uniform(0, 2, 16).astype("float32")
    weight[::3] = 0.0
    history = fit(distiller, X, y, sample_weight=weight)
    z_t, z_s = (by_head(m(X)) for m in (teacher, student))
    kd = sum(knowledge_distillation(z_t[h], z_s[h], 4.0) for h in HEADS)
    labels = sum(-log_softmax(z_s[h])[np.arange(16), Y] for h in HEADS)
    want = {
        "distillation_loss": np.average(kd, weights=weight),
        "student_loss": np.average(labels, weights=weight),
        "loss": np.mean(weight * (0.5 * labels + 0.5 * kd)),
    }
    for name, value in want.items():
        assert_allclose(history[name], [value], err_msg=name, **EXACT)


def test_an_output_without_a_loss_is_distilled_only():
    teacher, student = (two_headed(n, dict, i) for i, n in enumerate("ts"))
    distiller = keras_kd.Distiller(teacher, student, KnowledgeDistillation())
    distiller.compile("sgd", loss={"species": sparse_cross_entropy()})
    before = student.get_layer("size").get_weights()
    fit(distiller, X, {"species": Y, "size": Y})
    after = student.get_layer("size").get_weights()
    assert np.abs(before[0] - after[0]).max() > 0


POLICIES = ["float32", "mixed_float16", "mixed_bfloat16"]


@pytest.mark.parametrize("student_policy", POLICIES)
@pytest.mark.parametrize("teacher_policy", POLICIES)
def test_unlike_policies_train_together(teacher_policy, student_policy):
    teacher = mlp("teacher", units=10, dtype=teacher_policy)
    student = mlp("student", seed=1, norm="batch", dtype=student_policy)
    losses = [KnowledgeDistillation(), FeatureMatching("hidden", "hidden")]
    distiller = keras_kd.Distiller(teacher, student, losses)
    distiller.compile(
        keras.optimizers.SGD(0.05), loss=sparse_cross_entropy(), run_eagerly=True
    )
    scaled = isinstance(distiller.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (student_policy == "mixed_float16")
    history = fit(distiller, batch_size=16, epochs=3, shuffle=False)
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]
    z_t, z_s = (np.asarray(keras.ops.cast(m(X), "float64")) for m in (teacher, student))
    logs = distiller.evaluate(X, Y, return_dict=True, verbose=0)
    want = knowledge_distillation(z_t, z_s, 4.0).mean()
    rtol = 5e-3 if student_policy == "mixed_bfloat16" else 1e-4  # of the logits
    assert_allclose(logs["knowledge_distillation"], want, rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1e-3, 1e4], ids=str)
@pytest.mark.parametrize("policy", POLICIES)
def test_extreme_logits_stay_finite(policy, scale):
    teacher, student = (
        mlp(name, seed=i, dtype=policy) for i, name in enumerate(("teacher", "student"))
    )
    for model in (teacher, student):
        kernel = model.get_layer("logits").kernel
        kernel.assign(kernel * scale)
    distiller = keras_kd.Distiller(teacher, student, KnowledgeDistillation())
    distiller.compile(
        keras.optimizers.SGD(1e-3), loss=sparse_cross_entropy(), run_eagerly=True
    )
    history = fit(distiller, batch_size=8, epochs=2)
    for name, values in history.items():
        assert np.isfinite(values).all(), name
    assert all(np.isfinite(w).all() for w in student.get_weights())


def nested(name, seed):
    """As keras-hub classifiers are: the backbone is one layer of the classifier."""
    inputs = keras.Input((4,))
    backbone = mlp("backbone", seed=seed, units=5 + seed, classes=6)
    return keras.Model(inputs, keras.layers.Dense(3)(backbone(inputs)), name=name)


def test_a_dotted_path_reaches_into_a_nested_functional_model():
    teacher, student = nested("teacher", 1), nested("student", 0)
    loss = FeatureMatching("backbone.hidden", "backbone.hidden")
    losses = [loss, KnowledgeDistillation()]
    distiller = keras_kd.Distiller(teacher, student, losses, student_loss_weight=0.0)
    distiller.compile(keras.optimizers.SGD(0.0))
    logs = distiller.evaluate(X, return_dict=True, verbose=0)
    hidden = [
        np.asarray(m.get_layer("backbone").get_layer("hidden")(X), "float64")
        for m in (teacher, student)
    ]
    projected = hidden[1] @ np.asarray(
        distiller.get_projectors()["feature_matching"][0].kernel, "float64"
    )
    want = np.mean((hidden[0] - projected) ** 2)
    assert_allclose(logs["feature_matching"], want, **EXACT)


def test_layers_shared_by_both_models_stay_trainable():
    shared = keras.layers.Dense(6, activation="tanh", name="shared")
    inputs = keras.Input((4,))
    teacher, student = (
        keras.Model(inputs, keras.layers.Dense(3)(shared(inputs)), name=name)
        for name in ("teacher", "student")
    )
    distiller = keras_kd.Distiller(teacher, student, KnowledgeDistillation())
    distiller.compile(keras.optimizers.SGD(0.1), loss=sparse_cross_entropy())
    before = shared.get_weights()[0]
    fit(distiller)
    assert len(distiller.trainable_weights) == 4
    assert np.abs(shared.get_weights()[0] - before).max() > 0


def test_frozen_layers_of_the_student_do_not_move():
    student = mlp("student", seed=1)
    student.get_layer("hidden").trainable = False
    distiller = keras_kd.Distiller(mlp("teacher"), student, KnowledgeDistillation())
    distiller.compile(keras.optimizers.SGD(0.1), loss=sparse_cross_entropy())
    frozen, free = (student.get_layer(n).get_weights()[0] for n in ("hidden", "logits"))
    fit(distiller)
    np.testing.assert_array_equal(student.get_layer("hidden").get_weights()[0], frozen)
    assert np.abs(student.get_layer("logits").get_weights()[0] - free).max() > 0
