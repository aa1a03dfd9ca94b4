"""The demo, as a user runs it: what it prints, writes and shows, and what it claims."""

import importlib.util
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import keras
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "quickstart.py"


def load_script():
    spec = importlib.util.spec_from_file_location("quickstart", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory):
    """Output, numbers and folder of `quickstart.py --quick`."""
    out = tmp_path_factory.mktemp("quick")
    command = [sys.executable, SCRIPT, "--quick", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done, json.loads((out / "fidelity.json").read_text()), out


def test_demo_ends_with_table_meaning_pictures_and_tensorboard_command(quick_run):
    done, numbers, out = quick_run
    for text in (
        "Agreement",
        f"{numbers['student_kl']:.4f}",
        f"{numbers['student_agreement']:.1%}",
        "Its probabilities are",
        f"tensorboard --logdir {out}/tensorboard",
    ):
        assert text in done.stdout
    for picture in ("fidelity_curves.png", "reliability.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
        assert (out / picture).stat().st_size > 10_000


def test_demo_shows_progress_of_each_training(quick_run):
    progress = quick_run[0].stderr
    for training in ("teacher, member 2 of 2", "distilled", "control", "labels alone"):
        assert training in progress


def test_demo_saves_a_student_that_says_what_the_table_says(quick_run):
    _, numbers, out = quick_run
    student = keras.models.load_model(out / "student.keras")
    _, (x, y) = load_script().load_digits(seed=0)
    accuracy = (student.predict(x, verbose=0).argmax(axis=-1) == y).mean()
    assert accuracy == pytest.approx(numbers["student_accuracy"], abs=1e-6)


def test_student_of_the_demos_ensemble_is_closer_than_control_and_labels(quick_run):
    """Seed 0; a slow test below has other seeds, and trains for longer."""
    numbers = quick_run[1]
    assert numbers["student_kl"] < numbers["control_kl"]
    assert numbers["student_kl"] < numbers["labels_alone_kl"]


def test_tensorboard_serves_the_fidelity_curves_of_the_demo(quick_run):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    logs = quick_run[2] / "tensorboard"
    options = ["--logdir", logs, "--port", str(port), "--load_fast=false"]
    command = [sys.executable, "-m", "tensorboard.main", *options]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        api = f"http://127.0.0.1:{port}/data/plugin/scalars/"
        tags = wait_for(f"{api}tags", lambda t: "distilled/student" in t)
        assert "test/agreement" in tags["distilled/student"]
        assert "test/accuracy" in tags["distilled/teacher"]
        query = urllib.parse.urlencode(
            {"run": "distilled/student", "tag": "test/agreement"}
        )
        curve = wait_for(f"{api}scalars?{query}", lambda points: len(points) == 4)
        assert [step for _, step, _ in curve] == [0, 1, 2, 3]
        agreement = quick_run[1]["student_agreement"]
        assert curve[-1][2] == pytest.approx(agreement, abs=1e-6)
    finally:
        server.kill()
        server.wait()


def wait_for(url, is_ready, seconds=60):
    """The JSON at `url` once it is ready: TensorBoard loads its logs by and by."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                content = json.load(reply)
            if is_ready(content):
                return content
        except (urllib.error.URLError, ConnectionError, json.JSONDecodeError):
            content = None
        assert time.monotonic() < deadline, f"{url} gave {content}"
        time.sleep(0.3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_distilled_student_is_closer_than_control_and_than_labels_alone(
    seed, monkeypatch
):
    """The demo's trainings and measures; its curves and pictures are shown above."""
    script = load_script()
    unwatched = keras.callbacks.Callback()
    monkeypatch.setattr(script.Experiment, "monitor", lambda *_: unwatched)
    fewer = ["--members=1", "--teacher-epochs=8", "--epochs=16", f"--seed={seed}"]
    narrow = ["--teacher-width=16", "--student-width=8"]
    experiment = script.Experiment(script.parse_arguments(fewer + narrow))
    keras.utils.set_random_seed(seed)
    teacher, trained = script.train(experiment)
    students = {run: student for run, (student, _) in trained.items()}
    numbers = script.numbers_of(*script.measure(teacher, students, experiment.test))
    assert numbers["student_kl"] < numbers["control_kl"]
    assert numbers["student_kl"] < numbers["labels_alone_kl"]


@pytest.mark.slow
@pytest.mark.data("mnist")
def test_demo_runs_on_a_set_of_tensorflow_datasets(tmp_path):
    few = ["--members=1", "--teacher-epochs=3", "--epochs=1", "--train-examples=1000"]
    narrow = ["--teacher-width=8", "--student-width=4", "--test-examples=1000"]
    where = ["--dataset=mnist", "--out", str(tmp_path)]
    numbers = load_script().main(few + narrow + where)
    assert numbers["num_examples"] == 1_000
    assert numbers["teacher_accuracy"] > 0.5


@pytest.mark.slow
@pytest.mark.data("mnist")
def test_a_set_of_tensorflow_datasets_is_tested_on_as_a_whole():
    script = load_script()
    args = script.parse_arguments(["--dataset=mnist", "--train-examples=10"])
    experiment = script.Experiment(args)
    assert [len(array) for array in experiment.test] == [10_000] * 2
    assert len(experiment.x) == len(experiment.y) == 10


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        load_script().main(["--help"])
    shown = capsys.readouterr().out
    assert "temperature" in shown
    assert "TFDS_DATA_DIR" in shown
