"""Tables as text and for notebooks, and what a result shows of itself."""

import dataclasses
import xml.etree.ElementTree as ElementTree
from typing import Any, NamedTuple

import numpy as np
import pytest

from keras_kd._common.table import (
    InTable,
    bin_table,
    format_table,
    html_table,
    shortened,
    shown,
)


def test_columns_are_aligned_first_left_others_right():
    rows = [["accuracy", "0.5", "0.25"], ["NLL", "-", 12345]]
    assert format_table(["set", "teacher", "s"], rows).splitlines() == [
        "set       teacher      s",
        "------------------------",
        "accuracy      0.5   0.25",
        "NLL             -  12345",
    ]


def test_a_table_may_have_no_rows():
    assert format_table(["set", "teacher"], []).splitlines() == [
        "set  teacher",
        "-" * 12,
    ]


def test_an_html_table_has_the_cells_whatever_they_hold():
    header, rows = ["<set>", "a & b"], [["x", 1], ["<b>y</b>", '"z"']]
    root = ElementTree.fromstring(html_table(header, rows))
    found = [[cell.text for cell in row] for row in root.iter("tr")]
    assert found == [["<set>", "a & b"], ["x", "1"], ["<b>y</b>", '"z"']]


@dataclasses.dataclass(frozen=True, repr=False)
class Result(InTable):
    value: float
    samples: np.ndarray
    name: str = "<b>"


class Bins(NamedTuple):
    edges: Any
    weights: Any

    def _table(self):
        return bin_table(self.edges, [self.weights], ["weights"])

    __repr__ = InTable.__repr__
    _repr_html_ = InTable._repr_html_


def test_a_result_shows_its_fields():
    result = Result(1 / 3, np.arange(6.0).reshape(2, 3))
    assert repr(result).splitlines() == [
        "Result",
        "-" * 28,
        "value                 0.3333",
        "samples  2x3 float64, 0 to 5",
        "name                     <b>",
    ]
    assert "&lt;b&gt;" in result._repr_html_()


def test_bins_are_rows():
    bins = Bins(np.array([0.0, 0.5, 1.0]), np.array([3.0, np.nan]))
    assert repr(bins).split()[-8:] == ["0", "to", "0.5", "3", "0.5", "to", "1", "nan"]
    assert tuple(bins) == (bins.edges, bins.weights)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (True, "True"),
        (12345678, "12345678"),
        (np.float32(0.5), "0.5"),
        ((0.25, 2), "0.25, 2"),
        ({"teacher": 1, "student": 2}, "teacher, student"),
        ([np.zeros(3)], "list of 1"),
        (np.full(3, np.nan), "3 float64"),
        (object(), "object"),
    ],
)
def test_a_cell_is_short(value, text):
    assert shown(value) == text


def test_long_names_are_cut():
    assert shortened("a" * 18) == "a" * 18
    assert shortened("a" * 19) == "a" * 17 + "…"
