"""What a verdict says of given numbers."""

import pathlib

import pytest

from keras_kd import report
from keras_kd.report import verdict


def entry(value, half=0.01):
    return {"value": value, "low": value - half, "high": value + half}


def numbers(kl=None, agreement=None, labels=True, same=False, slope=(0.9, 1.1)):
    """Of a student; with `kl` and `agreement` less the control's, where given."""
    student = {"agreement": entry(0.9), "kl": entry(0.2)}
    if same:
        student = {"agreement": entry(1.0, 0), "kl": entry(0.0, 0)}
    found = {
        "num_examples": 100,
        "num_classes": 10,
        "scores": {"teacher": {}, "student": student},
        "differences": {},
        "confidence_exaggeration": {
            "student": {
                "whole": {
                    "slope": sum(slope) / 2,
                    "slope_interval": slope,
                    "below_diagonal": 0.3,
                }
            }
        },
    }
    if kl is not None:
        found["scores"]["control"] = {"agreement": entry(0.8), "kl": entry(0.3)}
        differences = {"kl": entry(kl), "agreement": entry(agreement)}
        found["differences"]["student_minus_control"] = differences
    if labels:
        for side in ("teacher", "student"):
            found["scores"][side] = found["scores"][side] | {"accuracy": entry(0.7)}
        found["differences"]["student_minus_teacher"] = {"accuracy": entry(-0.1)}
        found["agreement_bounds"] = {"student": {"lower": 0.4, "upper": 1.0}}
        found["kinds"] = {
            "student": {
                "only_teacher_right": entry(0.06),
                "only_student_right": entry(0.03),
                "both_wrong_different": entry(0.01),
            }
        }
    return found


@pytest.mark.parametrize(
    ("kl", "agreement", "answer"),
    [
        (-0.1, 0.1, "closer"),
        (-0.1, 0.005, "closer"),
        (0.005, 0.1, "closer"),
        (-0.005, 0.005, "no closer"),
        (0.1, -0.1, "further"),
        (0.1, 0.0, "further"),
        (-0.1, -0.1, "mixed"),
        (0.1, 0.1, "mixed"),
    ],
)
def test_intervals_beside_a_control_decide(kl, agreement, answer):
    assert verdict(numbers(kl, agreement)).answer == answer


def test_a_copy_is_identical_whatever_the_control():
    assert verdict(numbers(-0.2, 0.1, same=True)).answer == "identical"


def test_without_a_control_nothing_is_claimed():
    said = verdict(numbers())
    assert said.answer == "no control"
    assert "control" in said.headline


def test_absent_labels_are_said():
    assert "no labels" in str(verdict(numbers(labels=False)))
    assert "no labels" not in str(verdict(numbers()))


def test_of_a_copy_nothing_is_said_twice():
    given = numbers(same=True)
    given["differences"]["student_minus_teacher"]["accuracy"] = entry(0.0, 0)
    assert verdict(given).sentences == ("Both have an accuracy of 70.0%.",)


def test_who_is_right_adds_up():
    text = str(verdict(numbers()))
    assert "the teacher is right in 60%" in text
    assert "student in 30%" in text


@pytest.mark.parametrize(
    ("slope", "words"),
    [
        ((1.2, 1.4), "exaggerates"),
        ((0.9, 1.1), "one to one as far as this set tells"),
        ((0.5, 0.7), "less than one to one"),
        ((-0.2, 0.1), "is not surer where its teacher is"),
    ],
)
def test_slope_of_the_log_odds_is_put_in_words(slope, words):
    assert words in str(verdict(numbers(slope=slope)))


def test_a_teacher_at_chance_is_doubted():
    guessing = numbers()
    guessing["scores"]["teacher"]["accuracy"] = entry(0.1)
    assert "about chance" in str(verdict(guessing))
    assert "about chance" not in str(verdict(numbers()))


def test_a_slope_that_is_not_known_is_left_out():
    nan = float("nan")
    assert "log-odds" not in str(verdict(numbers(slope=(nan, nan))))


def test_a_verdict_is_a_table_in_a_notebook():
    said = report.Verdict("closer", "By <class>.", ("One & two.", "Three."))
    table = said._repr_html_()
    assert table.count("<tr>") == 3
    assert "By &lt;class&gt;." in table
    assert "One &amp; two." in table


def test_a_report_is_a_table_of_its_sets():
    said = report.Verdict("closer", "It is closer.", ())
    found = report.Report(pathlib.Path("r/index.html"), {}, {"<test>": said})
    assert "&lt;test&gt;" in found._repr_html_()
    assert "It is closer." in repr(found)
    assert "r/index.html" in repr(found)
