"""Knowledge distillation in chunks: the oracle, the unchunked form, and the memory."""

import importlib.util
import sys
from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from logit_sides import DTYPES, all_sides, differences, rounded, sides_by_kind
from numpy.testing import assert_allclose
from oracles import logits as oracles
from own_process import PEAK, run

import keras_kd
from keras_kd import losses

chunked = losses.chunked_knowledge_distillation
ChunkedKD = losses.ChunkedKnowledgeDistillation
OWN = np.array([1.0, 4.0, 0.5, 16.0], "float32")
UNKNOWN = tf.TensorSpec([None, None, 10], "float32")


def values_and_gradient(function, teacher, student, **options):
    """Of a sum in which each value counts differently."""
    with tf.GradientTape() as tape:
        tape.watch(student)
        values = function(teacher, student, **options)
        order = ops.reshape(ops.arange(ops.size(values)), ops.shape(values))
        total = ops.sum(values * ops.cos(ops.cast(order, values.dtype)))
    return values, tape.gradient(total, student)


def tensors(*shape):
    sides = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    return [tf.constant(side) for side in sides]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(16, 10), (4, 7, 10)], ids=str)
def test_equals_oracle(shape, dtype):
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    given, exact = rounded(dtype, *all_sides(shape))
    for temperature, chunk_size in product((1.0, 3.0, 16.0), (13, 1024)):
        options = {"temperature": temperature, "chunk_size": chunk_size}
        values = chunked(*given, **options)
        assert values.dtype == ("float64" if dtype == "float64" else "float32")
        want = oracles.knowledge_distillation(*exact, temperature)
        assert_allclose(values, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("temperature", [1.0, 4.0, OWN], ids=["1", "4", "own"])
def test_gradient_is_that_of_the_whole_form(temperature, dtype):
    for kind, sides in sides_by_kind((4, 7, 10)).items():
        given, exact = rounded(dtype, *sides)
        options = {"temperature": temperature}
        found, want = (
            values_and_gradient(function, *given, **options)
            for function in (
                lambda *sides, **options: chunked(*sides, chunk_size=5, **options),
                losses.knowledge_distillation,
            )
        )
        tolerance = {"float64": 1e-12, "float16": 1e-3, "bfloat16": 8e-3}.get(
            dtype, 1e-5
        )
        for value, other in zip(found, want, strict=True):
            assert value.dtype == other.dtype
            assert_allclose(
                ops.cast(value, "float64"),
                ops.cast(other, "float64"),
                rtol=tolerance,
                atol=1e-12 if dtype == "float64" else 1e-5,
                err_msg=kind,
            )


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("known", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize("chunk_size", [1, 4, 27, 100])
def test_any_chunk_size_gives_the_same(chunk_size, known, jit_compile):
    """Those that divide the 28 positions, that do not, and one chunk for all."""
    teacher, student = tensors(4, 7, 10)
    signature = None if known else [UNKNOWN, UNKNOWN]

    @tf.function(jit_compile=jit_compile, input_signature=signature)
    def compiled(teacher, student):
        return values_and_gradient(
            chunked, teacher, student, temperature=OWN, chunk_size=chunk_size
        )

    want = values_and_gradient(
        losses.knowledge_distillation, teacher, student, temperature=OWN
    )
    for value, other in zip(compiled(teacher, student), want, strict=True):
        assert_allclose(value, other, rtol=1e-5, atol=1e-5)


def test_gradient_equals_differences():
    sides = sides_by_kind((3, 4, 6))["unit"]
    teacher, student = (tf.constant(side) for side in sides)

    def function(teacher, student):
        return chunked(teacher, student, temperature=2.0, chunk_size=5)

    with tf.GradientTape() as tape:
        tape.watch(student)
        values = function(teacher, student)
    found = tape.gradient(values, student)
    assert_allclose(found, differences(function, *sides), atol=1e-8)
    want = oracles.student_gradient(*sides, 2.0)
    assert_allclose(found, want, atol=1e-12)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("shape", [(0, 7), (4, 0), (1, 1)], ids=str)
def test_no_rows_and_one_row(shape, jit_compile):
    teacher, student = tensors(*shape, 10)

    @tf.function(jit_compile=jit_compile, input_signature=[UNKNOWN, UNKNOWN])
    def compiled(teacher, student):
        return values_and_gradient(chunked, teacher, student, chunk_size=3)

    for function in (compiled, compiled.python_function):
        values, gradient = function(teacher, student)
        assert (values.shape, gradient.shape) == (shape, (*shape, 10))
        assert np.isfinite(values).all()
        assert np.isfinite(gradient).all()


def test_excluded_classes_have_no_value_and_no_gradient():
    teacher, student = np.random.default_rng(0).normal(size=(2, 16, 10))
    teacher[:, 3] = student[::2, 3] = -np.inf
    given, exact = rounded("float32", teacher, student)
    with tf.GradientTape() as tape:
        tape.watch(given[1])
        values = chunked(*given, chunk_size=5)
    assert_allclose(values, oracles.knowledge_distillation(*exact, 4.0), rtol=1e-5)
    want = oracles.student_gradient(*exact, 4.0)
    assert_allclose(tape.gradient(values, given[1]), want, atol=1e-6)


def test_teacher_and_temperature_get_no_gradient():
    teacher, student = tensors(4, 10)
    temperature = tf.constant(3.0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([teacher, student, temperature])
        values = chunked(teacher, student, temperature=temperature, chunk_size=3)
    assert tape.gradient(values, [teacher, temperature]) == [None, None]
    assert tape.gradient(values, student).shape == student.shape


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
def test_a_second_derivative_is_refused(wrap):
    teacher, student = tensors(4, 10)

    @wrap
    def second_derivative():
        with tf.GradientTape() as outer:
            outer.watch(student)
            with tf.GradientTape() as inner:
                inner.watch(student)
                values = chunked(teacher, student)
            first = inner.gradient(values, student)
        return outer.gradient(first, student)

    with pytest.raises(NotImplementedError, match="take `KnowledgeDistillation`"):
        second_derivative()


def test_a_new_temperature_takes_effect_without_a_new_trace():
    teacher, student = tensors(4, 7, 10)
    loss, traces = ChunkedKD(4.0, chunk_size=5), []

    @tf.function
    def compiled(teacher, student):
        traces.append(1)
        return loss(teacher, student)

    for temperature in (4.0, 1.0, 9.5):
        loss.temperature = temperature
        want = oracles.knowledge_distillation(teacher, student, temperature).mean()
        assert_allclose(compiled(teacher, student), want, rtol=1e-5)
    assert len(traces) == 1


def test_an_example_may_bring_a_temperature():
    teacher, student = tensors(4, 7, 10)
    given = tf.constant(np.where(OWN == 4, 0, OWN))  # 0: that of the loss
    found = ChunkedKD(4.0, chunk_size=5).call(teacher, student, temperature=given)
    for row, *sides, temperature in zip(found, teacher, student, OWN, strict=True):
        want = oracles.knowledge_distillation(*sides, temperature)
        assert_allclose(row, want, rtol=1e-5)


def test_in_the_distiller_masked_positions_do_not_count():
    """One step of either form: same logs, same weights, and the mean of real ones."""
    tokens = np.random.default_rng(0).integers(1, 12, (6, 8))
    tokens[np.arange(8) >= np.array([[8], [3], [1], [5], [8], [2]])] = 0

    def network(seed):
        init = keras.initializers.RandomNormal(seed=seed)
        embedding = keras.layers.Embedding(12, 5, init, mask_zero=True)
        head = keras.layers.Dense(10, kernel_initializer=init)
        return keras.Sequential([keras.Input((8,), dtype="int32"), embedding, head])

    teacher, found = network(1), []
    for loss in (ChunkedKD(2.0, chunk_size=7), losses.KnowledgeDistillation(2.0)):
        student = network(2)
        sides = teacher(tokens), student(tokens)
        want = oracles.knowledge_distillation(*sides, 2.0)[tokens > 0].mean()
        distiller = keras_kd.Distiller(teacher, student, loss, student_loss_weight=0.0)
        distiller.compile(keras.optimizers.SGD(1.0))
        logs = distiller.fit(tokens, batch_size=6, verbose=0).history
        assert_allclose(logs["distillation_loss"], [want], rtol=1e-5)
        found.append(student.get_weights())
    for weight, other in zip(*found, strict=True):
        assert_allclose(weight, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrap", [lambda f: f, tf.function], ids=["eager", "graph"])
def test_a_row_that_does_not_count_has_no_gradient_whatever_it_holds(wrap):
    rng = np.random.default_rng(0)
    sides = rng.normal(size=(2, 6, 5)).astype("float32")
    whole = sides.copy()
    sides[0, 1], sides[1, 3], sides[1, 4, 2] = np.nan, np.inf, np.nan
    counts = np.array([1.0, 0, 1, 0, 0, 1], "float32")

    @wrap
    def gradient(teacher, student):
        with tf.GradientTape() as tape:
            tape.watch(student)
            values = losses.chunked_knowledge_distillation(
                teacher, student, chunk_size=4
            )
            total = tf.reduce_sum(tf.where(counts > 0, values, 0.0))
        return tape.gradient(total, student)

    found = gradient(*map(tf.constant, sides))
    want = gradient(*map(tf.constant, whole)) * counts[:, None]
    assert_allclose(found, want, rtol=1e-6)


ON_JAX = """
import jax
import numpy as np
from keras import ops

from keras_kd.losses import chunked_knowledge_distillation, knowledge_distillation

teacher, student = np.random.default_rng(0).normal(size=(2, 4, 7, 10))
weights = np.arange(1.0, 29.0).reshape(4, 7)

def total(function, **options):
    own = np.array([1.0, 4.0, 0.5, 16.0])
    return lambda t, s: ops.sum(weights * function(t, s, temperature=own, **options))

whole = jax.value_and_grad(total(knowledge_distillation), 1)(teacher, student)
for size in (1, 5, 28, 100):
    chunked = total(chunked_knowledge_distillation, chunk_size=size)
    for wrap in (lambda f: f, jax.jit):
        found = wrap(jax.value_and_grad(chunked, 1))(teacher, student)
        for value, want in zip(found, whole, strict=True):
            np.testing.assert_allclose(value, want, rtol=1e-5, atol=1e-5)
try:
    jax.hessian(chunked, 1)(teacher, student)
except NotImplementedError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="needs JAX")
def test_on_jax_it_is_the_same():
    assert "take `KnowledgeDistillation`" in run(ON_JAX, KERAS_BACKEND="jax")


ROWS, CLASSES = 8192, 5000
ARRAY = ROWS * CLASSES * 4 / 2**20  # 156 MiB
OF_THE_LOSS = f"""{PEAK}
import tensorflow as tf

def step_of(function):
    @tf.function(jit_compile=sys.argv[3] == "XLA", reduce_retracing=True)
    def step(teacher, student):
        with tf.GradientTape() as tape:
            tape.watch(student)
            loss = tf.reduce_mean(function(teacher, student, temperature=2.0))
        return loss, tape.gradient(loss, student)
    step(*[tf.zeros((4, classes))] * 2)
    return step

# Small chunks, so that what exists of one of them is small beside an array.
chunked = functools.partial(losses.chunked_knowledge_distillation, chunk_size=128)
steps = [step_of(form) for form in (chunked, losses.knowledge_distillation)]
sides = [tf.random.stateless_normal((rows, classes), (0, i)) for i in (1, 2)]
for step in steps:
    peak, (loss, gradient) = peak_of(lambda: step(*sides))
    print(peak, float(loss), float(tf.norm(gradient)))
    del gradient
"""
OF_THE_DISTILLER = f"""{PEAK}
import keras

import keras_kd

def network(seed):
    tokens = keras.Input((64,), dtype="int32")
    x = keras.layers.Embedding(classes, 8, mask_zero=True)(tokens)
    return keras.Model(tokens, keras.layers.Dense(classes)(x))

def compiled(loss):
    distiller = keras_kd.Distiller(network(1), network(2), loss, None, 0.0)
    distiller.compile("sgd")
    distiller.train_on_batch(x[:1])
    return distiller

x = np.random.default_rng(0).integers(1, classes, (rows // 64, 64))
distiller = compiled(getattr(losses, sys.argv[3])(2.0))
print(peak_of(lambda: distiller.train_on_batch(x))[0])
"""
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def peaks(script, *arguments):
    """Above the logits, in MiB, and other numbers; of the chunked form first."""
    lines = run(script, ROWS, CLASSES, *arguments).strip().splitlines()
    return [list(map(float, line.split())) for line in lines[-2:]]


@pytest.mark.slow
@on_linux
@pytest.mark.parametrize("mode", ["graph", "XLA"])
def test_memory_holds_no_whole_array_but_logits_and_gradient(mode):
    (chunked_peak, *values), (whole_peak, *want) = peaks(OF_THE_LOSS, mode)
    print(f"{mode}, MiB: {whole_peak:.0f} whole, {chunked_peak:.0f} chunked")
    assert_allclose(values, want, rtol=1e-5)
    assert chunked_peak < whole_peak - 2 * ARRAY
    assert chunked_peak < 2 * ARRAY  # the gradient is one


@pytest.mark.slow
@on_linux
def test_a_whole_step_of_the_distiller_takes_less_memory():
    """Both logits, the gradient, what metrics and the mask hold; not the rest."""
    # What the allocator keeps of one step lowers the peak of the next: one a process.
    forms = "ChunkedKnowledgeDistillation", "KnowledgeDistillation"
    chunked_peak, whole_peak = (
        float(run(OF_THE_DISTILLER, ROWS, CLASSES, form).splitlines()[-1])
        for form in forms
    )
    print(f"a step, MiB: {whole_peak:.0f} whole, {chunked_peak:.0f} chunked")
    assert chunked_peak < whole_peak - 2 * ARRAY
