"""Knowledge distillation of two heads in chunks: the whole form, an oracle, memory."""

import importlib.util
import sys
from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_allclose
from oracles import logits as oracles
from own_process import PEAK, run

from keras_kd import losses

fused = losses.fused_linear_knowledge_distillation
CLASSES, UNITS = 11, (6, 4)
OWN = np.array([1.0, 4.0, 0.5], "float32")


def heads(shape, dtype="float32", bias=True, seed=0):
    """`(states, kernels, biases)` of teacher and student, in float64 and in `dtype`."""
    rng = np.random.default_rng(seed)
    states = [rng.normal(size=(*shape, units)) for units in UNITS]
    kernels = [rng.normal(size=(units, CLASSES)) for units in UNITS]
    biases = [rng.normal(size=CLASSES) if bias else None for _ in UNITS]
    given = [
        None if part is None else tf.cast(part, dtype)
        for part in (*states, *kernels, *biases)
    ]
    exact = [None if part is None else np.float64(tf.cast(part, "float64"))
             for part in given]  # fmt: skip
    return given, exact


def logits_of(states, kernel, bias):
    logits = ops.matmul(states, kernel)
    return logits if bias is None else logits + bias


def whole(ts, ss, tk, sk, tb, sb, **options):
    options.pop("chunk_size", None)
    sides = logits_of(ts, tk, tb), logits_of(ss, sk, sb)
    return losses.knowledge_distillation(*sides, **options)


def values_and_gradients(function, given, upstream, **options):
    parts = [given[i] for i in (1, 3, 5) if given[i] is not None]
    with tf.GradientTape() as tape:
        tape.watch(parts)
        values = function(*given, **options)
        total = ops.sum(values * ops.cast(upstream, values.dtype))
    return values, *tape.gradient(total, parts)


def upstream_of(shape, kind):
    upstream = np.cos(np.arange(np.prod(shape))).reshape(shape)
    if kind == "some zero":
        upstream[..., 1::2] = 0.0
    return np.ones(shape) if kind == "ones" else upstream


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(7,), (3, 5)], ids=str)
def test_values_equal_the_oracle(shape, dtype):
    rtol = {"float64": 1e-10, "float32": 1e-5, "float16": 2e-2, "bfloat16": 1e-1}
    given, exact = heads(shape, dtype)
    sides = [
        states @ kernel + bias
        for states, kernel, bias in zip(exact[:2], exact[2:4], exact[4:], strict=True)
    ]
    for temperature, chunk_size in product((1.0, 4.0), (2, 4, 100)):
        options = {"temperature": temperature, "chunk_size": chunk_size}
        values = fused(*given, **options)
        assert values.dtype == ("float64" if dtype == "float64" else "float32")
        want = oracles.knowledge_distillation(*sides, temperature)
        atol = rtol[dtype] * want.max()
        assert_allclose(values, want, rtol=rtol[dtype], atol=atol)


@pytest.mark.parametrize("kind", ["ones", "cosines", "some zero"])
@pytest.mark.parametrize("temperature", [1.0, 4.0, OWN], ids=["1", "4", "own"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_gradients_are_those_of_the_whole_form(kind, temperature, bias):
    """Into states, kernel and bias, each position by its own upstream."""
    given, _ = heads((3, 5), bias=bias)
    upstream = upstream_of((3, 5), kind)
    want = values_and_gradients(whole, given, upstream, temperature=temperature)
    for chunk_size in (1, 4, 15, 64):  # 15 positions: divided, not divided, all at once
        found = values_and_gradients(
            fused, given, upstream, temperature=temperature, chunk_size=chunk_size
        )
        for value, other in zip(found, want, strict=True):
            assert_allclose(value, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_gradients_in_other_precisions(dtype):
    given, _ = heads((3, 5), dtype)
    upstream = upstream_of((3, 5), "cosines")
    found = values_and_gradients(fused, given, upstream, chunk_size=4)
    want = values_and_gradients(whole, given, upstream)
    tolerance = {"float64": 1e-10, "float16": 2e-3, "bfloat16": 2e-2}[dtype]
    for value, other in zip(found, want, strict=True):
        assert value.dtype == other.dtype
        value, other = (np.float64(tf.cast(side, "float64")) for side in (value, other))
        size = np.abs(other).max()
        assert_allclose(value, other, rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("known", [False, True], ids=["dynamic", "static"])
def test_compiled_it_is_the_same(known, jit_compile):
    given, _ = heads((3, 5))
    spec = [None, None] if not known else [3, 5]
    signature = [tf.TensorSpec([*spec, units], "float32") for units in UNITS]

    @tf.function(jit_compile=jit_compile, input_signature=signature)
    def compiled(*states):
        parts = (*states, *given[2:])
        order = tf.reshape(
            tf.range(tf.size(states[0][..., 0])), tf.shape(states[0])[:2]
        )
        upstream = tf.cos(tf.cast(order, "float32"))
        return values_and_gradients(fused, parts, upstream, chunk_size=4)

    want = values_and_gradients(whole, given, upstream_of((3, 5), "cosines"))
    for value, other in zip(compiled(*given[:2]), want, strict=True):
        assert_allclose(value, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "XLA"])
def test_lengths_that_only_the_run_knows_must_be_equal(jit_compile):
    """Rows of another length would be compared with the wrong ones."""
    (teacher, student, *rest), _ = heads((3, 5))
    signature = [tf.TensorSpec([None, None, units], "float32") for units in UNITS]

    @tf.function(jit_compile=jit_compile, input_signature=signature)
    def compiled(*states):
        return fused(*states, *rest, chunk_size=4)

    with pytest.raises((tf.errors.OpError, ValueError)):
        compiled(teacher, student[:, :4])
    with pytest.raises((tf.errors.OpError, ValueError)):
        compiled(teacher[:, :4], student)
    assert compiled(teacher, student).shape == (3, 5)


def test_no_positions_give_no_values_and_no_gradient():
    given, _ = heads((0, 5))
    values, *gradients = values_and_gradients(fused, given, np.ones((0, 5)))
    assert values.shape == (0, 5)
    for gradient in gradients:
        assert not np.asarray(gradient).any()


def test_a_position_that_does_not_count_has_no_gradient_whatever_it_holds():
    given, _ = heads((6,))
    upstream = np.array([1.0, 0, 1, 0, 0, 1])
    want = values_and_gradients(fused, given, upstream, chunk_size=4)[1:]
    spoilt = [np.array(part) for part in given]
    spoilt[0][1], spoilt[0][4] = np.nan, np.inf
    spoilt = [tf.constant(part) for part in spoilt]
    found = values_and_gradients(
        lambda *a, **k: tf.where(upstream > 0, fused(*a, **k), 0.0),
        spoilt,
        upstream,
        chunk_size=4,
    )[1:]
    for value, other in zip(found, want, strict=True):
        assert_allclose(value, other, rtol=1e-6, atol=1e-7)


def test_the_teacher_and_the_temperature_get_no_gradient():
    given, _ = heads((5,))
    temperature = tf.constant(3.0)
    others = [given[0], given[2], given[4], temperature]
    with tf.GradientTape() as tape:
        tape.watch(others)
        values = fused(*given, temperature=temperature, chunk_size=2)
    assert tape.gradient(values, others) == [None] * 4


def test_a_second_derivative_is_refused():
    given, _ = heads((5,))
    with tf.GradientTape() as outer:
        outer.watch(given[1])
        with tf.GradientTape() as inner:
            inner.watch(given[1])
            values = fused(*given)
        first = inner.gradient(values, given[1])
    with pytest.raises(NotImplementedError, match="take `KnowledgeDistillation`"):
        outer.gradient(first, given[1])


def test_heads_of_dense_layers_train():
    """Keras variables go in as they are, and their gradients come out."""
    given, _ = heads((3, 5))
    dense = keras.layers.Dense(CLASSES)
    dense.build((None, UNITS[1]))
    with tf.GradientTape() as tape:
        parts = given[0], given[1], given[2], dense.kernel, given[4], dense.bias
        loss = ops.mean(fused(*parts, chunk_size=4))
    found = tape.gradient(loss, dense.trainable_variables)
    with tf.GradientTape() as tape:
        sides = logits_of(given[0], given[2], given[4]), dense(given[1])
        loss = ops.mean(losses.knowledge_distillation(*sides))
    for value, other in zip(
        found, tape.gradient(loss, dense.trainable_variables), strict=True
    ):
        assert_allclose(value, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: np.zeros(6)}, "batch, ..., units"),
        ({2: np.zeros((CLASSES, 6))}, "transpose that of tied"),
        ({3: np.zeros((4, 3)), 5: np.zeros(3)}, "the same classes"),
        ({4: np.zeros(3)}, "one number a class"),
        ({1: np.zeros((4, 4))}, "as many examples and positions"),
        ({1: np.zeros((5, 2, 4))}, "as many examples and positions"),
    ],
    ids="rank units classes bias examples positions".split(),
)
def test_shapes_that_do_not_fit_are_named(change, message):
    given, _ = heads((5,))
    parts = [change.get(i, part) for i, part in enumerate(given)]
    with pytest.raises(ValueError, match=message):
        fused(*parts)


def test_a_chunk_has_at_least_one_position():
    given, _ = heads((5,))
    with pytest.raises(ValueError, match="chunk_size"):
        fused(*given, chunk_size=0)


ON_JAX = """
import jax
import numpy as np
from keras_kd.losses import fused_linear_knowledge_distillation as fused
from keras_kd.losses import knowledge_distillation

rng = np.random.default_rng(0)
states = [rng.normal(size=(3, 5, units)).astype("float32") for units in (6, 4)]
kernels = [rng.normal(size=(units, 11)).astype("float32") for units in (6, 4)]

def in_chunks(state, kernel):
    return (fused(states[0], state, kernels[0], kernel, chunk_size=4) ** 2).sum()

def whole(state, kernel):
    return (knowledge_distillation(states[0] @ kernels[0], state @ kernel) ** 2).sum()

want = jax.value_and_grad(whole, (0, 1))(states[1], kernels[1])
for wrap in (lambda f: f, jax.jit):
    found = wrap(jax.value_and_grad(in_chunks, (0, 1)))(states[1], kernels[1])
    for value, other in zip(jax.tree.leaves(found), jax.tree.leaves(want)):
        print(float(np.abs(value - other).max() / np.abs(other).max()))
"""


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="needs JAX")
def test_on_jax_it_is_the_same():
    errors = [float(line) for line in run(ON_JAX, KERAS_BACKEND="jax").split()]
    assert len(errors) == 6  # value and two gradients, as it is and compiled
    assert max(errors) < 1e-4


POSITIONS, VOCABULARY = 1024, 20_000
ARRAY = POSITIONS * VOCABULARY * 4 / 2**20  # 78 MiB
OF_A_STEP = f"""{PEAK}
import tensorflow as tf

rng = np.random.default_rng(0)
states = [tf.constant(rng.normal(size=(rows, 32)).astype("f4")) for _ in "ts"]
kernels = [tf.constant(rng.normal(size=(32, classes)).astype("f4")) for _ in "ts"]

def whole(*parts):
    logits = [tf.matmul(parts[i], parts[i + 2]) for i in (0, 1)]
    return losses.knowledge_distillation(*logits)

forms = dict(
    whole=whole,
    fused=functools.partial(losses.fused_linear_knowledge_distillation, chunk_size=64),
)

@tf.function(reduce_retracing=True)
def step(*parts):
    with tf.GradientTape() as tape:
        tape.watch(parts)
        loss = tf.reduce_mean(forms[sys.argv[3]](*parts))
    return loss, tape.gradient(loss, [parts[1], parts[3]])

for size in (8, 9):  # trace and warm up
    step(*[part[:size] for part in states], *kernels)
print(peak_of(lambda: step(*states, *kernels))[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_array_of_all_logits_exists():
    fused_peak, whole_peak = (
        float(run(OF_A_STEP, POSITIONS, VOCABULARY, form).splitlines()[-1])
        for form in ("fused", "whole")
    )
    print(f"MiB: {whole_peak:.0f} whole, {fused_peak:.0f} fused")
    assert whole_peak > 4 * ARRAY
    assert fused_peak < whole_peak / 6
