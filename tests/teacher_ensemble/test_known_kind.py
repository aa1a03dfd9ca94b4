"""What members give, as stated or read off them, and the logits of that."""

import keras
import numpy as np
import pytest
from numpy.testing import assert_allclose
from oracles.logits import softmax

from keras_kd import TeacherEnsemble

LOGITS = np.random.default_rng(0).normal(0, 3, (7, 5))
DISTRIBUTIONS = softmax(LOGITS)
SIGMOIDS = 1.0 / (1.0 + np.exp(-LOGITS))


def of_unknown_kind(**stated):
    """A teacher that gives its input, and whose layers do not say what that is."""
    member = keras.Sequential([keras.Input((5,)), keras.layers.Rescaling(1.0)])
    return TeacherEnsemble(member, **stated)


@pytest.mark.parametrize(
    "values", [DISTRIBUTIONS, SIGMOIDS], ids=["softmax", "sigmoid"]
)
def test_what_may_be_probabilities_has_to_be_stated(values):
    with pytest.raises(Exception, match="does not say what it gives"):
        of_unknown_kind()(values)
    assert_allclose(of_unknown_kind(from_logits=True)(values), values, rtol=1e-6)


def test_stated_probabilities_are_checked():
    log_p = of_unknown_kind(from_logits=False)(DISTRIBUTIONS)
    assert_allclose(log_p, np.log(DISTRIBUTIONS), rtol=1e-5)
    for values in (SIGMOIDS, LOGITS):
        with pytest.raises(Exception, match="are no probabilities over classes"):
            of_unknown_kind(from_logits=False)(values)
    teacher = of_unknown_kind(from_logits=False, multi_label=True)
    assert_allclose(teacher(SIGMOIDS), LOGITS, rtol=1e-4, atol=1e-4)


def test_what_is_read_needs_no_statement():
    sigmoid = keras.layers.Activation("sigmoid")
    member = keras.Sequential([keras.Input((5,)), sigmoid])
    teacher = TeacherEnsemble(member, from_logits=False)
    assert_allclose(teacher(LOGITS), LOGITS, rtol=1e-4, atol=1e-4)
