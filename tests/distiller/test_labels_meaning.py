"""What labels mean is the label loss's to say: against plain Keras on a copy."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from numpy.testing import assert_allclose
from oracles.logits import log_softmax

import keras_kd
from keras_kd.losses import FeatureMatching, KnowledgeDistillation, LogitMSE

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(8, 6)).astype("float32")
TOKENS = RNG.normal(size=(6, 5, 4)).astype("float32")
PIXELS = RNG.normal(size=(4, 4, 4, 3)).astype("float32")
NETWORKS = {
    "rows": (ROWS, lambda units: [layers.Dense(4, "tanh"), layers.Dense(units)]),
    "tokens": (TOKENS, lambda units: [layers.Dense(4, "tanh"), layers.Dense(units)]),
    "pixels": (PIXELS, lambda units: [layers.Conv2D(units, 3, padding="same")]),
}
SPARSE = keras.losses.SparseCategoricalCrossentropy


def model(kind, units):
    x, make = NETWORKS[kind]
    return keras.Sequential([keras.Input(x.shape[1:]), *make(units)])


def copy_of(student):
    copy = keras.models.clone_model(student)
    copy.set_weights(student.get_weights())
    return copy


def compiled(student, loss, metrics=None, losses=None, **arguments):
    teacher = keras.models.clone_model(student)
    losses = losses or FeatureMatching(None, None)
    distiller = keras_kd.Distiller(teacher, student, losses, student_loss_weight=1.0)
    distiller.compile(
        keras.optimizers.SGD(0.1), loss, metrics, run_eagerly=True, **arguments
    )
    return distiller


def check_as_plain_keras(kind, units, y, loss, metrics=None, weight=None):
    """One step: logs and weights are those of plain Keras on a copy."""
    x, student = NETWORKS[kind][0], model(kind, units)
    plain = copy_of(student)
    sgd = keras.optimizers.SGD(0.1)
    plain.compile(sgd, loss, metrics=metrics and metrics(), run_eagerly=True)
    distiller = compiled(student, loss, metrics and metrics())
    want, got = (
        m.train_on_batch(x, y, sample_weight=weight, return_dict=True)
        for m in (plain, distiller)
    )
    for name, value in want.items():
        assert_allclose(got[name], value, rtol=1e-4, err_msg=name)
    for one, other in zip(plain.get_weights(), student.get_weights(), strict=True):
        assert_allclose(other, one, rtol=1e-4, atol=1e-5)


class SupCon(keras.losses.Loss):
    """Looks at pairs of labels `(batch, 1)`."""

    def call(self, y, v):
        v = ops.normalize(v, axis=1, epsilon=1e-6)
        z = ops.matmul(v, ops.transpose(v)) / 0.5
        same = ops.cast(ops.equal(y, ops.transpose(y)), "float32")
        return -ops.sum(same * ops.log_softmax(z), 1) / ops.sum(same, -1)


class OwnCall(keras.losses.Loss):
    def __call__(self, y, p, sample_weight=None):
        return ops.mean(ops.square(ops.cast(y, p.dtype) - p))


class TaskLoss(keras.losses.Loss):  # "kl" is part of its name
    def call(self, y, p):
        return ops.mean(ops.square(y - p), -1)


def margin(y, p):
    sign = ops.cast(2 * ops.reshape(y, (-1, 1)) - 1, p.dtype)
    return ops.mean(ops.softplus(-sign * p), -1)


def gaussian(y, p):
    gap = ops.reshape(ops.cast(y, "float32"), (-1,)) - p[:, 0]
    return 0.5 * (p[:, 1] + ops.square(gap) * ops.exp(-p[:, 1]))


def ordinal(y, z):
    levels = ops.arange(z.shape[-1], dtype="int32")[None]
    above = ops.cast(ops.cast(ops.reshape(y, (-1, 1)), "int32") > levels, "float32")
    return ops.mean(ops.binary_crossentropy(above, z, from_logits=True), -1)


def over_time(y, p):
    cross_entropy = ops.sparse_categorical_crossentropy
    return ops.mean(cross_entropy(ops.cast(y, "int32"), p, from_logits=True), -1)


def scalar(y, p):
    return ops.mean(over_time(y, p))


def tagged(units, empty=5):
    y = (RNG.random((8, units)) > 0.6).astype("float32")
    y[:empty] = 0.0
    return y


BINARY = RNG.integers(0, 2, 8)
# A loss of labels that may hold -1, 0, rows of zeros, or no class index at all.
AS_GIVEN = {
    "rows of zeros": ("rows", 4, tagged(4), TaskLoss()),
    "rows of zeros, bce": (
        "rows",
        4,
        tagged(4),
        keras.losses.BinaryCrossentropy(from_logits=True),
    ),
    "points at the origin": ("rows", 2, np.zeros((8, 2), "float32"), "mae"),
    "targets of -1, column": ("rows", 1, 2.0 * BINARY[:, None] - 1, "mse"),
    "targets of -1, row": ("rows", 1, 2.0 * BINARY - 1, "mse"),
    "margin -1, uint8": ("rows", 1, BINARY.astype("uint8"), margin),
    "margin, bool": ("rows", 1, BINARY.astype(bool), margin),
    "margin, int8 column": ("rows", 1, BINARY[:, None].astype("int8"), margin),
    "gaussian, any real": ("rows", 2, RNG.normal(size=8).astype("float32"), gaussian),
    "gaussian, -1 and 0": ("rows", 2, -BINARY.astype("float32"), gaussian),
    "pairs": ("rows", 4, RNG.integers(0, 3, (8, 1)), SupCon()),
    "identities": ("rows", 4, RNG.integers(0, 500, (8, 1)), SupCon()),
    "levels": ("rows", 4, RNG.integers(0, 5, 8), ordinal),
    "own __call__": ("rows", 4, RNG.normal(size=(8, 4)), OwnCall()),
    "mean over time": ("tokens", 3, RNG.integers(0, 3, (6, 5)), over_time),
    "one scalar": ("tokens", 3, RNG.integers(0, 3, (6, 5)), scalar),
    "ctc": ("tokens", 7, RNG.integers(1, 7, (6, 2)), keras.losses.CTC()),
    "soft rows": (
        "rows",
        3,
        np.exp(log_softmax(RNG.normal(size=(8, 3)))),
        keras.losses.CategoricalCrossentropy(from_logits=True),
    ),
}


@pytest.mark.parametrize("case", AS_GIVEN)
def test_labels_reach_any_other_loss_as_plain_keras_gives_them(case):
    check_as_plain_keras(*AS_GIVEN[case])


INDICES = {
    "rows": (8,),
    "rows column": (8, 1),
    "tokens": (6, 5),
    "tokens column": (6, 5, 1),
    "pixels": (4, 4, 4),
    "pixels column": (4, 4, 4, 1),
}


@pytest.mark.parametrize("shape", INDICES)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "float32"])
def test_class_indices_of_any_rank_and_type(shape, dtype):
    y = RNG.integers(0, 3, INDICES[shape]).astype(dtype)
    kind = shape.split()[0]
    check_as_plain_keras(kind, 3, y, SPARSE(from_logits=True), lambda: ["accuracy"])


def test_small_integers_count_more_classes_than_they_hold():
    y = RNG.integers(0, 100, 8).astype("int8")
    check_as_plain_keras("rows", 200, y, SPARSE(from_logits=True))


@pytest.mark.parametrize(
    ("ignored", "dtype"),
    [(255, "uint8"), (-100, "int32"), (-1, "int64"), (0, "int32"), (255, "float32")],
)
@pytest.mark.parametrize("shape", ["rows column", "tokens", "tokens column", "pixels"])
def test_ignore_class_of_the_loss_counts_nowhere(shape, ignored, dtype):
    y = RNG.integers(0, 3, INDICES[shape])
    y[:, :2] = ignored if y.shape[1] > 1 else y[:, :2]
    y[:2] = ignored
    y, kind = y.astype(dtype), shape.split()[0]
    weight = RNG.random((len(y),) + (1,) * (kind != "rows")).astype("float32")
    if kind == "pixels":
        weight = weight[..., None]
    loss = SPARSE(from_logits=True, ignore_class=ignored)
    check_as_plain_keras(kind, 3, y, loss)
    check_as_plain_keras(kind, 3, y, loss, weight=weight)


def test_the_label_loss_is_the_mean_over_rows_with_a_label():
    y = RNG.integers(0, 3, 8)
    y[2:] = keras_kd.UNLABELED
    student = model("rows", 3)
    distiller = compiled(
        student, SPARSE(from_logits=True), losses=KnowledgeDistillation()
    )
    distiller.student_loss_weight = 0.5
    logs = distiller.evaluate(ROWS, y, verbose=0, return_dict=True)
    rows = log_softmax(student.predict(ROWS, verbose=0))[:2]
    want = -np.take_along_axis(rows, y[:2, None], -1).mean()
    assert_allclose(logs["student_loss"], want, rtol=1e-5)
    half = 0.5 * (logs["student_loss"] + logs["distillation_loss"])
    assert_allclose(logs["loss"], half, rtol=1e-5)


def heads(units):
    inputs = keras.Input((6,))
    hidden = layers.Dense(4, "tanh")(inputs)
    outputs = {name: layers.Dense(n, name=name)(hidden) for name, n in units.items()}
    return keras.Model(inputs, outputs)


def test_labels_and_metrics_of_some_outputs_only():
    student = heads({"a": 3, "b": 3})
    y = RNG.integers(0, 3, 8)
    distiller = compiled(
        student,
        {"b": SPARSE(from_logits=True)},
        {"b": ["accuracy"]},
        losses={"a": KnowledgeDistillation()},
    )
    logs = distiller.evaluate(ROWS, {"b": y}, verbose=0, return_dict=True)
    z = student.predict(ROWS, verbose=0)["b"]
    want = -np.take_along_axis(log_softmax(z), y[:, None], -1).mean()
    assert_allclose(logs["loss"], want, rtol=1e-5)
    assert_allclose(logs["b_accuracy"], (z.argmax(-1) == y).mean())


def test_metrics_of_an_output_without_labels_are_an_error():
    distiller = compiled(
        heads({"a": 3, "b": 3}),
        {"b": SPARSE(from_logits=True)},
        {"a": ["mae"]},
        losses={"a": KnowledgeDistillation()},
    )
    with pytest.raises(ValueError, match="'a', of which `y` brings no labels"):
        distiller.evaluate(ROWS, {"b": RNG.integers(0, 3, 8)}, verbose=0)


def test_missing_labels_of_one_output_leave_the_others_alone():
    student = heads({"a": 3, "b": 1})
    y = {"a": RNG.integers(0, 3, 8), "b": np.array([-1, 0, 1, -1] * 2, "float32")}
    y["a"][:5] = keras_kd.UNLABELED
    distiller = compiled(student, {"a": SPARSE(from_logits=True), "b": "mse"})
    logs = distiller.evaluate(ROWS, y, verbose=0, return_dict=True)
    z = student.predict(ROWS, verbose=0)
    of_a = log_softmax(z["a"])[5:]
    of_a = -np.take_along_axis(of_a, y["a"][5:, None], -1).mean()
    assert_allclose(logs["a_loss"], of_a, rtol=1e-5)
    assert_allclose(logs["b_loss"], np.mean((z["b"][:, 0] - y["b"]) ** 2), rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf], ids=str)
@pytest.mark.parametrize("shape", [(8,), (8, 1)], ids=str)
@pytest.mark.parametrize(
    "loss", ["mse", "huber", TaskLoss()], ids=["mse", "huber", "TaskLoss"]
)
def test_targets_at_weight_0_stay_out_of_value_and_gradient(loss, shape, bad):
    weight = np.array([0, 0, 0, 1, 1, 1, 1, 1], "float32")
    y = RNG.normal(size=8).astype("float32")
    y[:3] = bad
    student = model("rows", 1)
    distiller = compiled(student, loss, weighted_metrics=["mae"])
    logs = distiller.train_on_batch(ROWS, y.reshape(shape), weight, return_dict=True)
    assert all(np.isfinite(value) for value in logs.values()), logs
    assert all(np.isfinite(w).all() for w in student.get_weights())


@pytest.mark.parametrize("shape", ["rows", "rows column", "tokens"])
def test_class_indices_at_weight_0_are_not_read(shape):
    y = RNG.integers(0, 3, INDICES[shape])
    y[:3] = 999
    weight = np.ones((len(y), 1), "float32")
    weight[:3] = 0.0
    kind = shape.split()[0]
    distiller = compiled(model(kind, 3), SPARSE(from_logits=True))
    logs = distiller.train_on_batch(NETWORKS[kind][0], y, weight, return_dict=True)
    assert np.isfinite(logs["loss"])


FACTORS = {0: 1.0, 1: 5.0, 2: 20.0}


@pytest.mark.parametrize("shape", INDICES)
def test_class_weights_of_indices_of_any_rank(shape):
    y, kind = RNG.integers(0, 3, INDICES[shape]), shape.split()[0]
    student = model(kind, 3)
    z = student.predict(NETWORKS[kind][0], verbose=0)
    flat = y.reshape(z.shape[:-1])
    values = -np.take_along_axis(log_softmax(z), flat[..., None], -1)[..., 0]
    want = np.mean(values * np.vectorize(FACTORS.get)(flat))
    distiller = compiled(
        student, SPARSE(from_logits=True), losses=KnowledgeDistillation()
    )
    x = NETWORKS[kind][0]
    history = distiller.fit(x, y, class_weight=FACTORS, verbose=0, batch_size=len(x))
    assert_allclose(history.history["loss"], [want], rtol=1e-4)


@pytest.mark.parametrize(
    "loss",
    [keras.losses.CategoricalCrossentropy(from_logits=True), "mse"],
    ids=["categorical", "mse"],
)
def test_class_weights_of_one_hot_rows(loss):
    y = np.eye(3, dtype="float32")[RNG.integers(0, 3, 8)]
    student = model("rows", 3)
    plain = copy_of(student)
    plain.compile("sgd", loss, run_eagerly=True)
    fits = (m.fit for m in (plain, compiled(student, loss)))
    want, got = (
        fit(ROWS, y, class_weight=FACTORS, verbose=0).history["loss"] for fit in fits
    )
    assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("y", [tagged(3, 0), RNG.integers(0, 3, (8, 3))], ids=str)
def test_class_weights_of_rows_that_are_no_classes_are_an_error(y):
    y[0] = 1
    with pytest.raises(Exception, match="needs one class an example"):
        compiled(model("rows", 3), "mse").fit(ROWS, y, class_weight=FACTORS, verbose=0)


class Strict(keras.metrics.Metric):
    """Takes no weights, and looks at whole rows of labels."""

    def __init__(self, ndim):
        super().__init__(name="strict")
        self.ndim = ndim
        self.rows = self.add_weight(shape=(), initializer="zeros", name="rows")

    def update_state(self, y, p, sample_weight=None):
        assert sample_weight is None
        assert len(y.shape) == self.ndim
        self.rows.assign_add(ops.cast(ops.shape(y)[0], "float32"))

    def result(self):
        return ops.convert_to_tensor(self.rows)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("shape", ["rows", "rows column", "tokens", "pixels"])
def test_metrics_without_weights_get_none_and_whole_rows(shape, missing):
    y, kind = RNG.integers(0, 3, INDICES[shape]), shape.split()[0]
    if missing:
        y[:2] = keras_kd.UNLABELED
    distiller = compiled(model(kind, 3), SPARSE(from_logits=True), [Strict(y.ndim)])
    distiller.run_eagerly = shape != "tokens"  # one trace says it
    logs = distiller.evaluate(NETWORKS[kind][0], y, verbose=0, return_dict=True)
    assert logs["strict"] == len(y) - 2 * missing


@pytest.mark.parametrize("metric", ["mae", "tags"])
def test_label_metrics_without_a_loss_count_rows_of_zeros(metric):
    y, student = tagged(4), model("rows", 4)
    z = student.predict(ROWS, verbose=0)
    tags = keras.metrics.BinaryAccuracy(threshold=0.0, name="tags")
    teacher = keras.models.clone_model(student)
    distiller = keras_kd.Distiller(
        teacher, student, LogitMSE(), student_loss_weight=0.0
    )
    distiller.compile(metrics=[tags if metric == "tags" else metric], run_eagerly=True)
    logs = distiller.evaluate(ROWS, y, verbose=0, return_dict=True)
    want = np.abs(z - y).mean() if metric == "mae" else np.mean((z > 0) == (y > 0.5))
    assert_allclose(logs[metric], want, rtol=1e-5)
