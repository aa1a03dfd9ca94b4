"""Divergences against float64 NumPy, each other, closed forms and published values."""

from functools import partial
from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
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
from oracles import divergences as oracles
from oracles import logits as logit_oracles
from oracles import reference

from keras_kd import losses

JSD = losses.JensenShannonDivergence
js, kl = losses.jensen_shannon_divergence, losses.knowledge_distillation
reverse, symmetric = losses.reverse_kl_divergence, losses.symmetric_kl_divergence
TINY = 1e-6  # the least beta
FORMS = {  # class, function, oracle
    "reverse": (losses.ReverseKLDivergence, reverse, oracles.reverse_kl),
    "symmetric": (losses.SymmetricKLDivergence, symmetric, oracles.symmetric_kl),
    "JS": (JSD, js, oracles.jensen_shannon),
    "JS(0.1)": (
        partial(JSD, beta=0.1),
        partial(js, beta=0.1),
        partial(oracles.jensen_shannon, beta=0.1),
    ),
    "JS(1e-6)": (
        partial(JSD, beta=TINY),
        partial(js, beta=TINY),
        partial(oracles.jensen_shannon, beta=TINY),
    ),
}
each_form = pytest.mark.parametrize(
    ("make", "function", "oracle"), FORMS.values(), ids=FORMS
)
ENTROPY_OF_COIN = {0.5: np.log(2), 0.1: 0.3250829733914482}


def unit(shape=(6, 5)):
    return sides_by_kind(shape)["unit"]


@each_form
@pytest.mark.parametrize("dtype", DTYPES)
def test_equals_oracle(make, function, oracle, dtype):
    del make
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    shapes = (8, 2), (8, 1000), (3, 4, 10)
    for shape, temperature in product(shapes, (1.0, 4.0, 16.0)):
        given, exact = rounded(dtype, *all_sides(shape))
        values = function(*given, temperature=temperature)
        assert values.dtype == ("float64" if dtype == "float64" else "float32")
        want = oracle(*exact, temperature)
        assert_allclose(values, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("function", "want"),
    [
        (partial(reverse, temperature=1.0), reference.REVERSE_KL),
        (partial(reverse, temperature=4.0), reference.REVERSE_KL_AT_4),
        *(
            (partial(js, temperature=1.0, beta=beta), want)
            for beta, want in reference.GENERALISED_JSD.items()
        ),
    ],
    ids=["reverse, T = 1", "reverse, T = 4", "JS 0.1", "JS 0.5", "JS 0.9"],
)
def test_equals_published_value(function, want):
    values = function(reference.TEACHER_LOGITS, reference.STUDENT_LOGITS)
    assert_allclose(np.mean(values), want, atol=5e-9)


@each_form
@pytest.mark.parametrize("shape", [(4, 5), (4, 3, 5)], ids=str)
def test_each_example_may_have_its_own_temperature(make, function, oracle, shape):
    teacher, student = unit(shape)
    own = np.array([1.0, 4.0, 0.5, 16.0])
    want = [oracle(*row) for row in zip(teacher, student, own, strict=True)]
    found = function(teacher, student, temperature=own)
    assert_allclose(found, want, rtol=1e-9, atol=1e-12)
    given = tf.constant(np.where(own == 4, 0, own))  # 0: that of the loss
    loss = make(temperature=4.0, dtype="float64")
    found = loss.call(*map(tf.constant, (teacher, student)), temperature=given)
    # A beta is a float32 variable.
    assert_allclose(found, want, rtol=1e-6)


def test_swapping_the_sides_swaps_the_direction():
    teacher, student = unit()
    close = partial(assert_allclose, rtol=1e-12)
    close(reverse(teacher, student), kl(student, teacher))
    close(symmetric(teacher, student), symmetric(student, teacher))
    close(
        symmetric(teacher, student),
        (kl(teacher, student) + kl(student, teacher)) / 2,
    )
    for beta in (0.5, 0.1):
        ours = js(teacher, student, beta=beta)
        close(ours, js(student, teacher, beta=1 - beta), rtol=1e-9)


def test_as_beta_nears_an_end_the_ratio_to_it_is_a_kl():
    teacher, student = unit()
    forward = js(teacher, student, beta=TINY) / TINY
    assert_allclose(forward, kl(teacher, student), rtol=1e-4)
    backward = js(teacher, student, beta=1 - TINY) / TINY
    assert_allclose(backward, reverse(teacher, student), rtol=1e-4)


any_logits = arrays("float32", (4, 3), elements=st.floats(-1e4, 1e4, width=32))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(any_logits, any_logits)
def test_jensen_shannon_lies_between_0_and_the_entropy_of_a_coin(teacher, student):
    for beta, bound in ENTROPY_OF_COIN.items():
        values = js(teacher, student, temperature=1.0, beta=beta)
        values = ops.convert_to_numpy(values)
        assert (values >= 0).all()
        assert (values <= bound + 1e-6).all()


@each_form
def test_student_gradient_equals_finite_differences(make, function, oracle):
    del make, oracle
    teacher, student = unit()
    for temperature in (1.0, 4.0):
        at_this = partial(function, temperature=temperature)
        found = gradient(at_this, *map(tf.constant, (teacher, student)), of="student")
        want = differences(at_this, teacher, student)
        assert_allclose(found, want, atol=1e-8)


def test_reverse_gradient_equals_closed_form():
    given, exact = rounded("float32", *all_sides((8, 10)))
    for temperature in (1.0, 4.0):
        at_this = partial(reverse, temperature=temperature)
        found = gradient(at_this, *given, of="student")
        log_p, log_q = map(
            logit_oracles.log_softmax, logit_oracles.tempered(temperature, *exact)
        )
        q, ratio = np.exp(log_q), log_q - log_p
        mean = np.sum(q * ratio, axis=-1, keepdims=True)
        want = temperature * q * (ratio - mean)
        assert_allclose(found, want, rtol=1e-5, atol=1e-4)


@each_form
def test_at_high_temperature_it_is_a_multiple_of_centred_logit_mse(
    make, function, oracle
):
    """T^2 KL, either way, tends to half of it; the mixture to b (1 - b) of the KL."""
    del oracle
    teacher, student = unit()
    values = function(teacher, student, temperature=1e4)
    beta = make().get_config().get("beta")
    factor = 0.5 if beta is None else 0.5 * beta * (1 - beta)
    want = factor * losses.logit_mse(teacher, student, center=True)
    assert_allclose(values, want, rtol=1e-3)


@each_form
def test_value_and_gradient_vanish_at_equality(make, function, oracle):
    del make, oracle
    for kind, (teacher, _) in sides_by_kind((8, 10)).items():
        given, _ = rounded("float32", teacher, teacher)
        at_16 = partial(function, temperature=16.0)
        assert_allclose(at_16(*given), 0.0, atol=1e-8, err_msg=kind)
        found = gradient(at_16, *given, of="student")
        assert_allclose(found, 0.0, atol=1e-5, err_msg=kind)


@each_form
@pytest.mark.parametrize("side", ["teacher", "student"])
def test_values_and_gradients_of_extreme_logits_are_finite(
    make, function, oracle, side
):
    del make, oracle
    teacher, student = all_sides((8, 10))
    teacher[::3, 4] = -1e4
    given, _ = rounded("float32", teacher, student)
    for temperature in (1.0, 16.0):
        at_this = partial(function, temperature=temperature)
        assert np.isfinite(at_this(*given)).all()
        assert np.isfinite(gradient(at_this, *given, of=side)).all()


@each_form
def test_a_class_that_both_sides_exclude_has_no_value_and_no_gradient(
    make, function, oracle
):
    del make
    teacher, student = np.random.default_rng(0).normal(size=(2, 8, 5))
    kept = [np.delete(z, 2, axis=-1) for z in (teacher, student)]
    teacher[:, 2] = student[:, 2] = -np.inf
    given, _ = rounded("float32", teacher, student)
    assert_allclose(function(*given), oracle(*kept, 4.0), rtol=1e-5)
    found = ops.convert_to_numpy(gradient(function, *given, of="student"))
    assert_allclose(found[:, 2], 0.0)
    assert_allclose(
        np.delete(found, 2, axis=-1), differences(function, *kept), atol=1e-5
    )


def test_jensen_shannon_of_a_class_that_one_side_excludes_is_finite():
    teacher, student = np.random.default_rng(0).normal(size=(2, 8, 5))
    teacher[::2, 3], student[1::2, 1] = -np.inf, -np.inf
    given, exact = rounded("float32", teacher, student)
    assert_allclose(js(*given), oracles.jensen_shannon(*exact, 4.0), rtol=1e-5)
    for side in ("teacher", "student"):
        assert np.isfinite(gradient(js, *given, of=side)).all()


@pytest.mark.parametrize("function", [reverse, symmetric], ids=["reverse", "symmetric"])
def test_a_class_that_the_teacher_alone_excludes_costs_infinity(function):
    teacher, student = np.array([[0.0, 0.0, -np.inf]]), np.zeros((1, 3))
    assert np.isposinf(function(teacher, student)).all()


def test_jensen_shannon_has_second_derivatives_at_equality():
    """T = 1, b = 1/2: a quarter of the KL's, the covariance of softmax(z)."""
    (z,) = unit((1, 4))[:1]
    teacher, student = tf.constant(z), tf.constant(z)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(student)
        first = gradient(partial(js, temperature=1.0), teacher, student, of="student")
    (p,) = logit_oracles.softmax(z)
    hessian = np.reshape(
        outer.jacobian(first, student, experimental_use_pfor=False), (4, 4)
    )
    assert_allclose(hessian, (np.diag(p) - np.outer(p, p)) / 4, atol=1e-12)


@each_form
@pytest.mark.parametrize("rows", [0, 1])
def test_a_batch_of_unknown_size_may_be_tiny(make, function, oracle, rows):
    del function, oracle
    values, gradients = values_of_unknown_batch(make().call, (5,), rows)
    assert values.shape == (rows,)
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()


def test_a_new_beta_takes_effect_without_a_new_trace():
    teacher, student = unit()
    loss, traces = JSD(temperature=1.0, beta=0.5), []

    @tf.function
    def compiled(teacher, student):
        traces.append(1)
        return loss.call(teacher, student)

    for beta in (0.5, 0.1, 0.9):
        loss.beta = beta
        want = oracles.jensen_shannon(teacher, student, 1.0, beta)
        assert_allclose(compiled(teacher, student), want, rtol=1e-5)
        assert loss.beta == beta
    assert len(traces) == 1


def test_beta_may_be_a_schedule_and_is_in_the_config():
    schedule = keras.optimizers.schedules.PolynomialDecay(0.9, 10, 0.1)
    loss = JSD(temperature=1.0, beta=schedule)
    copy = JSD.from_config(loss.get_config())
    teacher, student = unit()
    want = oracles.jensen_shannon(teacher, student, 1.0, 0.9)
    assert_allclose(copy.call(teacher, student), want, rtol=1e-5)
    assert JSD.from_config(JSD(beta=0.3).get_config()).beta == 0.3


@pytest.mark.parametrize("bad", [0, 1, 1.0, -0.1, 1e-9, 1 - 1e-9, np.nan, True, "1"])
def test_a_bad_beta_is_refused_and_leaves_the_old_one(bad):
    loss = JSD(beta=0.3)
    for set_beta in (
        lambda: JSD(beta=bad),
        lambda: setattr(loss, "beta", bad),
        lambda: js(*unit(), beta=bad),
    ):
        with pytest.raises((TypeError, ValueError), match="`beta` must be a"):
            set_beta()
    assert loss.beta == 0.3
