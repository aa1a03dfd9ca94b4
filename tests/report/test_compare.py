"""A report against evaluate_fidelity, the oracles, and what is known of its models."""

import csv
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from bad_input import Row, check
from numpy.testing import assert_allclose
from oracles.calibration import brier_score
from oracles.divergence import jensen_shannon, total_variation
from oracles.logits import kl_divergence
from small_models import digest, mlp, scattered, toy_data

import keras_kd
from keras_kd.report import compare

CLASSES = 7
SIZE = 83
X, Y = toy_data(SIZE, classes=CLASSES)
Y = np.where(np.arange(SIZE) % 10 == 3, keras_kd.UNLABELED, Y)
WEIGHT = np.random.default_rng(1).uniform(0, 2, SIZE).astype("float32")
FAST = {"num_resamples": 50}
EXACT = {"rtol": 2e-6, "atol": 2e-7}


def model(name, seed, **arguments):
    return scattered(mlp(name, classes=CLASSES, **arguments), seed)


def trio():
    return model("teacher", 1, units=10), model("student", 2), model("control", 3)


def conv_net(name="net", classes=3, shape=(8, 8, 1), seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="maps"),
            keras.layers.GlobalAveragePooling2D(name="pool"),
            keras.layers.Dense(classes, name="logits"),
        ],
        name=name,
    )


def texts():
    return tf.constant(["good film", "bad film", "fine", "poor thing", "good"])


def text_model(seed):
    keras.utils.set_random_seed(seed)
    vectorize = keras.layers.TextVectorization(
        output_sequence_length=4, vocabulary=["good", "bad", "film", "fine", "poor"]
    )
    inputs = keras.Input((), dtype="string")
    x = keras.layers.Embedding(7, 5)(vectorize(inputs))
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="logits")(x))


def page_of(report):
    return report.page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Models with their report, on a set with weights and missing labels."""
    models = trio()
    before = [digest(m) for m in models]
    dataset = tf.data.Dataset.from_tensor_slices((X, Y, WEIGHT)).batch(16)
    out = tmp_path_factory.mktemp("report")
    report = compare(*models[:2], {"s": dataset}, models[2], out, **FAST)
    assert [digest(m) for m in models] == before, "compare changed a model"
    return models, dataset, report


def test_numbers_are_those_of_evaluate_fidelity_and_the_oracles(made):
    (teacher, student, control), dataset, report = made
    found = report.numbers["s"]
    want = keras_kd.evaluate_fidelity(teacher, student, dataset, control, verbose=0)
    for side in ("teacher", "student", "control"):
        for name in ("accuracy", "nll", "ece", "agreement", "agreement_top5", "kl"):
            value = getattr(getattr(want, side), name, None)
            if value is not None:
                got = found["scores"][side][name]["value"]
                assert_allclose(got, value, err_msg=f"{side} {name}", **EXACT)
    z_t, z_s = (np.asarray(m(X), "float64") for m in (teacher, student))
    rows, scores = Y >= 0, found["scores"]["student"]
    for name, values in {
        "reverse_kl": kl_divergence(z_s, z_t),
        "jensen_shannon": jensen_shannon(z_t, z_s),
        "total_variation": total_variation(z_t, z_s),
    }.items():
        mean = np.average(values, weights=WEIGHT.astype("float64"))
        assert_allclose(scores[name]["value"], mean, err_msg=name, **EXACT)
    brier = brier_score(Y[rows], z_s[rows], WEIGHT[rows])
    assert_allclose(scores["brier"]["value"], brier, **EXACT)
    bounds = found["agreement_bounds"]["student"]
    assert bounds["upper"] == pytest.approx(want.student.agreement_upper_bound)


def test_bins_kinds_and_slopes_are_those_of_the_metrics(made):
    (teacher, student, _), _, report = made
    found, metrics = report.numbers["s"], keras_kd.metrics
    z_t, z_s = np.asarray(teacher(X)), np.asarray(student(X))
    weighted = {"sample_weight": WEIGHT}
    bins = metrics.reliability_bins(Y, z_s, **weighted)
    for name in ("edges", "weights", "accuracy", "confidence"):
        got = np.array(found["reliability"]["student"][name], float)
        assert_allclose(got, getattr(bins, name), err_msg=name, rtol=1e-5)
    bins = metrics.agreement_by_confidence(z_t, z_s, **weighted)
    for name in ("edges", "weights", "agreement", "confidence"):
        got = np.array(found["agreement_by_confidence"]["student"][name], float)
        assert_allclose(got, getattr(bins, name), err_msg=name, rtol=1e-5)
    kinds = metrics.disagreement_kinds(Y, z_t, z_s, **weighted)
    for name, share in kinds.items():
        got = found["kinds"]["student"][name]
        assert_allclose(got["value"], float(share), rtol=1e-5)
        assert got["low"] <= got["value"] <= got["high"]
    fit = metrics.confidence_exaggeration(z_t, z_s, **weighted, num_resamples=50)
    got = found["confidence_exaggeration"]["student"]["whole"]
    assert got["slope"] == pytest.approx(fit.whole.slope)


def test_layers_of_names_that_both_have_are_compared(made):
    (teacher, student, _), _, report = made
    found = report.numbers["s"]["cka"]["student"]
    names = ["hidden", "features", "logits"]
    assert found["teacher_layers"] == found["layers"] == names
    outputs = [
        keras.Model(m.input, [m.get_layer(n).output for n in names])(X)
        for m in (teacher, student)
    ]
    assert_allclose(found["cka"], keras_kd.metrics.cka_matrix(*outputs), rtol=1e-5)


def test_agreement_by_class_is_that_of_each_class(made):
    (teacher, student, _), _, report = made
    same = np.asarray(teacher(X)).argmax(-1) == np.asarray(student(X)).argmax(-1)
    for i in range(CLASSES):
        got = report.numbers["s"]["agreement_by_class"]["student"]["agreement"][i]
        rows = i == Y
        assert got == pytest.approx(np.average(same[rows], weights=WEIGHT[rows]))


def test_batching_changes_nothing(made, tmp_path):
    (teacher, student, control), _, report = made
    batches = ((X[i : i + 9], Y[i : i + 9], WEIGHT[i : i + 9]) for i in range(0, 83, 9))
    other = compare(teacher, student, {"s": batches}, control, tmp_path, **FAST)
    one, other = (np.array(list(_floats(r.numbers)), float) for r in (report, other))
    assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def _floats(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for entry in value:
            yield from _floats(entry)
    elif isinstance(value, (int, float)):
        yield value


def test_json_and_csv_hold_the_numbers(made):
    _, _, report = made
    folder = report.page.parent
    found = json.loads((folder / "numbers.json").read_text(encoding="utf-8"))
    value = report.numbers["s"]["scores"]["control"]["kl"]["value"]
    assert found["s"]["scores"]["control"]["kl"]["value"] == value
    with open(folder / "numbers.csv", encoding="utf-8") as file:
        rows = {row["name"]: row["value"] for row in csv.DictReader(file)}
    assert float(rows["scores/control/kl"]) == value
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["index.html", "numbers.csv", "numbers.json"]


def test_the_page_asks_for_nothing(made):
    page = page_of(made[2])
    for outside in ('src="http', 'href="http', "url(http", "@import", "<script"):
        assert outside not in page


def test_a_copy_of_the_teacher_is_identical(tmp_path):
    teacher = model("teacher", 1)
    copy = keras.models.clone_model(teacher)
    copy.set_weights(teacher.get_weights())
    report = compare(teacher, copy, (X, Y), trio()[2], tmp_path, **FAST)
    assert report.verdicts["data"].answer == "identical"
    assert "identical to its teacher" in page_of(report)
    assert "There are none" in page_of(report)  # disagreements


def test_a_set_without_labels_says_so(tmp_path):
    teacher, student, _ = trio()
    report = compare(teacher, student, X, out=tmp_path, **FAST)
    assert "accuracy" not in report.numbers["data"]["scores"]["student"]
    assert "no labels" in page_of(report)
    assert "Calibration" not in page_of(report)


def test_a_softmax_head_gives_the_same_numbers(tmp_path):
    teacher, student, _ = trio()
    inputs = keras.Input((4,))
    soft = keras.Model(inputs, keras.layers.Softmax()(student(inputs)))
    one, other = (
        compare(teacher, m, (X, Y), out=tmp_path, **FAST).numbers["data"]["scores"]
        for m in (student, soft)
    )
    for name, entry in one["student"].items():
        assert_allclose(
            other["student"][name]["value"], entry["value"], rtol=1e-4, atol=1e-6
        )


def test_an_ensemble_is_one_teacher(tmp_path):
    teacher, student, other = trio()
    report = compare([teacher, other], student, (X, Y), out=tmp_path, **FAST)
    want = keras_kd.evaluate_fidelity([teacher, other], student, (X, Y), verbose=0)
    got = report.numbers["data"]["scores"]["student"]["kl"]["value"]
    assert_allclose(got, want.student.kl, **EXACT)
    assert "teacher + control" in page_of(report)


def test_images_and_attention_are_shown(tmp_path):
    images = np.random.default_rng(0).random((12, 8, 8, 1), "float32")
    models = conv_net("a", seed=1), conv_net("b", seed=2)
    labels = np.arange(12) % 3
    names = ["cat", "<b>dog</b>", "cow"]
    arguments = {"out": tmp_path, "class_names": names, **FAST}
    report = compare(*models, (images, labels), **arguments)
    assert page_of(report).count("data:image/png;base64,") >= 6 * 3
    assert "<b>dog</b>" not in page_of(report)
    iou = report.numbers["data"]["attention_iou"]["student"]
    maps = [keras_kd.probes.attention_maps(m, images).maps for m in models]
    assert iou == pytest.approx(float(keras_kd.metrics.attention_iou(*maps)))


def test_what_cannot_be_shown_is_said(tmp_path):
    images = np.random.default_rng(0).random((8, 8, 8, 1), "float32")
    flat = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    report = compare(conv_net(), flat, images, out=tmp_path, **FAST)
    assert "Attention maps (keras_kd.probes.attention_maps):" in page_of(report)
    assert "attention_iou" not in report.numbers["data"]


def test_texts_are_shown_as_words(tmp_path):
    teacher, student = text_model(0), text_model(3)
    weights = [-w for w in teacher.layers[-1].get_weights()]
    student.set_weights(teacher.get_weights())
    student.layers[-1].set_weights(weights)  # they part on every text
    report = compare(teacher, student, texts(), out=tmp_path, **FAST)
    assert "poor thing" in page_of(report)


def test_show_decides_what_is_shown(tmp_path):
    teacher, student, _ = trio()
    arguments = {"out": tmp_path, "show": lambda x: f"first is {x[0] > 0}", **FAST}
    report = compare(teacher, student, (X, Y), **arguments)
    assert "first is True" in page_of(report)


def not_a_model(folder):
    path = folder / "no_model.keras"
    path.write_text("hello")
    return path


def rows(folder):
    teacher, student, _ = trio()
    compared = {"out": folder, **FAST}
    five = mlp("five", classes=5)
    wide = mlp("wide", classes=CLASSES, features=6)
    empty = tf.data.Dataset.from_tensor_slices((X, Y)).take(0).batch(8)
    return [
        Row(
            "class counts that differ",
            lambda: compare(teacher, five, (X, Y), **compared),
            ValueError,
            ["classes", "7", "5"],
        ),
        Row(
            "models with different input shapes",
            lambda: compare(teacher, wide, (X, Y), **compared),
            ValueError,
            ["same inputs", r"\(None, 4\)", r"\(None, 6\)"],
        ),
        Row(
            "an empty set",
            lambda: compare(teacher, student, empty, **compared),
            ValueError,
            ["empty", "at least one batch"],
        ),
        Row(
            "examples without weight",
            lambda: compare(teacher, student, (X, Y, 0 * WEIGHT), **compared),
            ValueError,
            ["no weight", "`sample_weight` is 0"],
        ),
        Row(
            "no set",
            lambda: compare(teacher, student, {}, **compared),
            ValueError,
            ["`datasets` is empty"],
        ),
        Row(
            "a file that is not a model",
            lambda: compare(teacher, not_a_model(folder), (X, Y), **compared),
            ValueError,
            ["student", "no_model.keras", r"model\.save"],
        ),
        Row(
            "a file that is not there",
            lambda: compare("absent.keras", student, (X, Y), **compared),
            FileNotFoundError,
            ["teacher", "absent.keras", r"model\.save"],
        ),
        Row(
            "something else for a model",
            lambda: compare(teacher, 3, (X, Y), **compared),
            TypeError,
            ["student", "keras.Model", "int"],
        ),
        Row(
            "names of other classes",
            lambda: compare(teacher, student, X, class_names=["a"], **compared),
            ValueError,
            ["`class_names`", "7", "1"],
        ),
        Row(
            "an endless set",
            lambda: compare(
                teacher,
                student,
                tf.data.Dataset.from_tensor_slices(X).repeat().batch(8),
                **compared,
            ),
            ValueError,
            ["without end", "steps"],
        ),
    ]


@pytest.mark.parametrize("index", range(10))
def test_bad_input_is_explained(index, tmp_path):
    check(rows(tmp_path)[index])
    assert not (tmp_path / "index.html").exists()
