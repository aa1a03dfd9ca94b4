"""The kinds of data that a comparison reads."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_kd import answers

X, Y = np.arange(10.0)[:, None], np.arange(10)
DATASET = tf.data.Dataset.from_tensor_slices((X, Y))


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return X[4 * index : 4 * index + 4], Y[4 * index : 4 * index + 4]


def seen(data):
    """First column of everything that comes, batch by batch."""
    rows = []
    for batch in answers.batches(data):
        x = batch[0] if isinstance(batch, tuple) else batch
        rows.append([float(value) for value in np.asarray(x)[:, 0]])
    return rows


IN_FOURS = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize(
    "data",
    [
        X,
        (X,),
        (X, Y),
        [X, Y],
        (X, Y, np.ones(10)),
        (X, {"labels": Y, "teacher_logits": np.ones((10, 3))}),
        tf.constant(X),
        DATASET.batch(4),
    ],
    ids=["x", "(x,)", "(x, y)", "list", "weights", "stored", "tensor", "dataset"],
)
def test_every_row_comes_once_in_order(data):
    assert seen(answers.as_dataset(data, 4)) == IN_FOURS


def test_batches_made_elsewhere_are_left_as_they_are():
    made = Batches()
    assert answers.as_dataset(made, 2) is made
    assert seen(made) == IN_FOURS
    generator = (X[i : i + 5] for i in (0, 5))
    assert answers.as_dataset(generator, 2) is generator
    assert [len(rows) for rows in seen(generator)] == [5, 5]


@pytest.mark.parametrize(
    ("data", "steps", "want"),
    [
        (DATASET.batch(4), None, 3),
        (DATASET.batch(4), 2, 2),
        (DATASET.batch(4), 9, 3),
        (DATASET.batch(4).repeat(), 5, 5),
        (DATASET.filter(lambda x, y: y > 3).batch(4), None, None),
        (DATASET.filter(lambda x, y: y > 3).batch(4), 2, 2),
        (Batches(), None, 3),
        (Batches(), 2, 2),
        (iter([X]), None, None),
        (iter([X]), 1, 1),
    ],
)
def test_steps_of_a_pass(data, steps, want):
    assert answers.num_steps(data, steps) == want


def test_an_endless_set_needs_a_number_of_steps():
    with pytest.raises(ValueError, match="repeats without end.*`steps="):
        answers.num_steps(DATASET.batch(4).repeat(), None)


@pytest.mark.parametrize("data", [(), (X, Y, Y, Y)], ids=len)
def test_a_wrong_number_of_arrays_is_refused(data):
    with pytest.raises(ValueError, match=f"Received {len(data)} of them"):
        answers.as_dataset(data, 4)


@pytest.mark.parametrize("data", [3, None, object], ids=str)
def test_what_holds_no_batches_is_refused(data):
    with pytest.raises(TypeError, match=r"must be a tf\.data\.Dataset of batches"):
        answers.as_dataset(data, 4)
