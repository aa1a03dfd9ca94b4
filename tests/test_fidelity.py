"""evaluate_fidelity against scikit-learn and float64 NumPy, on every kind of set."""

import copy
import dataclasses
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from oracles.agreement import agrees
from oracles.calibration import brier_score, expected_calibration_error
from oracles.divergence import jensen_shannon, total_variation
from oracles.logits import kl_divergence, softmax
from small_models import TraceCounter, digest, mlp, scattered, toy_data

import keras_kd
from keras_kd import evaluate_fidelity
from keras_kd.metrics import scores

CLASSES = 7
SIZE = 83  # 5 batches of 16 and one of 3
X, Y = toy_data(SIZE, classes=CLASSES)
WEIGHT = np.random.default_rng(1).uniform(0, 2, SIZE).astype("float32")
EXACT = {"rtol": 2e-6, "atol": 2e-7}


def model(name, seed, **arguments):
    return scattered(mlp(name, classes=CLASSES, **arguments), seed)


def both():
    return model("teacher", 1, units=10), model("student", 2, norm="batch")


def logits_of(*models):
    return [np.asarray(m(X), "float64") for m in models]


def expected(z_t, z_s, y=Y, weight=None):
    """Numbers of teacher and student by scikit-learn; labels may be missing."""
    from sklearn.metrics import accuracy_score, log_loss

    weight = np.ones(len(z_t)) if weight is None else np.asarray(weight, "float64")
    numbers = {"num_examples": len(z_t)}
    for side, z in (("teacher", z_t), ("student", z_s)):
        rows = y >= 0
        of = {"sample_weight": weight[rows]}
        labels = list(range(CLASSES))
        numbers |= {
            f"{side}_accuracy": accuracy_score(y[rows], z[rows].argmax(-1), **of),
            f"{side}_brier": brier_score(y[rows], z[rows], weight[rows]),
            f"{side}_nll": log_loss(y[rows], softmax(z[rows]), labels=labels, **of),
            f"{side}_ece": expected_calibration_error(
                y[rows], z[rows], 15, weight[rows]
            ),
        }
    acc_t, acc_s = numbers["teacher_accuracy"], numbers["student_accuracy"]
    differences = {
        "agreement": agrees(z_t, z_s),
        "agreement_top5": agrees(z_t, z_s, 5),
        "kl": kl_divergence(z_t, z_s),
        "reverse_kl": kl_divergence(z_s, z_t),
        "jensen_shannon": jensen_shannon(z_t, z_s),
        "total_variation": total_variation(z_t, z_s),
    }
    return numbers | {
        **{
            f"student_{name}": np.average(values, weights=weight)
            for name, values in differences.items()
        },
        "student_agreement_lower_bound": max(0.0, acc_t + acc_s - 1),
        "student_agreement_upper_bound": 1 - abs(acc_t - acc_s),
    }


def assert_result(result, want):
    got = result.as_dict()
    assert set(got) == set(want)
    for name, value in want.items():
        assert_allclose(got[name], value, err_msg=name, **EXACT)


class Rows(keras.utils.PyDataset):
    def __len__(self):
        return -(-SIZE // 16)

    def __getitem__(self, index):
        rows = slice(index * 16, (index + 1) * 16)
        return X[rows], Y[rows]


def generator():
    rows = Rows()
    yield from (rows[i] for i in range(len(rows)))


SETS = {
    "arrays": lambda: (X, Y),
    "lists of arrays": lambda: [X, Y],
    "tf.data": lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(16),
    "shuffled tf.data": lambda: (
        tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(99).batch(10)
    ),
    "PyDataset": Rows,
    "generator": generator,
    "one-hot": lambda: (X, np.eye(CLASSES)[Y]),
}


@pytest.mark.parametrize("kind", SETS)
def test_numbers_equal_scikit_learn_and_progress_is_shown(kind, capsys):
    teacher, student = both()
    shown = int(kind == "PyDataset")
    result = evaluate_fidelity(
        teacher, student, SETS[kind](), batch_size=16, verbose=shown
    )
    assert_result(result, expected(*logits_of(teacher, student)))
    assert ("6/6" in capsys.readouterr().out) == shown


def test_sample_weights_weigh_every_number():
    teacher, student = both()
    result = evaluate_fidelity(teacher, student, (X, Y, WEIGHT), verbose=0)
    z_t, z_s = logits_of(teacher, student)
    assert_result(result, expected(z_t, z_s, weight=WEIGHT))


def test_the_calibration_error_has_the_bins_asked_for():
    teacher, student = both()
    result = evaluate_fidelity(teacher, student, (X, Y), num_bins=10, verbose=0)
    for side, z in zip(
        ("teacher", "student"), logits_of(teacher, student), strict=True
    ):
        want = expected_calibration_error(Y, z, 10)
        assert_allclose(result.as_dict()[f"{side}_ece"], want, **EXACT)


def test_unlabelled_examples_count_in_the_comparison_only():
    teacher, student = both()
    y = Y.copy()
    y[::4] = keras_kd.UNLABELED
    result = evaluate_fidelity(teacher, student, (X, y), batch_size=16, verbose=0)
    assert_result(result, expected(*logits_of(teacher, student), y=y))


@pytest.mark.parametrize("given", ["array", "tuple", "tf.data"])
def test_without_labels_only_the_comparison_is_made(given):
    teacher, student = both()
    dataset = {
        "array": X,
        "tuple": (X,),
        "tf.data": tf.data.Dataset.from_tensor_slices(X).batch(16),
    }[given]
    result = evaluate_fidelity(teacher, student, dataset, verbose=0)
    want = expected(*logits_of(teacher, student))
    got = result.as_dict()
    for score in scores.SCORES:
        if not score.needs_labels:
            name = f"student_{score.name}"
            assert_allclose(got.pop(name), want[name], err_msg=name, **EXACT)
    assert got.pop("num_examples") == SIZE
    assert set(got.values()) == {None}
    assert "NLL (nats)" in str(result)


def test_models_that_end_in_a_softmax_are_recognised():
    teacher, student = both()
    ends = [
        keras.Model(m.input, keras.layers.Softmax()(m.output))
        for m in (teacher, student)
    ]
    result = evaluate_fidelity(*ends, (X, Y), verbose=0)
    want = expected(*logits_of(teacher, student))
    for name, value in result.as_dict().items():
        assert_allclose(value, want[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_control_is_compared_with_the_same_teacher():
    teacher, student = both()
    control = model("control", 3)
    result = evaluate_fidelity(teacher, student, (X, Y), control, verbose=0)
    z_t, z_s, z_c = logits_of(teacher, student, control)
    want = expected(z_t, z_s)
    of_control = {
        name.replace("student", "control"): value
        for name, value in expected(z_t, z_c).items()
        if name.startswith("student")
    }
    assert_result(result, want | of_control)
    assert list(dataclasses.asdict(result)) == [
        "num_examples",
        "teacher",
        "student",
        "control",
    ]


def test_ensembles_and_distillers_are_compared_too():
    teacher, student = both()
    other = model("other", 4)
    loss = keras_kd.losses.KnowledgeDistillation()
    distiller = keras_kd.Distiller([teacher, other], student, loss)
    wants = evaluate_fidelity(distiller.teacher, student, (X, Y), verbose=0)
    assert evaluate_fidelity([teacher, other], distiller, (X, Y), verbose=0) == wants
    z_t, z_o, z_s = logits_of(teacher, other, student)
    ensemble = np.log((softmax(z_t) + softmax(z_o)) / 2)
    assert_result(wants, expected(ensemble, z_s))


def test_few_classes_have_no_top_five():
    teacher, student = (scattered(mlp(n), i) for i, n in enumerate("ts"))
    result = evaluate_fidelity(teacher, student, toy_data(20), verbose=0)
    assert result.student.agreement_top5 is None


def test_each_model_is_called_once_a_batch_and_left_as_found():
    counters = [TraceCounter(name=f"counter_{i}") for i in range(3)]
    models = [
        mlp(f"m{i}", classes=CLASSES, norm="batch", dropout=0.5, extra=[counter])
        for i, counter in enumerate(counters)
    ]
    hashes = [digest(m) for m in models]
    for counter in counters:
        counter.reset()
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    evaluate_fidelity(models[0], models[1], dataset, models[2], verbose=0)
    assert [counter.runs for counter in counters] == [6, 6, 6]
    assert [counter.traces for counter in counters] == [1, 1, 1]
    assert [digest(m) for m in models] == hashes


def test_steps_limit_a_pass():
    teacher, student = both()
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16).repeat()
    result = evaluate_fidelity(teacher, student, dataset, steps=3, verbose=0)
    z_t, z_s = logits_of(teacher, student)
    assert_result(result, expected(z_t[:48], z_s[:48], Y[:48]))


def test_masked_positions_do_not_count():
    tokens = np.array([[3, 1, 2, 0, 0], [4, 0, 0, 0, 0], [1, 2, 3, 4, 0]])
    tags = np.array([[0, 1, 2, 0, 0], [1, 0, 0, 0, 0], [2, 2, 1, 0, 0]])

    def tagger(name, seed):
        inputs = keras.Input((5,), dtype="int32")
        x = keras.layers.Embedding(6, 4, mask_zero=True)(inputs)
        x = keras.layers.Dense(CLASSES)(x)
        return scattered(keras.Model(inputs, x, name=name), seed)

    teacher, student = tagger("teacher", 1), tagger("student", 2)
    result = evaluate_fidelity(teacher, student, (tokens, tags), verbose=0)
    present = tokens > 0
    z_t, z_s = (np.asarray(m(tokens), "float64")[present] for m in (teacher, student))
    assert_result(result, expected(z_t, z_s, tags[present]))


@pytest.fixture(scope="module")
def result_of_both():
    """Frozen; of models whose every weight is written."""
    return evaluate_fidelity(*both(), (X, Y), model("control", 3), verbose=0)


def test_the_result_is_frozen(result_of_both):
    result = result_of_both
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.num_examples = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.student.kl = 0.0


def test_the_table_shows_every_number_of_every_side(result_of_both):
    result = result_of_both
    header, rule, *rows = str(result).splitlines()
    assert header.split() == ["83", "examples", "teacher", "student", "control"]
    assert set(rule) == {"-"}
    numbers = result.as_dict()
    wanted = {score.label.replace("‖", "||"): score.name for score in scores.SCORES} | {
        "Agreement, lower bound": "agreement_lower_bound",
        "Agreement, upper bound": "agreement_upper_bound",
    }
    assert len(rows) == len(wanted) == 12
    for label, key in wanted.items():
        cells = [numbers.get(f"{s}_{key}") for s in ("teacher", "student", "control")]
        want = ["-" if c is None else f"{c:.4f}" for c in cells]
        (row,) = [r for r in rows if r.startswith(label + "  ")]
        assert row[len(label) :].split() == want, label


def test_a_result_is_the_same_after_a_copy_or_a_pickle(result_of_both):
    result = result_of_both
    for other in (copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert other == result
        assert str(other) == str(result)
    assert dataclasses.asdict(result)["student"]["kl"] == result.student.kl
    assert "kl=" in repr(result.student)


def test_the_bounds_hold(result_of_both):
    numbers = result_of_both.as_dict()
    for side in ("student", "control"):
        low, high = (numbers[f"{side}_agreement_{b}_bound"] for b in ("lower", "upper"))
        assert low <= numbers[f"{side}_agreement"] <= high


def test_a_model_agrees_with_itself():
    teacher, _ = both()
    result = evaluate_fidelity(teacher, teacher, (X, Y), verbose=0)
    assert result.student.agreement == 1.0
    assert result.student.kl == 0.0
    assert result.teacher.accuracy == result.student.accuracy


@pytest.mark.parametrize(
    ("dataset", "kind", "message"),
    [
        (lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(8).repeat(),
         ValueError, r"repeats without end.*`steps=\.\.\.`"),
        (lambda: iter(()), ValueError, "is empty.*at least one batch"),
        (lambda: (X, Y, WEIGHT, Y), ValueError, r"`\(x, y\)`.*Received 4"),
        (lambda: 3, TypeError, "must be a tf.data.Dataset.*Received: 3 of type int"),
    ],
    ids=["endless", "empty", "four arrays", "no set"],
)  # fmt: skip
def test_a_set_that_cannot_be_compared_on_is_refused(dataset, kind, message):
    with pytest.raises(kind, match=message):
        evaluate_fidelity(*both(), dataset(), verbose=0)
