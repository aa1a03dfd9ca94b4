"""XLA only where it measures faster: a fake clock, and real steps on this CPU."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from small_models import mlp, numpy_weights, sparse_cross_entropy, toy_data

from keras_kd.distiller import keras_trainer
from keras_kd.distiller.jit_choice import FasterOfTwo, accelerator_present
from keras_kd.distiller.keras_trainer import KerasTrainer


class Machine:
    """Two step functions on a clock that only they move."""

    def __init__(self, plain, compiled, first_call=0.0):
        self.now, self.first_call = 0.0, first_call
        self.seconds = {"plain": plain, "compiled": compiled}
        self.calls = []
        self.step = FasterOfTwo(
            self.candidate("plain"), self.candidate("compiled"), clock=lambda: self.now
        )

    def candidate(self, name):
        def step(iterator):
            first = name not in self.calls
            self.calls.append(name)
            self.now += self.seconds[name] + (self.first_call if first else 0.0)
            return {"loss": len(self.calls), "data": iterator}

        return step

    def run(self, steps):
        return [self.step(i) for i in range(steps)]


@pytest.mark.parametrize(
    ("plain", "compiled", "kept"),
    [(1.0, 2.0, "plain"), (2.0, 1.0, "compiled"), (1.0, 1.0, "plain")],
)
def test_the_faster_one_stays(plain, compiled, kept):
    machine = Machine(plain, compiled)
    machine.run(100)
    assert set(machine.calls[:40]) == {"plain", "compiled"}
    assert set(machine.calls[40:]) == {kept}


def test_the_time_of_compiling_does_not_count():
    machine = Machine(plain=2.0, compiled=1.0, first_call=1000.0)
    machine.run(100)
    assert machine.calls[-1] == "compiled"


def test_one_slow_step_does_not_decide():
    machine = Machine(plain=1.0, compiled=2.0)
    machine.run(2)
    machine.seconds["plain"] = 500.0  # the machine was busy with something else
    machine.run(1)
    machine.seconds["plain"] = 1.0
    machine.run(97)
    assert machine.calls[-1] == "plain"


def test_every_step_runs_once_on_its_own_data():
    machine = Machine(1.0, 2.0)
    logs = machine.run(30)
    assert [log["loss"] for log in logs] == list(range(1, 31))
    assert [log["data"] for log in logs] == list(range(30))


@pytest.mark.parametrize(
    "error", [tf.errors.InvalidArgumentError, tf.errors.UnimplementedError]
)
def test_a_step_that_xla_cannot_compile_runs_without(error):
    def refuse(iterator):
        raise error(None, None, "no such kernel")

    machine = Machine(1.0, 2.0)
    step = FasterOfTwo(machine.candidate("plain"), refuse, clock=lambda: machine.now)
    with pytest.warns(UserWarning, match="XLA cannot compile .* no such kernel"):
        logs = [step(i)["data"] for i in range(30)]
    assert logs == list(range(30))
    assert step.chosen == 0


def test_an_error_of_the_plain_step_is_raised():
    def fail(iterator):
        raise tf.errors.InvalidArgumentError(None, None, "bad label")

    step = FasterOfTwo(fail, fail)
    with pytest.raises(tf.errors.InvalidArgumentError, match="bad label"):
        step(0)


class Chooser(KerasTrainer, keras.Model):
    """A network that may choose."""

    _chooses_jit = True
    teacher = student = output_names = None

    def _scheduled(self):
        return []

    def _has_all_variables(self):
        return True


def chooser():
    model = mlp("network")
    return Chooser(model.input, model.output)


def fit(model, **kwargs):
    model.compile("sgd", sparse_cross_entropy(), jit_compile=False)
    x, y = toy_data(8 * 20)
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0, **kwargs)
    return model


def test_without_an_accelerator_nothing_is_tried():
    assert not accelerator_present()
    model = fit(chooser())
    assert not isinstance(model.train_function, FasterOfTwo)
    assert not model.jit_compile


def test_trying_both_trains_as_one_of_them_does(monkeypatch):
    monkeypatch.setattr(keras_trainer, "accelerator_present", lambda: True)
    model = fit(chooser(), epochs=2)
    assert model.train_function.chosen in (0, 1)
    assert not model.jit_compile  # evaluate and predict stay plain
    plain = fit(mlp("network"), epochs=2)
    for ours, theirs in zip(numpy_weights(model), numpy_weights(plain), strict=True):
        assert_allclose(ours, theirs, atol=1e-5)


class NoXLA(keras.layers.Layer):
    """A layer that says so."""

    def __init__(self):
        super().__init__()
        self.supports_jit = False

    def call(self, inputs):
        return inputs


def test_a_layer_that_xla_does_not_support_settles_it(monkeypatch):
    monkeypatch.setattr(keras_trainer, "accelerator_present", lambda: True)
    network = mlp("network", extra=[NoXLA()])
    model = fit(Chooser(network.input, network.output))
    assert not isinstance(model.train_function, FasterOfTwo)


def test_replicas_are_not_timed(monkeypatch):
    monkeypatch.setattr(keras_trainer, "accelerator_present", lambda: True)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = chooser()
        model.compile("sgd", sparse_cross_entropy(), jit_compile=False)
    model.make_train_function()
    assert not isinstance(model.train_function, FasterOfTwo)


def test_nothing_is_chosen_unless_asked(monkeypatch):
    monkeypatch.setattr(keras_trainer, "accelerator_present", lambda: True)
    model = chooser()
    model._chooses_jit = False
    assert not isinstance(fit(model).train_function, FasterOfTwo)
    assert np.isfinite(numpy_weights(model)[0]).all()
