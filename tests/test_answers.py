"""One pass over a set: kinds of data, what each side's examples are, replicas."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_array_equal
from small_models import mlp

import keras_kd
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


class Endless(keras.utils.PyDataset):
    """Keras takes a `num_batches` of None for a set without end."""

    num_batches = None

    def __getitem__(self, index):
        return X[index % 3 : index % 3 + 2]


@pytest.mark.parametrize("data", [DATASET.batch(4).repeat(), Endless()], ids=type)
def test_an_endless_set_needs_a_number_of_steps(data):
    with pytest.raises(ValueError, match="repeats without end.*`steps="):
        answers.num_steps(data, None)
    assert answers.num_steps(data, 4) == 4
    assert len(list(itertools.islice(answers.batches(data), 4))) == 4


@pytest.mark.parametrize("steps", [0, -1])
def test_a_pass_of_no_steps_is_refused(steps):
    with pytest.raises(ValueError, match="`steps` must be a whole number of at least"):
        answers.num_steps(DATASET.batch(4), steps)


@pytest.mark.parametrize("data", [(), (X, Y, Y, Y)], ids=len)
def test_a_wrong_number_of_arrays_is_refused(data):
    with pytest.raises(ValueError, match=f"Received {len(data)} of them"):
        answers.as_dataset(data, 4)


@pytest.mark.parametrize("data", [3, None, object], ids=str)
def test_what_holds_no_batches_is_refused(data):
    with pytest.raises(TypeError, match=r"must be a tf\.data\.Dataset of batches"):
        answers.as_dataset(data, 4)


def columns(start, name):
    """A model whose 3 logits are columns of its input of 7."""
    head = keras.layers.Dense(3, use_bias=False)
    model = keras.Sequential([keras.Input((7,)), head], name=name)
    head.set_weights([np.eye(7)[:, start : start + 3]])
    return model


def read_of(data, models=None, **arguments):
    """`[(x, {side: Examples})]` of a pass, as NumPy arrays."""

    def read(sides):
        return {
            side: {k: v for k, v in examples._asdict().items() if v is not None}
            for side, examples in sides.items()
        }

    models = models or {"teacher": columns(0, "t"), "student": columns(3, "s")}
    reader = answers.Answers(models, read, **arguments)
    found = reader.over(answers.as_dataset(data, 4))
    return keras.tree.map_structure(np.asarray, list(found))


def rows(count, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, 7)).astype("float32")
    return x, generator.integers(0, 3, count), generator.random(count, "float32")


def test_each_side_has_the_examples_of_the_batch():
    x, y, weight = rows(6)
    y[2] = keras_kd.UNLABELED
    found = read_of((x, y, weight))
    assert [len(inputs) for inputs, _ in found] == [4, 2]
    for start, (inputs, sides) in zip((0, 4), found, strict=True):
        batch = slice(start, start + 4)
        assert_array_equal(inputs, x[batch])
        for side, own in (("teacher", x[batch, :3]), ("student", x[batch, 3:6])):
            assert_array_equal(sides[side]["teacher"], x[batch, :3])
            assert_array_equal(sides[side]["student"], own)
            assert_array_equal(sides[side]["classes"], np.maximum(y[batch], 0))
            assert_array_equal(sides[side]["labelled"], y[batch] >= 0)
            assert_array_equal(sides[side]["sample_weight"], weight[batch])


@pytest.mark.parametrize("kind", ["tf.data", "generator"])
def test_replicas_read_every_row_once_in_order(kind):
    x, y, _ = rows(11)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    if kind == "generator":
        data = ((x[i : i + 4], y[i : i + 4]) for i in (0, 4, 8))
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        models = {"teacher": columns(0, "t"), "student": columns(3, "s")}
    found = read_of(data, models, strategy=strategy)
    assert len(found) == 6  # three batches in two parts
    assert_array_equal(np.concatenate([inputs for inputs, _ in found]), x)
    logits = np.concatenate([sides["student"]["student"] for _, sides in found])
    assert_array_equal(logits, x[:, 3:6])
    classes = np.concatenate([sides["teacher"]["classes"] for _, sides in found])
    assert_array_equal(classes, y)


def test_a_pass_of_a_stateful_model_starts_from_its_own_states():
    keras.utils.set_random_seed(0)
    inputs = keras.Input(batch_shape=(2, 3, 1))
    rnn = keras.layers.SimpleRNN(4, stateful=True)
    head = keras.layers.Dense(3)
    stateful = keras.Model(inputs, head(rnn(inputs)))
    x = np.random.default_rng(0).normal(size=(6, 3, 1)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices(x).batch(2, drop_remainder=True)
    reader = answers.Answers(
        {"teacher": stateful}, lambda sides: sides["teacher"].student
    )
    first, second = (
        np.concatenate([logits for _, logits in reader.over(data)]) for _ in range(2)
    )
    assert_array_equal(first, second)
    want = stateful.predict(x, batch_size=2, verbose=0)
    np.testing.assert_allclose(first, want, rtol=1e-5, atol=1e-6)


def sigmoids():
    layers = [keras.Input((7,)), keras.layers.Dense(3, activation="sigmoid")]
    return keras.Sequential(layers, name="tagger")


def two_outputs():
    inputs = keras.Input((7,))
    return keras.Model(inputs, [keras.layers.Dense(3)(inputs) for _ in range(2)])


@pytest.mark.parametrize(
    ("student", "y", "says"),
    [
        (sigmoids, [0, 1, 2], r"student \['tagger'\] is multi-label"),
        (lambda: mlp("s", features=7, classes=4), [0, 1, 2], "number of classes"),
        (two_outputs, [0, 1, 2], "one output; the student has 2"),
        (lambda: columns(3, "s"), np.eye(4)[:3], "`labels` and `logits`"),
        (lambda: columns(3, "s"), [0, 1, 3], r"must lie in \[0, 3\)"),
    ],
    ids=["multi-label", "classes", "outputs", "wide labels", "label out of range"],
)
def test_what_is_no_two_answers_to_one_question_is_refused(student, y, says):
    models = {"teacher": columns(0, "t"), "student": student()}
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match=says):
        read_of((rows(3)[0], np.asarray(y)), models)
