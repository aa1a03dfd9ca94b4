"""The SN-GAN example, as a user runs it, and the run that is committed."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPT = EXAMPLES / "sngan.py"
RESULTS = EXAMPLES / "results"


@pytest.mark.slow
def test_quick_run_ends_with_a_generator_samples_and_curves(tmp_path):
    command = [sys.executable, SCRIPT, "--quick", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "100 steps" in done.stdout
    generator = keras.models.load_model(tmp_path / "generator.keras")
    images = np.asarray(generator(np.zeros((2, 128), "float32")))
    assert images.shape == (2, 8, 8, 1)
    assert np.abs(images).max() <= 1
    for picture in ("curve.png", "samples/samples_0004.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "curve.csv").read_text().splitlines()) == 5
    lines = (tmp_path / "quality.jsonl").read_text().splitlines()
    quality = [json.loads(line) for line in lines]
    assert [row["step"] for row in quality] == [50, 100]


def test_the_committed_run_came_nearer_to_the_real_images():
    lines = (RESULTS / "sngan_mnist_quality.jsonl").read_text().splitlines()
    quality = [json.loads(line) for line in lines]
    with (RESULTS / "sngan_mnist_curve.csv").open() as file:
        epochs = [int(row["epoch"]) for row in csv.DictReader(file)]
    assert epochs == list(range(len(epochs)))
    assert quality[-1]["frechet_distance"] < quality[0]["frechet_distance"] / 2
    assert quality[-1]["inception_score"] > quality[0]["inception_score"]
