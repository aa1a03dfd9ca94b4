"""Losses that couple the examples of a batch: two replicas give one device's numbers.

All of them, found through `losses.__all__`, are trained in one model on each side, and
each is read by itself.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_allclose
from small_models import mlp, numpy_weights, scattered, sparse_cross_entropy, toy_data
from test_contracts import COUPLED, LAYERS
from two_devices import on_each

import keras_kd
from keras_kd import losses

pytestmark = pytest.mark.distributed

BATCH = 8
SIZES = {"even": 16, "tail of 5": 21, "tail of 1": 17}
FEWER_TERMS = {"MultiLevelLogit": {"temperatures": [1.0, 3.0]}}
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


class Coupled(losses.BatchCoupled, losses.DistillationLoss):
    """Squared distance to the mean of the whole batch; counts labels too."""

    takes = frozenset({"labels"})

    def __init__(self, batch="global", name="coupled"):
        super().__init__(batch=batch, name=name)

    def call(self, teacher_logits, student_logits, labels=None):
        size = ops.cast(ops.shape(student_logits)[0], "float32")
        gap = student_logits - teacher_logits
        gap = gap - ops.sum(gap, axis=0, keepdims=True) / size
        share = ops.sum(ops.cast(labels, "float32")) / size
        return ops.sum(gap**2, axis=-1) + share


class Subclassed(keras.Model):
    """Its outputs are known with the first batch only."""

    def __init__(self):
        super().__init__()
        init = keras.initializers.GlorotUniform(seed=1)
        self.dense = keras.layers.Dense(3, kernel_initializer=init)

    def call(self, inputs):
        return self.dense(inputs)


def functional():
    return mlp("student", seed=1, units=6, norm="layer")


def make(name):
    cls = getattr(losses, name)
    layers = LAYERS if issubclass(cls, losses.FeatureLoss) else {}
    return cls(**layers, **FEWER_TERMS.get(name, {}), name=name)


def train(strategy, every, weights, sizes, make_student=functional):
    """`{size: history}` of one model on sets of these sizes, and its weights then."""
    keras.utils.set_random_seed(5)
    with strategy.scope():
        teacher = scattered(mlp("teacher", units=12), seed=7)
        distiller = keras_kd.Distiller(teacher, make_student(), every, weights, 0.3)
        distiller.compile(keras.optimizers.SGD(0.05), loss=sparse_cross_entropy())
    histories = {}
    for size in sizes:
        x, y = toy_data(size, seed=3)
        weight = np.random.default_rng(4).uniform(0.5, 2, size).astype("float32")
        data = tf.data.Dataset.from_tensor_slices((x, y, weight)).batch(BATCH)
        histories[size] = distiller.fit(data, epochs=2, verbose=0).history
    return histories, numpy_weights(distiller)


@pytest.fixture(scope="module")
def trained():
    """Histories and weights on one device, and on two."""
    own = [Coupled(), Coupled("replica", name="of_a_replica")]
    weights = [1.0, 0.0, *[1.0] * len(COUPLED)]
    return [
        train(strategy, [*own, *map(make, sorted(COUPLED))], weights, SIZES.values())
        for strategy in on_each()
    ]


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("name", ["coupled", *sorted(COUPLED)])
def test_a_loss_sees_the_examples_of_all_replicas(name, size, trained):
    (one, _), (two, _) = trained
    assert_allclose(two[size][name], one[size][name], **TOLERANCE)


def test_all_else_that_is_logged_and_the_weights_equal_one_device(trained):
    (one, weights), (two, weights_of_two) = trained
    for size, history in one.items():
        for name in history.keys() - {"of_a_replica"}:
            assert_allclose(two[size][name], history[name], err_msg=name, **TOLERANCE)
    for ours, theirs in zip(weights, weights_of_two, strict=True):
        assert_allclose(theirs, ours, **TOLERANCE)


def test_a_loss_may_see_those_of_its_replica_alone(trained):
    one, two = (histories[16]["of_a_replica"] for histories, _ in trained)
    assert np.all(np.abs(np.subtract(one, two)) > 1e-3)


def test_a_student_that_is_built_by_its_first_batch():
    (one, weights), (two, weights_of_two) = (
        train(strategy, Coupled(), None, [21], Subclassed) for strategy in on_each()
    )
    for name, values in one[21].items():
        assert_allclose(two[21][name], values, err_msg=name, **TOLERANCE)
    for ours, theirs in zip(weights, weights_of_two, strict=True):
        assert_allclose(theirs, ours, **TOLERANCE)


def tagger(seed):
    init = keras.initializers.GlorotUniform(seed=seed)
    tokens = keras.Input((5,), dtype="int32")
    layers = keras.layers
    x = layers.Embedding(9, 4, mask_zero=True, embeddings_initializer=init)(tokens)
    return keras.Model(tokens, layers.Dense(3, kernel_initializer=init)(x))


def test_masked_positions_are_gathered_with_their_mask():
    tokens = np.random.default_rng(0).integers(0, 9, (13, 5))
    tokens[:, 3:] *= np.arange(13)[:, None] % 2
    histories = []
    for strategy in on_each():
        with strategy.scope():
            distiller = keras_kd.Distiller(tagger(1), tagger(2), losses.DIST(), None, 0)
            distiller.compile(keras.optimizers.SGD(0.05))
        data = tf.data.Dataset.from_tensor_slices(tokens).batch(8)
        histories.append(distiller.fit(data, epochs=2, verbose=0).history)
    for name, values in histories[0].items():
        assert_allclose(histories[1][name], values, rtol=1e-5, err_msg=name)
