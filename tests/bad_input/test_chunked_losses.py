"""One row for each mistake that a user can make with a loss computed in chunks."""

import numpy as np
import pytest
import tensorflow as tf

from bad_input import Row, check
from keras_kd import losses

THREE, FOUR, ONE_CLASS = np.zeros((2, 3)), np.zeros((2, 4)), np.zeros((2, 1))
chunked = losses.chunked_knowledge_distillation


def hessian(function, student):
    with tf.GradientTape() as outer:
        outer.watch(student)
        with tf.GradientTape() as inner:
            inner.watch(student)
            value = function(student)
        first = inner.gradient(value, student)
    return outer.jacobian(first, student)


ROWS = [
    Row(
        "chunks of no rows",
        lambda: losses.ChunkedKnowledgeDistillation(chunk_size=0),
        ValueError,
        ["`chunk_size`", "whole number of at least 1", "chunk_size=0"],
    ),
    Row(
        "chunks of a fraction",
        lambda: chunked(THREE, THREE, chunk_size=0.5),
        TypeError,
        ["`chunk_size`", "whole number", "chunk_size=0.5 of type float"],
    ),
    Row(
        "vocabularies that differ",
        lambda: chunked(THREE, FOUR),
        ValueError,
        ["same rank and number of classes", r"teacher \(2, 3\)", "common set"],
    ),
    Row(
        "a single class",
        lambda: losses.ChunkedKnowledgeDistillation()(ONE_CLASS, ONE_CLASS),
        ValueError,
        ["at least 2 classes", "two logits"],
    ),
    Row(
        "one position less",
        lambda: chunked(THREE, THREE[1:]),
        ValueError,
        [r"teacher \(2, 3\), student \(1, 3\)", "position by position", "same tokens"],
    ),
    Row(
        "temperature of 0 for one example",
        lambda: chunked(THREE, THREE, temperature=[1.0, 0.0]),
        ValueError,
        ["`temperature` must be a finite number > 0", "temperature=0.0"],
    ),
    Row(
        "second derivative",
        lambda: hessian(lambda s: chunked(THREE, s), tf.zeros((2, 3), "float64")),
        NotImplementedError,
        ["first derivatives only", "take `KnowledgeDistillation`"],
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.mistake)
def test_mistake_is_answered_at_the_call(row):
    check(row)
