"""SP and PKT: published values, invariances, and how released code relates."""

import numpy as np
import pytest
from keras import ops
from logit_sides import sides
from numpy.testing import assert_allclose
from oracles import reference
from oracles import similarity as oracles

from keras_kd import losses

BOTH = {"SP": losses.similarity_preserving, "PKT": losses.pkt}
each_function = pytest.mark.parametrize("function", BOTH.values(), ids=BOTH)


def rotation(size):
    return np.linalg.qr(np.random.default_rng(3).normal(size=(size, size)))[0]


def test_similarity_preserving_equals_the_value_of_released_code():
    maps = reference.TEACHER_MAPS, reference.STUDENT_MAPS
    for form in (losses.similarity_preserving, oracles.similarity_preserving):
        assert_allclose(
            np.mean(form(*maps)), reference.SIMILARITY_PRESERVING, atol=5e-9
        )


def test_pkt_equals_released_code_less_what_the_diagonal_adds():
    """KL of a choice is KL of its first step plus the share of the second times KL."""
    embeddings = reference.TEACHER_EMBEDDINGS, reference.STUDENT_EMBEDDINGS
    released = oracles.pkt_as_released(*embeddings)
    assert_allclose(released, reference.PKT, atol=5e-9)
    # Of all that is similar to an example, the share of itself.
    p, q = (1 / oracles.cosine_kernel(side).sum(axis=1) for side in embeddings)
    itself = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    ours = ops.convert_to_numpy(losses.pkt(*embeddings))
    whole = np.mean(itself + (1 - p) * ours)
    assert_allclose(whole / len(p), released, rtol=1e-5)  # its 1e-7 in logarithms


@each_function
@pytest.mark.parametrize("side", [0, 1], ids=["teacher", "student"])
def test_rotating_and_scaling_all_features_of_a_side_changes_nothing(function, side):
    given = list(sides((10, 6)))
    want = function(*given)
    given[side] = 7.3 * given[side] @ rotation(6)
    assert_allclose(function(*given), want, rtol=1e-10)


@pytest.mark.parametrize("side", [0, 1], ids=["teacher", "student"])
def test_pkt_ignores_the_length_of_each_example(side):
    given = list(sides((10, 6)))
    want = losses.pkt(*given)
    given[side] = given[side] * np.geomspace(1e-3, 1e3, 10)[:, None]
    assert_allclose(losses.pkt(*given), want, rtol=1e-10)


def test_pkt_is_never_negative():
    teacher, other = sides((20, 4))
    for distance in (0, 1e-7, 1e-4, 1e-1):
        near = (teacher + distance * other).astype("float32")
        values = losses.pkt(teacher.astype("float32"), near)
        assert (ops.convert_to_numpy(values) >= 0).all()


def test_similarity_preserving_is_at_most_four_over_the_batch():
    """Rows of length 1 differ by 2 at most."""
    teacher, student = sides((20, 2))
    values = ops.convert_to_numpy(losses.similarity_preserving(teacher, student))
    assert (values <= 4 / 20).all()
