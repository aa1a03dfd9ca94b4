"""The factors of the distillation losses as the list that was given."""

import pytest
from small_models import mlp

import keras_kd
from keras_kd.losses import KnowledgeDistillation, LogitMSE


def distiller(weights):
    losses = [KnowledgeDistillation(), LogitMSE()]
    return keras_kd.Distiller(mlp("teacher"), mlp("student"), losses, weights)


def test_they_read_as_the_list_that_was_given():
    assert distiller([0.7, 0.3]).distillation_loss_weights == [0.7, 0.3]
    assert distiller(None).distillation_loss_weights == [1.0, 1.0]


def test_an_entry_that_is_set_takes_effect():
    model = distiller([0.7, 0.3])
    model.distillation_loss_weights[1] = 2.0
    assert model.distillation_loss_weights == [0.7, 2.0]
    model.distillation_loss_weights = (0.5, 0.25)
    assert model.distillation_loss_weights == [0.5, 0.25]


@pytest.mark.parametrize(("value", "error"), [(-1.0, ValueError), ("a", TypeError)])
def test_an_entry_is_checked_as_it_is_set(value, error):
    model = distiller([0.7, 0.3])
    with pytest.raises(error, match="distillation_loss_weights"):
        model.distillation_loss_weights[0] = value
    assert model.distillation_loss_weights == [0.7, 0.3]
