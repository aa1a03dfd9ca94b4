"""What batch-coupled losses share: the choice of the batch, and a batch of one.

tests/distributed/test_global_batch.py has them on two replicas.
"""

import numpy as np
import pytest
import tensorflow as tf
from test_contracts import COUPLED, LOSSES, arguments_of, features_of, make

COUPLED_LOSSES = [cls for cls in LOSSES if cls.__name__ in COUPLED]
each_loss = pytest.mark.parametrize("cls", COUPLED_LOSSES)


def sides(cls, size):
    shape = (2, size, *features_of(cls))
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@each_loss
def test_the_batch_is_the_global_one_unless_said_otherwise(cls):
    assert make(cls).batch == "global"
    assert cls(**{**arguments_of(cls), "batch": "replica"}).batch == "replica"


@each_loss
def test_an_unknown_batch_is_refused(cls):
    with pytest.raises(ValueError, match=r"\['global', 'replica'\].*batch='local'"):
        cls(**{**arguments_of(cls), "batch": "local"})


@each_loss
def test_a_batch_of_one_is_refused(cls):
    with pytest.raises(ValueError, match=r"at least 2.* batch of 1.*drop_remainder"):
        make(cls)(*sides(cls, 1))


@each_loss
@pytest.mark.parametrize("size", [0, 1])
def test_a_last_batch_of_few_is_finite_with_its_gradient(cls, size):
    loss = make(cls)

    @tf.function(input_signature=[tf.TensorSpec([None, *features_of(cls)])] * 2)
    def step(teacher, student):
        with tf.GradientTape() as tape:
            tape.watch(student)
            values = loss.call(teacher, student)
        return values, tape.gradient(values, student)

    values, gradient = step(*sides(cls, size))
    assert values.shape == (size,)
    assert np.isfinite(values).all()
    assert gradient is None or np.isfinite(gradient).all()


@each_loss
def test_values_depend_on_the_rest_of_the_batch(cls):
    whole = make(cls).call(*sides(cls, 8))
    part = make(cls).call(*sides(cls, 8)[:, :4])
    assert np.all(np.abs(whole[:4] - part) > 1e-6)


@each_loss
def test_the_docstring_says_what_replicas_see(cls):
    assert "tf.distribute" in cls.__doc__
    assert '"replica"' in cls.__doc__
