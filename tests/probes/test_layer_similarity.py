"""The matrix of CKA with names: what is drawn and shown is what was computed."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_kd import metrics
from keras_kd.probes import LayerSimilarity

X = np.random.default_rng(0).normal(size=(30, 4))
LAYERS = {"<all>": X, "a_name_longer_than_18": X[:, :2], "flat": 0 * X}


def similarity():
    matrix = metrics.cka_matrix(LAYERS, {"half": X[:, :2], "all": X})
    return matrix, LayerSimilarity(matrix, list(LAYERS), ["half", "all"])


def test_it_holds_and_shows_the_matrix():
    matrix, found = similarity()
    np.testing.assert_array_equal(found.matrix, np.asarray(matrix))
    rows = repr(found).splitlines()[2:]
    assert [row.split()[0] for row in rows] == list(LAYERS)
    shown = np.array([row.split()[1:] for row in rows], float)
    np.testing.assert_allclose(shown, found.matrix, atol=5e-3)
    assert "&lt;all&gt;" in found._repr_html_()


def test_each_cell_is_drawn_with_its_value():
    _, found = similarity()
    ax = found.plot(color="red")
    texts = [text.get_text() for text in ax.texts]
    values = [f"{v:.2f}" if np.isfinite(v) else "–" for v in found.matrix.ravel()]
    assert texts == values
    alphas = [patch.get_alpha() for patch in ax.patches]
    want = 0.6 * np.nan_to_num(np.clip(found.matrix.ravel(), 0, 1))
    np.testing.assert_allclose(alphas, want)
    assert ax.get_yticklabels()[1].get_text() == "a_name_longer_tha…"
    plt.close("all")


def test_names_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"row for each layer.*\(1, 2\).* \(2, 2\)"):
        LayerSimilarity(np.eye(2), ["a"], ["a", "b"])
