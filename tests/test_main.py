"""`python -m keras_kd`: what it prints, writes, and says of mistakes."""

import importlib.metadata

import keras
import pytest

from keras_kd.__main__ import main


def save_classifier(path, seed, classes=10):
    keras.utils.set_random_seed(seed)
    keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes),
        ]
    ).save(path)
    return str(path)


@pytest.fixture
def models(tmp_path):
    names = ("teacher", "student", "control")
    return [save_classifier(tmp_path / f"{n}.keras", i) for i, n in enumerate(names)]


def compare(*arguments):
    return main(["compare", *arguments, "--dataset", "digits"])


def test_compare_writes_a_page_and_prints_the_verdict(models, tmp_path, capsys):
    teacher, student, control = models
    out = tmp_path / "out"
    more = ["--control", control, "--limit", "40", "--out", str(out)]
    assert compare(teacher, student, *more, "--pixels", "z_score") == 0
    printed = capsys.readouterr().out
    assert "digits/test: " in printed
    assert "of 40 examples" in printed
    assert str(out / "index.html") in printed
    assert "digits/test" in (out / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda a: [a[0], "absent.keras"], ["absent.keras", "is not there"]),
        (lambda a: [*a, "--split", "tset"], ["split", "test"]),
        (lambda a: [*a, "--dataset", "cifar1000"], ["cifar1000", "'cifar100'"]),
        (lambda a: [*a, "--limit", "0"], ["`limit`", "at least 1"]),
        (lambda a: [*a, "--pixels", "unit_cub"], ["`pixels`", "'unit_cube'"]),
    ],
    ids=["file", "split", "dataset", "limit", "pixels"],
)
def test_a_mistake_is_one_line_and_exit_code_2(change, says, models, tmp_path, capsys):
    arguments = ["compare", "--dataset", "digits", *change(models[:2])]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("keras-kd: ")
    assert all(words in message for words in says), message
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_model_is_named(models, tmp_path, capsys):
    path = tmp_path / "weights.keras"
    path.write_bytes(b"PK nothing")
    with pytest.raises(SystemExit):
        compare(models[0], str(path))
    assert "cannot be read as a Keras model" in capsys.readouterr().err
    path = tmp_path / "notes.txt"
    path.write_text("no model")
    with pytest.raises(SystemExit):
        compare(models[0], str(path))
    message = capsys.readouterr().err
    assert (
        "notes.txt. Give a file saved by `model.save" in message
    )  # not Keras's advice


def test_the_console_script_is_this_command():
    (script,) = importlib.metadata.entry_points(
        group="console_scripts", name="keras-kd"
    )
    assert script.load() is main


def test_help_names_the_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "compare" in capsys.readouterr().out
