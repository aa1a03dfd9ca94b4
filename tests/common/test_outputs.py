"""Labels, losses and weights matched to the outputs of a model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_kd._common import outputs as module


def functional(structure):
    """A model whose outputs have the structure of `structure`, names of layers."""
    x = keras.Input((4,))
    heads = keras.tree.map_structure(lambda n: layers.Dense(3, name=n)(x), structure)
    return keras.Model(x, heads)


class Subclassed(keras.Model):
    def __init__(self, outputs):
        super().__init__()
        self._result = outputs

    def call(self, inputs):
        return self._result


A, B = tf.zeros((2, 3)), tf.ones((2, 3))


@pytest.mark.parametrize(
    ("model", "outputs", "names"),
    [
        (lambda: functional("main"), A, ["main"]),
        (lambda: functional(["main", "aux"]), [A, B], ["main", "aux"]),
        (lambda: functional(["main", "aux"]), (A, B), ["main", "aux"]),
        (lambda: functional({"y": "n", "x": "m"}), {"y": A, "x": B}, ["y", "x"]),
        (lambda: Subclassed(A), A, ["output_0"]),
        (lambda: Subclassed((A, B)), (A, B), ["output_0", "output_1"]),
        (lambda: Subclassed({"y": A}), {"y": A}, ["y"]),
    ],
    ids=["one", "list", "tuple", "dict", "subclassed", "two", "subclassed dict"],
)
def test_outputs_get_the_names_of_the_model_in_its_order(model, outputs, names):
    named = module.named_outputs(model(), outputs)
    assert list(named) == names
    for found, want in zip(named.values(), [A, B], strict=False):
        assert found is want


def test_symbolic_outputs_have_the_structure_of_a_call():
    for structure in ("a", ["a", "b"], {"x": "a", "y": "b"}):
        model = functional(structure)
        found = module.symbolic_outputs(model)
        keras.tree.assert_same_structure(found, model(np.ones((2, 4))))
    chain = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    assert tuple(module.symbolic_outputs(chain).shape) == (None, 3)
    assert module.symbolic_outputs(Subclassed(A)) is None
    assert module.symbolic_outputs(keras.Sequential([layers.Dense(3)])) is None


@pytest.mark.parametrize(
    ("value", "names", "shared", "want"),
    [
        (1, ["a"], False, {"a": 1}),
        (1, ["a", "b"], True, {"a": 1, "b": 1}),
        (None, ["a", "b"], False, {"a": None, "b": None}),
        ([1, 2], ["a", "b"], False, {"a": 1, "b": 2}),
        ((1,), ["a"], False, {"a": 1}),
        ({"b": 2}, ["a", "b"], False, {"a": None, "b": 2}),
        ({"b": 2, "a": 1}, ["a", "b"], True, {"a": 1, "b": 2}),
    ],
    ids=str,
)
def test_entries_go_to_outputs_by_name_or_by_place(value, names, shared, want):
    assert module.match_to_outputs("loss", value, names, shared=shared) == want


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1, "`loss` must have one entry for each of the outputs .*Received a single"),
        ([1], "`loss` has 1 entries for the 2 outputs"),
        ([1, 2, 3], "`loss` has 3 entries for the 2 outputs"),
        ({"mane": 1}, r"does not have: \['mane'\].*Did you mean 'main'"),
    ],
    ids=str,
)
def test_entries_that_match_no_output_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        module.match_to_outputs("loss", value, ["main", "aux"], shared=False)
