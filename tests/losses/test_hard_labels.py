"""Losses on one class against float64 NumPy; drawn ones against their distribution."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from logit_sides import (
    DTYPES,
    all_sides,
    differences,
    gradient,
    rounded,
    sides_by_kind,
    values_of_unknown_batch,
)
from numpy.testing import assert_allclose
from oracles import logit_matching as oracles
from oracles import reference
from oracles.logits import cross_entropy, log_softmax, softmax
from small_models import mlp, toy_data
from two_devices import on_two_devices

from keras_kd.losses import (
    HardLabel,
    SampledLabel,
    hard_label,
    knowledge_distillation,
    sampled_label,
)

TEACHER, STUDENT = [1.0, 0.0, -0.5, 2.0], [0.3, -1.0, 0.0, 0.7]


def unit(shape=(6, 5)):
    return sides_by_kind(shape)["unit"]


# The teacher's choice.


@pytest.mark.parametrize("dtype", DTYPES)
def test_hard_label_equals_oracle(dtype):
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    for shape in (8, 2), (4, 1000), (3, 4, 10):
        given, exact = rounded(dtype, *all_sides(shape))
        values = hard_label(*given)
        assert values.dtype == ("float64" if dtype == "float64" else "float32")
        want = oracles.hard_label(*exact)
        assert_allclose(values, want, rtol=tolerance, atol=tolerance)


def test_hard_label_equals_published_value():
    values = hard_label(reference.TEACHER_LOGITS, reference.STUDENT_LOGITS)
    assert_allclose(np.mean(values), reference.NLL_OF_TEACHER_CLASSES, atol=5e-9)


def test_of_equal_logits_the_first_class_counts():
    teacher, student = np.array([[0.0, 3.0, 1.0, 3.0]]), np.array([STUDENT])
    assert_allclose(hard_label(teacher, student), -log_softmax(student)[:, 1])


def test_hard_label_is_kl_with_a_sure_teacher():
    teacher, student = unit()
    want = knowledge_distillation(1e4 * teacher, student, temperature=1.0)
    assert_allclose(hard_label(teacher, student), want, rtol=1e-12)


def test_hard_label_at_equality_is_the_surprise_of_the_likeliest_class():
    teacher, _ = unit()
    want = -log_softmax(teacher).max(axis=-1)
    assert_allclose(hard_label(teacher, teacher), want, rtol=1e-12)


def test_hard_label_gradient_is_probability_less_one_hot():
    teacher, student = unit()
    found = gradient(hard_label, *map(tf.constant, (teacher, student)), of="student")
    assert_allclose(found, differences(hard_label, teacher, student), atol=1e-8)
    one_hot = np.eye(5)[teacher.argmax(axis=-1)]
    assert_allclose(found, softmax(student) - one_hot, atol=1e-12)


# A class drawn.


def test_draws_follow_the_tempered_teacher():
    """Each class within 3 standard errors, told by the value that it gives."""
    size = 20_000
    teacher, student = np.tile([TEACHER], [size, 1]), np.tile([STUDENT], [size, 1])
    for temperature in (1.0, 3.0):
        values = sampled_label(teacher, student, seed=1, temperature=temperature)
        gaps = np.abs(np.reshape(values, (-1, 1)) + log_softmax(STUDENT))
        assert gaps.min(axis=-1).max() < 1e-12
        share = np.bincount(gaps.argmin(axis=-1), minlength=4) / size
        p = softmax(np.divide(TEACHER, temperature))
        assert (np.abs(share - p) < 3 * np.sqrt(p * (1 - p) / size)).all()


def test_on_average_it_is_the_soft_cross_entropy():
    """Value and gradient within 3 standard errors of its, the student untempered."""
    size, temperature = 20_000, 2.0
    sides = [tf.constant(np.tile([z], [size, 1])) for z in (TEACHER, STUDENT)]
    draw = partial(sampled_label, seed=2, temperature=temperature)
    values = np.asarray(draw(*sides))
    teacher = np.divide(TEACHER, temperature)
    error = np.std(values) / np.sqrt(size)
    assert abs(values.mean() - cross_entropy(teacher, STUDENT)) < 3 * error
    gradients = np.asarray(gradient(draw, *sides, of="student"))
    errors = gradients.std(axis=0) / np.sqrt(size)
    want = softmax(STUDENT) - softmax(teacher)
    assert (np.abs(gradients.mean(axis=0) - want) < 3 * errors).all()


def test_a_class_of_probability_0_is_never_drawn():
    teacher = np.tile([[0.0, -np.inf, 0.0, -1e4]], [500, 1]).astype("float32")
    student = np.tile([[0.0, 1e4, -1e4, 1e4]], [500, 1]).astype("float32")
    values = ops.convert_to_numpy(sampled_label(teacher, student, seed=0))
    assert set(np.round(values, -2)) == {1e4, 2e4}


def test_a_sure_teacher_leaves_nothing_to_chance():
    teacher, student = unit((6, 3, 5))
    values = sampled_label(1e4 * teacher, student, seed=0)
    assert_allclose(values, hard_label(teacher, student), rtol=1e-12)


def test_each_example_may_have_its_own_temperature():
    teacher, student = (z.astype("float32") for z in unit((400, 5)))
    own = np.where(np.arange(400) < 200, 1e-4, 0.0).astype("float32")  # 0: the loss's
    loss = SampledLabel(temperature=1e4, seed=0)
    found = ops.convert_to_numpy(loss.call(teacher, student, temperature=own))
    sure = ops.convert_to_numpy(hard_label(teacher, student))
    assert_allclose(found[:200], sure[:200], rtol=1e-5)
    assert 0.1 < np.mean(np.isclose(found[200:], sure[200:])) < 0.3  # one of five


def test_each_step_draws_anew_and_a_seed_gives_the_sequence_again():
    teacher, student = (z.astype("float32") for z in unit((64, 5)))

    def sequence(loss, **options):
        step = tf.function(lambda: loss.call(teacher, student), **options)
        return [ops.convert_to_numpy(step()) for _ in range(3)]

    first = sequence(SampledLabel(seed=7))
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert np.any(first[a] != first[b])
    loss = SampledLabel(seed=7)
    eager = [ops.convert_to_numpy(loss.call(teacher, student)) for _ in range(3)]
    assert_allclose(sequence(SampledLabel.from_config(loss.get_config())), first)
    assert_allclose(eager, first, rtol=1e-6)
    assert np.any(sequence(SampledLabel(seed=8))[0] != first[0])
    compiled = sequence(SampledLabel(seed=7), jit_compile=True)
    assert np.any(compiled[0] != compiled[1])


def test_without_a_seed_the_global_one_decides():
    teacher, student = unit((64, 5))
    found = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(seed)
        found.append(np.asarray(SampledLabel().call(teacher, student)))
    assert_allclose(found[0], found[1])
    assert np.any(found[0] != found[2])
    assert SampledLabel().get_config()["seed"] is None


def test_the_function_repeats_the_draws_of_a_number():
    teacher, student = unit((64, 5))
    first, again = (sampled_label(teacher, student, seed=5) for _ in range(2))
    assert_allclose(first, again)
    seeds = keras.random.SeedGenerator(5)
    first, next_one = (sampled_label(teacher, student, seed=seeds) for _ in range(2))
    assert np.any(first != next_one)


def test_a_model_trains_on_draws_and_repeats_from_the_seed():
    x, y = toy_data(32)
    teacher_logits = 5.0 * np.eye(3, dtype="float32")[y]

    def history():
        model = mlp("student")
        model.compile(keras.optimizers.SGD(0.5), loss=SampledLabel(seed=0))
        return model.fit(x, teacher_logits, epochs=8, verbose=0, shuffle=False).history

    losses = history()["loss"]
    assert losses[-1] < 0.8 * losses[0]
    assert history()["loss"] == losses


@pytest.mark.distributed
def test_replicas_draw_in_turn_from_one_sequence():
    strategy = on_two_devices()
    teacher, student = unit((64, 5))

    def draws():
        loss = SampledLabel(seed=1)

        @tf.function
        def step():
            found = strategy.run(lambda: loss.call(teacher, student))
            return strategy.experimental_local_results(found)

        return np.asarray([step(), step()]).reshape(4, -1)

    first = draws()
    assert len(np.unique(first, axis=0)) == 4
    assert_allclose(draws(), first)


# Both.

each_loss = pytest.mark.parametrize(
    "make", [HardLabel, partial(SampledLabel, seed=0)], ids=["hard", "sampled"]
)


@each_loss
def test_values_and_gradients_of_extreme_logits_are_finite(make):
    teacher, student = all_sides((8, 10))
    teacher[::3, 4], teacher[1::3, 5] = -1e4, -np.inf
    given, _ = rounded("float32", teacher, student)
    assert np.isfinite(make().call(*given)).all()
    assert np.isfinite(gradient(make().call, *given, of="student")).all()


@each_loss
@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_of_unknown_size_may_be_tiny(make, rows):
    for shape in ((5,), (3, 5)):
        values, gradients = values_of_unknown_batch(make().call, shape, rows)
        assert values.shape == (rows, *shape[:-1])
        assert np.isfinite(values).all()
        assert np.isfinite(gradients).all()
