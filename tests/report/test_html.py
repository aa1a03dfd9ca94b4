"""The files of a report: complete or absent, escaped, the same numbers in each."""

import csv
import io
import json
import os

import pytest

from keras_kd.report import html

NUMBERS = {
    "a set": {
        "num_examples": 3,
        "scores": {"student": {"kl": {"value": 0.5, "low": 0.25, "high": 1.0}}},
        "edges": [0.0, float("nan")],
    }
}


def test_csv_holds_what_json_holds():
    rows = list(csv.DictReader(io.StringIO(html.as_csv(NUMBERS))))
    assert [row["name"] for row in rows] == [
        "num_examples",
        "scores/student/kl",
        "edges/0",
        "edges/1",
    ]
    assert rows[1] == {
        "dataset": "a set",
        "name": "scores/student/kl",
        "value": "0.5",
        "low": "0.25",
        "high": "1.0",
    }


def test_json_has_null_for_what_is_no_number():
    found = json.loads(html.as_json(NUMBERS), parse_constant=pytest.fail)
    assert found["a set"]["edges"] == [0.0, None]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    html.write(path, "old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        html.write(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["page.html"]


@pytest.mark.parametrize(
    ("value", "name", "text"),
    [
        (0.7056, "agreement", "70.6%"),
        (0.7056, "kl", "0.7056"),
        (0.00012, "kl", "1.2e-4"),
        (0.0, "kl", "0.0000"),
        (None, "kl", "–"),
        (float("nan"), "kl", "–"),
    ],
)
def test_numbers_are_shown_for_people(value, name, text):
    assert html.number(value, name) == text
