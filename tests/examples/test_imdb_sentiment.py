"""The IMDB example, as a user runs it, and the table that it writes."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPT = EXAMPLES / "imdb_sentiment.py"
RECORD = EXAMPLES / "results" / "imdb_sentiment.json"


def load_script():
    spec = importlib.util.spec_from_file_location("imdb_sentiment", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.data("imdb_reviews")
def test_quick_run_ends_with_tables_a_record_and_curves(tmp_path):
    out, logs = tmp_path / "results" / "imdb.json", tmp_path / "logs"
    options = ["--quick", "--out", out, "--tensorboard", logs]
    done = subprocess.run(
        [sys.executable, SCRIPT, *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(out.read_text())
    table = out.with_suffix(".md").read_text()
    assert [row["members"] for row in record["results"]] == [1, 2]
    for row in record["results"]:
        assert row["num_examples"] == 200
        assert 0 < row["student_kl"]
        assert f"{row['student_kl']:.4f}" in done.stdout
        assert f"{row['student_agreement'] * 100:.1f}" in table
    for run in ("control_of_labels", "teacher_2", "student_of_1", "student_of_2"):
        assert run in done.stdout
        assert any((logs / run / "validation").glob("events*"))


def test_committed_table_is_that_of_the_committed_record():
    record = json.loads(RECORD.read_text())
    table = RECORD.with_suffix(".md").read_text()
    assert load_script().markdown(record) == table
    assert [row["members"] for row in record["results"]] == [1, 3]
    assert all(row["num_examples"] == 25_000 for row in record["results"])


def test_committed_run_agrees_more_with_the_larger_ensemble_as_in_the_paper():
    one, three = json.loads(RECORD.read_text())["results"]
    assert three["student_agreement"] > one["student_agreement"]
    assert three["student_kl"] < one["student_kl"]
    assert three["teacher_accuracy"] > one["teacher_accuracy"]


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        load_script().main(["--help"])
    shown = capsys.readouterr().out
    for option in ("--members", "--paper", "--quick", "--tensorboard"):
        assert option in shown
