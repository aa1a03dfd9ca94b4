"""Figures: well-formed, in the page's colours, with ids of their own."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

import keras_kd
from keras_kd.report import figures

NAN = float("nan")
ENTRY = {"value": 0.5, "low": 0.4, "high": 0.6}
BINS = {
    "edges": [0.0, 0.5, 1.0],
    "weights": [0.0, 9.0],
    "accuracy": [NAN, 0.8],
    "agreement": [NAN, 0.8],
    "confidence": [NAN, 0.7],
}
LOGITS = np.random.default_rng(0).normal(size=(2, 30, 3))
PHI = keras_kd.metrics.confidence_exaggeration(*LOGITS, num_resamples=10)
CKA = {"teacher_layers": ["<a>"], "layers": ["b", "c"], "cka": [[0.5, NAN]]}
CLASSES = {"weights": [1.0] * 30, "agreement": [*np.linspace(0, 1, 29), NAN]}

DRAWN = {
    "intervals": lambda: figures.intervals(
        {"student": {"kl": ENTRY}, "control": {"kl": ENTRY}}, "kl", "KL"
    ),
    "reliability": lambda: figures.reliability(BINS, "teacher"),
    "phi": lambda: figures.phi_scatter(PHI, "student"),
    "by_confidence": lambda: figures.agreement_by_confidence({"student": BINS}),
    "by_class": lambda: figures.agreement_by_class(
        {"student": CLASSES, "control": CLASSES}, [f"class {i}" for i in range(30)]
    ),
    "cka": lambda: figures.cka(CKA, "control"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_stands_within_a_page(name):
    svg = DRAWN[name]()
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root.get("viewBox")
    assert root.get("width") is None  # the page's style decides
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg))
    assert {a or b for a, b in used} <= set(ids)


@pytest.mark.parametrize("name", DRAWN)
def test_colours_are_those_of_the_page(name):
    svg = DRAWN[name]()
    assert not re.findall(r"(?:fill|stroke|color): ?#(?!00000)\w+", svg)
    assert "currentColor" in svg


def test_the_same_numbers_give_the_same_figure():
    assert DRAWN["phi"]() == DRAWN["phi"]()


def test_a_scatter_draws_no_more_points_than_it_says(monkeypatch):
    monkeypatch.setattr(figures, "MAX_POINTS", 7)
    assert len(re.findall(r"<use [^>]*fill-opacity", DRAWN["phi"]())) == 7


def test_of_many_classes_the_lowest_are_drawn():
    svg = DRAWN["by_class"]()
    assert "class 0<" in svg
    assert f"class {figures.MAX_CLASSES}<" not in svg


def test_no_tick_stands_for_a_share_above_one():
    perfect = {"agreement": [0.9, 1.0], "weights": [5, 5]}
    svg = figures.agreement_by_class({"student": perfect}, ["a", "b"])
    ticks = [float(text) for text in re.findall(r">(\d\.\d+)<", svg)]
    assert len(ticks) > 2
    assert max(ticks) == 1


def test_layer_names_are_escaped():
    assert "&lt;a&gt;" in DRAWN["cka"]()
