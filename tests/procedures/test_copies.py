"""Copies of what trainings are configured with: equal settings, no common state."""

import keras
import pytest

import keras_kd
from keras_kd.procedures._copies import copy_of


class Ramp(keras.optimizers.schedules.LearningRateSchedule):
    """A user's own schedule, which nothing has registered."""

    def __call__(self, step):
        return 0.1 * step

    def get_config(self):
        return {}


class Halves(keras.metrics.Mean):
    """A user's own metric, whose config does not know of its argument."""

    def __init__(self, share=0.5, name="halves"):
        super().__init__(name=name)
        self.share = share


def own_loss(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def test_what_has_a_state_is_copied_in_any_structure():
    given = {
        "optimizer": keras.optimizers.SGD(Ramp(), momentum=0.5),
        "metrics": {"a": ["accuracy", keras.metrics.Mean(name="one")]},
        "losses": (keras_kd.losses.KnowledgeDistillation(temperature=3.0),),
    }
    copy = copy_of(given)
    assert copy["optimizer"] is not given["optimizer"]
    assert isinstance(copy["optimizer"]._learning_rate, Ramp)
    assert copy["optimizer"].momentum == 0.5
    name, metric = copy["metrics"]["a"]
    assert (name, metric.name) == ("accuracy", "one")
    assert metric is not given["metrics"]["a"][1]
    assert copy["losses"][0].temperature == 3.0
    assert copy["losses"][0] is not given["losses"][0]


def test_what_has_none_stays_the_same_object():
    given = [own_loss, keras.losses.MeanSquaredError(), "adam", None, 0.5]
    assert all(a is b for a, b in zip(copy_of(given), given, strict=True))


def test_a_config_that_lacks_an_argument_is_refused():
    with pytest.raises(ValueError, match=r"Halves has no `get_config`.*\['share'\]"):
        copy_of([Halves(0.7)])
