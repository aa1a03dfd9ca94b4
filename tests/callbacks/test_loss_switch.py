"""LossSwitch: exactly the two losses, one trace, and a run that goes on after it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from oracles import logits as oracles
from small_models import TraceCounter, mlp, scattered, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.callbacks import LossSwitch
from keras_kd.losses import KnowledgeDistillation

X, Y = toy_data(8)


def build(counter=None, **arguments):
    teacher = scattered(mlp("teacher"), seed=3)
    student = mlp("student", seed=1, extra=[counter] if counter else [])
    distiller = keras_kd.Distiller(
        teacher, student, KnowledgeDistillation(4.0), **arguments
    )
    distiller.compile(keras.optimizers.SGD(0.1), loss=sparse_cross_entropy())
    return distiller


class Losses(keras.callbacks.Callback):
    """The logged loss of each step, and both losses of the student before it."""

    def __init__(self):
        super().__init__()
        self.logged, self.labels, self.soft = [], [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.model.reset_metrics()
        sides = self.model.teacher, self.model.student
        teacher, student = (np.asarray(side(X)) for side in sides)
        nll = -oracles.log_softmax(student)[np.arange(len(Y)), Y]
        self.labels.append(nll.mean())
        soft = oracles.knowledge_distillation(teacher, student, 4.0)
        self.soft.append(soft.mean())

    def on_train_batch_end(self, batch, logs=None):
        self.logged.append(logs["loss"])


def fit(distiller, steps, switch=None):
    record = Losses()
    data = tf.data.Dataset.from_tensors((X, Y)).repeat(steps)
    distiller.fit(data, callbacks=[record, *([switch] if switch else [])], verbose=0)
    return tuple(map(np.array, (record.logged, record.labels, record.soft)))


@pytest.mark.parametrize("window", [0, 3])
@pytest.mark.parametrize("to", ["distillation", "labels", 0.25])
def test_losses_before_between_and_after_are_exactly_these(to, window):
    counter = TraceCounter()
    distiller = build(counter, student_loss_weight=0.75)
    logged, labels, soft = fit(distiller, 8, LossSwitch(2, to, window))
    ends = {"distillation": (1.0, 0.0), "labels": (0.0, 1.0), 0.25: (0.75, 0.25)}[to]
    for step in range(8):
        share = min((step - 2) / window, 1) if window and step > 2 else step >= 2
        share = 0.0 if window and step <= 2 else share
        w = ends[0] + share * (ends[1] - ends[0])
        want = w * labels[step] + (1 - w) * soft[step]
        assert_allclose(logged[step], want, rtol=2e-5, err_msg=f"step {step}")
    # One to build, one for the step; those of the record, 8 and then 2, are eager.
    assert counter.traces == 2 + 8
    fit(distiller, 2, LossSwitch(2, to, window))
    assert counter.traces == 2 + 8 + 2


def test_switch_may_join_a_distiller_that_has_trained():
    distiller = build()
    fit(distiller, 3)
    logged, labels, soft = fit(distiller, 4, LossSwitch(5))
    assert_allclose(logged, [*labels[:2], *soft[2:]], rtol=2e-5)


def test_logs_have_the_weight_at_the_end_of_each_epoch():
    history = build().fit(
        X, Y, batch_size=2, epochs=3, callbacks=[LossSwitch(6, window=4)], verbose=0
    )
    assert history.history["student_loss_weight"] == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("how", ["backup", "saved"])
def test_a_run_that_is_resumed_after_the_switch_has_the_second_loss(tmp_path, how):
    distiller = build()
    fit(distiller, 4, LossSwitch(2))
    if how == "saved":  # whole file: the callback is not needed any more
        distiller.save(tmp_path / "d.keras")
        resumed, switch = keras.saving.load_model(tmp_path / "d.keras"), None
    else:
        distiller.save_weights(tmp_path / "d.weights.h5")
        resumed, switch = build(), LossSwitch(2)
        resumed.optimizer.build(resumed.trainable_variables)
        resumed.load_weights(tmp_path / "d.weights.h5")
    logged, _, soft = fit(resumed, 2, switch)
    assert_allclose(logged, soft, rtol=2e-5)
    want, _, _ = fit(distiller, 2)
    assert_allclose(logged, want, rtol=1e-6)
