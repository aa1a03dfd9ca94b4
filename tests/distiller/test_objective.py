"""The objective as a pure function, against sums in float64 NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose

from keras_kd._common.batch import unpack_batch
from keras_kd._common.examples import Examples, weigh, weighted_sum
from keras_kd.distiller.objective import Term, objective

SIZE = 7
BATCH = unpack_batch((np.zeros((SIZE, 2), "float32"),))


def values(seed, shape=(SIZE,), mask=None, sample_weight=None):
    """`Values` of an output, and the number that they add to the objective."""
    found = np.random.default_rng(seed).normal(size=shape)
    examples = Examples(None, None, mask=mask, sample_weight=sample_weight)
    weight = np.ones(shape) if mask is None else mask.astype("float64")
    size = weight.sum()
    if sample_weight is not None:
        weight = weight * sample_weight.reshape(SIZE, *[1] * (len(shape) - 1))
    part = weigh(tf.constant(found, "float32"), examples)
    return part, np.sum(weight * found) / size


@pytest.mark.parametrize("w", [0.0, 0.3, 1.0])
def test_terms_are_means_over_what_they_count_by_their_factors(w):
    mask = np.random.default_rng(9).random((SIZE, 3)) > 0.3
    weight = np.linspace(0.0, 2.0, SIZE).astype("float32")
    labels, of_labels = values(0, sample_weight=weight)
    one, of_one = values(1, (SIZE, 3), mask, weight)
    two, of_two = values(2)
    found = objective(
        {"output": Term([labels], 2.0)},
        {"both": Term([one, two], 0.5)},
        w,
        [tf.constant(0.25)],
        BATCH,
    )
    want = w * 2.0 * of_labels + (1 - w) * 0.5 * (of_one + of_two) + 0.25
    assert_allclose(found.loss, want, rtol=1e-5)
    assert int(found.num_examples) == int(found.all_examples) == SIZE
    for (total, size, _), part in zip(found.parts, (labels, one, two), strict=True):
        assert_allclose(total, weighted_sum(part), rtol=1e-6)
        assert_allclose(size, part.size)


def test_without_a_teacher_the_labels_are_all_there_is():
    labels, of_labels = values(0)
    found = objective({"output": Term([labels], 1.0)}, None, 1.0, [], BATCH)
    assert_allclose(found.loss, of_labels, rtol=1e-5)
    assert found.distillation_terms is None


def test_a_term_of_which_nothing_counts_adds_nothing():
    masked = Examples(None, None, mask=np.zeros(SIZE, bool))
    part = weigh(tf.ones(SIZE), masked)
    found = objective({}, {"kd": Term([part], 1.0)}, 0.0, [], BATCH)
    assert float(found.loss) == 0.0


def test_the_shares_of_uneven_replicas_add_up():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    found = np.random.default_rng(3).normal(size=SIZE).astype("float32")

    def share(context):
        rows = [slice(0, 5), slice(5, SIZE)][context.replica_id_in_sync_group]
        return tf.constant(found[rows])

    parts = strategy.experimental_distribute_values_from_function(share)

    def step(part):
        term = Term([weigh(part, Examples(None, None))], 1.0)
        return objective({}, {"kd": term}, 0.0, [], unpack_batch((part,))).loss

    shares = strategy.run(step, args=(parts,))
    total = sum(strategy.experimental_local_results(shares))
    assert_allclose(total, found.mean(), rtol=1e-5)
