"""What all losses on the relations within a batch share: oracles, gradients, edges."""

import functools
from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_allclose
from oracles import contrastive, relational, similarity
from small_models import mlp, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd import losses

LAYERS = {"teacher_layer_name": "features", "student_layer_name": "features"}
AS_THEY_ARE = functools.partial(losses.CRD, embedding_size=None)
FORMS = {  # class, function, oracle
    "SP": (
        losses.SimilarityPreserving,
        losses.similarity_preserving,
        similarity.similarity_preserving,
    ),
    "PKT": (losses.PKT, losses.pkt, similarity.pkt),
    "RKD-D": (losses.RKDDistance, losses.rkd_distance, relational.rkd_distance),
    "RKD-A": (losses.RKDAngle, losses.rkd_angle, relational.rkd_angle),
    "CRD": (AS_THEY_ARE, losses.crd, contrastive.crd),
}
DTYPES = {"float16": 1e-5, "bfloat16": 1e-5, "float32": 1e-5, "float64": 1e-10}
each_form = pytest.mark.parametrize(
    ("make", "function", "oracle"), FORMS.values(), ids=FORMS
)
each_function = pytest.mark.parametrize(
    "function", [form[1] for form in FORMS.values()], ids=FORMS
)


def sides_by_kind(shape=(12, 6)):
    """Features of both sides, by what makes them difficult."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, *shape))
    centres = rng.normal(size=(3, *shape[1:]))[np.arange(shape[0]) % 3]
    return {
        "unit": (a, b),
        "rectified": (np.maximum(a, 0) + 0.01, np.maximum(b, 0) + 0.01),
        "large": (1e4 * a, 1e4 * b),
        "small": (1e-4 * a, 1e-4 * b),
        "one side large": (a, 1e4 * b),
        "near": (a, a + 1e-3 * b),
        "far from 0": (100 + a, b - 100),
        "clusters": (centres + 0.05 * a, centres + 0.05 * b),
        "equal": (a, a),
    }


def rounded(dtype, *sides):
    """What the loss sees in `dtype`, and the same numbers in float64."""
    given = [ops.cast(side, dtype) for side in sides]
    return given, [ops.convert_to_numpy(ops.cast(side, "float64")) for side in given]


def gradient(function, teacher, student):
    student = tf.convert_to_tensor(student)
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = ops.mean(function(teacher, student))
    return tape.gradient(value, student).numpy()


@each_form
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_oracle(make, function, oracle, dtype):
    loss, tolerance = make(**LAYERS, dtype=dtype), DTYPES[dtype]
    for kind, sides in sides_by_kind().items():
        if kind == "far from 0" and dtype == "float16":
            continue  # its values would be few, and coincide
        given, exact = rounded(dtype, *sides)
        values, want = function(*given), oracle(*exact)
        assert values.dtype == ("float64" if dtype == "float64" else "float32")
        assert_allclose(values, want, rtol=tolerance, atol=tolerance, err_msg=kind)
        found = ops.cast(loss(*given), "float64")
        # Keras rounds the mean to `dtype`; CRD's temperature is a float32 variable.
        loose = 0.02 if dtype.endswith("16") else max(tolerance, 1e-7)
        assert_allclose(found, want.mean(), rtol=loose, atol=loose, err_msg=kind)


@each_form
@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        ((5, 7), (5, 7)),
        ((5, 3, 4), (5, 12)),  # a sequence
        ((5, 3, 2, 4), (5, 4, 3, 2)),  # images
        ((2, 24), (2, 24)),
        ((5, 1, 7), (5, 7)),
    ],
    ids=str,
)
def test_examples_of_any_shape_are_flattened(make, function, oracle, teacher, student):
    del make
    rng = np.random.default_rng(1)
    sides = rng.normal(size=teacher), rng.normal(size=student)
    assert_allclose(function(*sides), oracle(*sides), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["SP", "PKT", "RKD-D", "RKD-A"])
def test_sizes_of_both_sides_may_differ(name):
    _, function, oracle = FORMS[name]
    rng = np.random.default_rng(1)
    sides = rng.normal(size=(6, 2, 2, 5)), rng.normal(size=(6, 3))
    assert_allclose(function(*sides), oracle(*sides), rtol=1e-10)


@each_form
def test_gradient_equals_finite_differences(make, function, oracle):
    del make
    for kind in ("unit", "clusters", "rectified"):
        teacher, student = (side[:6] for side in sides_by_kind()[kind])
        want, step = np.zeros_like(student), 1e-6
        for index in np.ndindex(student.shape):
            ends = []
            for sign in (1, -1):
                moved = student.copy()
                moved[index] += sign * step
                ends.append(oracle(teacher, moved).mean())
            want[index] = (ends[0] - ends[1]) / (2 * step)
        found = gradient(function, teacher, student)
        assert_allclose(found, want, rtol=1e-5, atol=1e-8, err_msg=kind)


@pytest.mark.parametrize("name", ["SP", "PKT", "RKD-D", "RKD-A"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_sides_have_no_loss_and_no_gradient(name, dtype):
    function = FORMS[name][1]
    features = sides_by_kind()["unit"][0].astype(dtype)
    assert not np.any(function(features, features))
    assert_allclose(gradient(function, features, features), 0.0, atol=1e-7)


def awkward_rows():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(8, 6))
    twice = np.repeat(rows[:4], 2, axis=0)
    return {
        "unit": rows,
        "all zero": np.zeros((8, 6)),
        "all equal": np.tile(rows[:1], (8, 1)),
        "all equal and far": np.full((8, 6), 12345.678),
        "coincident": twice,
        "nearly coincident": twice + 1e-5 * rows,
        "some zero": rows * (np.arange(8) % 3 > 0)[:, None],
        "opposite": twice * np.where(np.arange(8) % 2, 1, -1)[:, None],
        "+-1e4": 1e4 * np.sign(rows),
        "1e15": 1e15 * rows,
        "1e-25": 1e-25 * rows,
        "1e-40": 1e-40 * rows,
    }


@each_function
@pytest.mark.parametrize(
    ("dtype", "xla"), [("float32", False), ("float32", True), ("float64", False)]
)
def test_values_and_gradients_are_finite(function, dtype, xla):
    @tf.function(jit_compile=xla)
    def compiled(teacher, student):
        with tf.GradientTape() as tape:
            tape.watch(student)
            values = function(teacher, student)
        return values, tape.gradient(values, student)

    kinds = awkward_rows()
    for teacher_kind, student_kind in product(["unit", "all zero", "opposite"], kinds):
        sides = (tf.constant(kinds[k], dtype) for k in (teacher_kind, student_kind))
        values, slopes = compiled(*sides)
        message = f"{teacher_kind}, {student_kind}"
        assert np.isfinite(values).all(), message
        assert np.isfinite(slopes).all(), message


@each_function
@pytest.mark.parametrize("rows", [0, 1, 2, 5])
def test_the_size_of_the_batch_may_be_known_to_the_run_alone(function, rows):
    @tf.function(input_signature=2 * [tf.TensorSpec((None, 3), "float64")])
    def compiled(teacher, student):
        with tf.GradientTape() as tape:
            tape.watch(student)
            values = function(teacher, student)
        return values, tape.gradient(values, student)

    sides = np.random.default_rng(0).normal(size=(2, rows, 3))
    values, slopes = compiled(*sides)
    assert values.shape == (rows,)
    assert np.isfinite(slopes).all()
    if rows > 1:
        assert_allclose(values, function(*sides), rtol=1e-12)
    else:
        assert not np.any(values)
        assert not np.any(slopes)


@each_function
def test_lengths_may_be_known_to_the_run_alone(function):
    @tf.function(input_signature=2 * [tf.TensorSpec((None, None, 3), "float64")])
    def compiled(teacher, student):
        return function(teacher, student)

    sides = np.random.default_rng(0).normal(size=(2, 5, 4, 3))
    assert_allclose(compiled(*sides), function(*sides), rtol=1e-12)


@each_function
def test_the_value_of_an_example_goes_with_it(function):
    teacher, student = sides_by_kind()["unit"]
    order = np.random.default_rng(1).permutation(len(teacher))
    want = np.asarray(function(teacher, student))[order]
    assert_allclose(function(teacher[order], student[order]), want, rtol=1e-10)


@each_form
def test_what_is_compared_is_said_by_batch(make, function, oracle):
    del function, oracle
    loss = make(**LAYERS)
    assert (loss.couples_batch, loss.batch) == (True, "global")
    loss = make(**LAYERS, batch="replica")
    copy = type(loss).from_config(loss.get_config())
    assert copy.batch == "replica"
    assert copy.get_config() == loss.get_config()


@pytest.mark.parametrize("name", [*FORMS, "CRD with projectors"])
def test_training_lowers_the_loss(name):
    make = losses.CRD if name not in FORMS else FORMS[name][0]
    teacher = mlp("teacher", seed=1, units=8)
    student = mlp("student", seed=2, units=8 if name == "CRD" else 5)
    model = keras_kd.Distiller(teacher, student, make(**LAYERS), student_loss_weight=0)
    model.compile(
        keras.optimizers.Adam(0.03), loss=sparse_cross_entropy(), run_eagerly=True
    )
    x, y = toy_data(24)
    history = model.fit(x, y, batch_size=24, epochs=6, shuffle=False, verbose=0).history
    values = history["distillation_loss"]
    assert values[-1] < 0.9 * values[0]
    assert np.isfinite(values).all()
