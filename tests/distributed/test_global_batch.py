"""Losses that couple the examples of a batch: two replicas give one device's numbers.

What is tested is the way from the Distiller to the loss and back; that the losses
themselves do so is tested on each of them, through `losses.__all__`.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from numpy.testing import assert_allclose
from small_models import mlp, scattered, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd import losses

pytestmark = pytest.mark.distributed

ARGUMENTS = {}  # of the classes that need some
FEATURES = {"teacher_layer_name": "features", "student_layer_name": "features"}
COUPLED = [
    name
    for name in losses.__all__
    if isinstance(getattr(losses, name), type)
    and issubclass(getattr(losses, name), losses.DistillationLoss)
    and getattr(losses, name).couples_batch is True
]


@functools.cache
def on_two_devices():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


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


def run(strategy, loss, size, batch, make_student=functional):
    x, y = toy_data(size, seed=3)
    weight = np.random.default_rng(4).uniform(0.5, 2, size).astype("float32")
    with strategy.scope():
        teacher = scattered(mlp("teacher", units=12), seed=7)
        student = make_student()
        distiller = keras_kd.Distiller(
            teacher, student, [losses.KnowledgeDistillation(), loss], None, 0.3
        )
        distiller.compile(keras.optimizers.SGD(0.05), loss=sparse_cross_entropy())
    data = tf.data.Dataset.from_tensor_slices((x, y, weight)).batch(batch)
    history = distiller.fit(data, epochs=2, verbose=0).history
    return history, [np.array(ops.convert_to_numpy(w)) for w in distiller.weights]


def assert_equal_on_one_and_two(make, size=21, batch=8, **student):
    keras.utils.set_random_seed(5)
    one, weights = run(tf.distribute.get_strategy(), make(), size, batch, **student)
    keras.utils.set_random_seed(5)
    two, weights_of_two = run(on_two_devices(), make(), size, batch, **student)
    for name, values in one.items():
        assert_allclose(two[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
    for ours, theirs in zip(weights, weights_of_two, strict=True):
        assert_allclose(theirs, ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [16, 21, 17], ids=["even", "tail of 5", "tail of 1"])
def test_a_loss_sees_the_examples_of_all_replicas(size):
    assert_equal_on_one_and_two(Coupled, size)


def test_a_student_that_is_built_by_its_first_batch():
    assert_equal_on_one_and_two(Coupled, make_student=Subclassed)


def test_a_loss_may_see_those_of_its_replica_alone():
    one, _ = run(tf.distribute.get_strategy(), Coupled("replica"), 16, 8)
    two, _ = run(on_two_devices(), Coupled("replica"), 16, 8)
    assert np.all(np.abs(np.subtract(one["coupled"], two["coupled"])) > 1e-3)


@pytest.mark.parametrize("name", COUPLED)
def test_global_batch_of_every_coupled_loss(name):
    cls = getattr(losses, name)
    arguments = FEATURES if issubclass(cls, losses.FeatureLoss) else {}
    assert_equal_on_one_and_two(lambda: cls(**arguments))


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
    for strategy in (tf.distribute.get_strategy(), on_two_devices()):
        with strategy.scope():
            distiller = keras_kd.Distiller(tagger(1), tagger(2), losses.DIST(), None, 0)
            distiller.compile(keras.optimizers.SGD(0.05))
        data = tf.data.Dataset.from_tensor_slices(tokens).batch(8)
        histories.append(distiller.fit(data, epochs=2, verbose=0).history)
    for name, values in histories[0].items():
        assert_allclose(histories[1][name], values, rtol=1e-5, err_msg=name)
