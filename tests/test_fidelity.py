"""Oracle: float64 NumPy and scikit-learn on the models' own outputs."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from oracles import calibration, logits
from sklearn.metrics import accuracy_score, log_loss
from small_models import TraceCounter, digest, mlp, scattered, toy_data

from keras_kd import UNLABELED, Distiller, TeacherEnsemble, evaluate_fidelity
from keras_kd.losses import KnowledgeDistillation

CLASSES = 7
X, Y = toy_data(150, classes=CLASSES)


def model(name, seed):
    return scattered(mlp(name, seed=seed, classes=CLASSES), seed)


@pytest.fixture
def teacher():
    return model("teacher", 0)


@pytest.fixture
def student():
    return model("student", 1)


def outputs(classifier):
    return np.asarray(classifier(X), "float64")


def oracle(teacher, student, labels=Y, weight=None):
    """All numbers of a comparison, from two arrays of logits."""
    weight = np.ones(len(labels)) if weight is None else weight
    predicted = [z.argmax(axis=-1) for z in (teacher, student)]
    top5 = np.argsort(-student, axis=-1)[:, :5]
    kl = logits.kl_divergence(teacher, student)
    numbers = {
        "student_agreement": np.average(predicted[0] == predicted[1], weights=weight),
        "student_agreement_top5": np.average(
            (top5 == predicted[0][:, None]).any(axis=-1), weights=weight
        ),
        "student_kl": np.average(kl, weights=weight),
    }
    for side, z in (("teacher", teacher), ("student", student)):
        probs = logits.softmax(z)
        numbers[f"{side}_accuracy"] = accuracy_score(
            labels, z.argmax(axis=-1), sample_weight=weight
        )
        numbers[f"{side}_nll"] = log_loss(
            labels, probs, labels=range(CLASSES), sample_weight=weight
        )
    return numbers


def assert_equals_oracle(result, want):
    got = result.as_dict()
    for name, value in want.items():
        assert_allclose(got[name], value, atol=2e-6, err_msg=name)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(64 * index, 64 * (index + 1))
        return X[rows], Y[rows]


def batched(size):
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(size)


@pytest.mark.parametrize(
    "data",
    [
        lambda: (X, Y),
        lambda: batched(64),
        lambda: batched(7),
        lambda: Batches(),
        lambda: iter([(X[:100], Y[:100]), (X[100:], Y[100:])]),
    ],
    ids=["arrays", "batches of 64", "batches of 7", "PyDataset", "generator"],
)
def test_numbers_equal_oracle(data, teacher, student):
    result = evaluate_fidelity(teacher, student, data(), verbose=0)
    assert result.num_examples == 150
    assert_equals_oracle(result, oracle(outputs(teacher), outputs(student)))


def test_calibration_error_equals_oracle(teacher, student):
    result = evaluate_fidelity(teacher, student, (X, Y), num_bins=10, verbose=0)
    for side, classifier in (("teacher", teacher), ("student", student)):
        want = calibration.expected_calibration_error(Y, outputs(classifier), 10)
        assert_allclose(result.as_dict()[f"{side}_ece"], want, atol=1e-6)


def test_sample_weights_weight_every_number(teacher, student):
    weight = np.random.default_rng(0).integers(0, 3, len(X)).astype("float32")
    result = evaluate_fidelity(
        teacher, student, (X, Y, weight), batch_size=32, verbose=0
    )
    want = oracle(outputs(teacher), outputs(student), weight=weight)
    assert_equals_oracle(result, want)


def test_bounds_follow_from_the_accuracies_and_hold(teacher, student):
    result = evaluate_fidelity(teacher, student, (X, Y), verbose=0)
    accuracies = result.teacher.accuracy, result.student.accuracy
    lower, upper = max(0, sum(accuracies) - 1), 1 - abs(np.subtract(*accuracies))
    assert_allclose(result.student.agreement_lower_bound, lower)
    assert_allclose(result.student.agreement_upper_bound, upper)
    assert lower - 1e-6 <= result.student.agreement <= upper + 1e-6


def test_control_is_compared_with_the_same_teacher(teacher, student):
    control = model("control", 2)
    both = evaluate_fidelity(teacher, student, (X, Y), control=control, verbose=0)
    alone = evaluate_fidelity(teacher, control, (X, Y), verbose=0)
    assert both.control == alone.student
    assert both.teacher == alone.teacher
    assert both.as_dict()["control_kl"] == alone.student.kl


def test_without_labels_only_the_models_are_compared(teacher, student):
    result = evaluate_fidelity(
        teacher, student, tf.data.Dataset.from_tensor_slices(X).batch(64), verbose=0
    )
    want = oracle(outputs(teacher), outputs(student))
    assert_allclose(result.student.kl, want["student_kl"], atol=2e-6)
    assert result.teacher.accuracy is None
    assert result.student.nll is None
    assert result.student.agreement_upper_bound is None
    assert "-" in str(result)


def test_unlabelled_rows_count_in_the_comparison_only(teacher, student):
    labels = np.where(np.arange(len(Y)) % 3 == 0, UNLABELED, Y)
    result = evaluate_fidelity(teacher, student, (X, labels), verbose=0)
    want = oracle(outputs(teacher), outputs(student))
    assert_allclose(result.student.kl, want["student_kl"], atol=2e-6)
    known = labels != UNLABELED
    accuracy = accuracy_score(Y[known], outputs(student)[known].argmax(axis=-1))
    assert_allclose(result.student.accuracy, accuracy, atol=1e-6)


def test_models_that_end_in_a_softmax_are_recognised(teacher, student):
    heads = [keras.Sequential([m, keras.layers.Softmax()]) for m in (teacher, student)]
    plain = evaluate_fidelity(teacher, student, (X, Y), verbose=0).as_dict()
    with_heads = evaluate_fidelity(*heads, (X, Y), verbose=0).as_dict()
    for name, value in plain.items():
        assert_allclose(with_heads[name], value, atol=1e-5, err_msg=name)


def test_teacher_may_be_a_list_or_an_ensemble_and_student_a_distiller(student):
    members = [model("a", 3), model("b", 4)]
    distiller = Distiller(members, student, KnowledgeDistillation())
    results = {
        evaluate_fidelity(t, s, (X, Y), verbose=0)
        for t in (members, TeacherEnsemble(members))
        for s in (student, distiller)
    }
    assert len(results) == 1


def test_a_model_is_identical_to_itself(teacher):
    result = evaluate_fidelity(teacher, teacher, (X, Y), verbose=0)
    assert result.student.agreement == 1.0
    assert result.student.kl == 0.0


def test_each_model_is_called_once_a_batch():
    counters = {name: TraceCounter() for name in ("teacher", "student", "control")}
    models = {
        name: mlp(name, classes=CLASSES, extra=[counter])
        for name, counter in counters.items()
    }
    for counter in counters.values():
        counter.reset()
    evaluate_fidelity(
        models["teacher"],
        models["student"],
        batched(64),
        control=models["control"],
        verbose=0,
    )
    assert {name: counter.runs for name, counter in counters.items()} == {
        "teacher": 3,
        "student": 3,
        "control": 3,
    }
    assert all(counter.traces == 1 for counter in counters.values())


def test_models_are_left_as_they_were(teacher, student):
    before = digest(teacher), digest(student)
    evaluate_fidelity(teacher, student, (X, Y), verbose=0)
    assert (digest(teacher), digest(student)) == before


def test_top_5_says_nothing_for_five_classes_or_fewer():
    x, y = toy_data(20, classes=5)
    result = evaluate_fidelity(
        mlp("t", classes=5), mlp("s", seed=1, classes=5), (x, y), verbose=0
    )
    assert result.student.agreement_top5 is None


def test_steps_limit_the_pass(teacher, student):
    endless = batched(50).repeat()
    result = evaluate_fidelity(teacher, student, endless, steps=2, verbose=0)
    assert result.num_examples == 100


def test_result_is_frozen_and_prints_as_a_table(teacher, student):
    control = model("control", 2)
    result = evaluate_fidelity(teacher, student, (X, Y), control=control, verbose=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.num_examples = 3
    lines = str(result).splitlines()
    assert lines[0].split() == ["150", "examples", "teacher", "student", "control"]
    row = next(line for line in lines if line.startswith("KL"))
    assert row.split()[-3:] == [
        "-",
        f"{result.student.kl:.4f}",
        f"{result.control.kl:.4f}",
    ]


def test_progress_is_shown(teacher, student, capsys):
    evaluate_fidelity(teacher, student, batched(64), verbose=1)
    assert "3/3" in capsys.readouterr().out
