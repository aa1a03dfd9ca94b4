"""The CIFAR-100 example, as a user runs it, and the table that it wrote."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import keras
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPT = EXAMPLES / "cifar100_ensemble.py"
RECORD = EXAMPLES / "results" / "cifar100_ensemble.json"


def load_script():
    spec = importlib.util.spec_from_file_location("cifar100_ensemble", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_quick_run_ends_with_a_table_a_picture_and_curves(tmp_path):
    command = [sys.executable, SCRIPT, "--quick", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "results.json").read_text())
    assert list(record["results"]) == ["baseline", "rotation+mixup"]
    for policy, row in record["results"].items():
        shown = f"| {policy} | {100 * row['accuracy']:.1f} | "
        assert shown + f"{100 * row['agreement']:.1f} | {row['kl']:.3f}" in done.stdout
        assert any((tmp_path / policy).glob("**/events*"))
    assert (tmp_path / "fidelity.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.data("cifar100")
def test_combined_mixup_and_gan_on_real_images_train_a_student(tmp_path):
    """Issue 11's expression, through the example: the real set, all parts at once."""
    script = load_script()
    latent = keras.Input((4,))
    images = keras.layers.Reshape((32, 32, 3))(keras.layers.Dense(3072, "tanh")(latent))
    keras.Model(latent, images).save(tmp_path / "generator.keras")
    script.main(
        [
            "--policies=combined+mixup+gan",
            "--examples=300",
            "--test-examples=200",
            "--members=1",
            "--teacher-epochs=1",
            "--epochs=3",
            "--batch=32",
            f"--generator={tmp_path / 'generator.keras'}",
            f"--out={tmp_path}",
        ]
    )
    record = json.loads((tmp_path / "results.json").read_text())
    kl = record["curves"]["combined+mixup+gan"]["test/kl"]
    assert kl[-1] < kl[0]


def test_policies_with_gan_ask_for_a_generator(capsys):
    with pytest.raises(SystemExit):
        load_script().parse_arguments(["--policies", "mixup+gan"])
    assert "need --generator" in capsys.readouterr().err


def test_the_papers_recipe_is_that_of_the_appendix():
    """Appendix A.3: 200 epochs of 256 for teachers, 300 of 128 for students."""
    args = load_script().parse_arguments(["--paper"])
    assert (args.teacher_depth, args.student_depth) == (56, 56)
    assert (args.teacher_epochs, args.teacher_batch) == (200, 256)
    assert (args.epochs, args.batch, args.examples) == (300, 128, None)
    temperatures = [load_script().temperature_of(p, args) for p in args.policies]
    assert dict(zip(args.policies, temperatures, strict=True))["rotation"] == 1.0


def test_committed_table_is_that_of_the_committed_record():
    record = json.loads(RECORD.read_text())
    page = RECORD.with_suffix(".md").read_text()
    written = load_script().report(record)
    assert page == written.replace("fidelity.png", "cifar100_ensemble.png")
