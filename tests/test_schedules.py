"""Schedules against closed forms, and what the Distiller makes of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from oracles import logits as oracles
from small_models import TraceCounter, mlp, scattered, sparse_cross_entropy, toy_data

import keras_kd
from keras_kd.losses import KnowledgeDistillation
from keras_kd.schedules import LinearRamp, hard_to_soft

X, Y = toy_data(8)


def values(schedule, steps):
    return [float(schedule(step)) for step in steps]


@pytest.mark.parametrize("every", [1, 3, 5])
@pytest.mark.parametrize("begin", [0, 4])
@pytest.mark.parametrize("steps", [0, 1, 10])
def test_ramp_is_the_line_between_two_constants(steps, begin, every):
    found = values(LinearRamp(0.2, 1.4, steps, begin, every), range(30))
    for step, value in enumerate(found):
        done = min((step - begin) // every * every, steps)
        share = 0.0 if step < begin else 1.0 if steps == 0 else done / steps
        assert_allclose(value, 0.2 + 1.2 * share, rtol=1e-6)


def test_ramp_is_exact_far_out():
    begin = 2**24  # from here on float32 skips whole numbers
    ramp = LinearRamp(0.0, 1.0, steps=4, begin=begin)
    found = values(ramp, [begin - 1, begin + 1, begin + 3, begin + 4])
    assert found == [0.0, 0.25, 0.75, 1.0]


@pytest.mark.parametrize("step", [tf.constant(3), tf.constant(3, "int64"), 3, 3.0])
def test_step_may_be_of_any_kind(step):
    value = LinearRamp(0.0, 1.0, steps=4)(step)
    assert (float(value), value.dtype) == (0.75, "float32")


@pytest.mark.parametrize("weight", [1.0, 0.6])
def test_hard_to_soft_is_the_rule_of_the_released_code(weight):
    epochs, steps = 5, 7
    hard, soft = hard_to_soft(epochs, steps, weight)
    share = weight
    for epoch in range(epochs + 2):
        for step in (0, steps - 1):
            found = values(hard, [epoch * steps + step]) + values(
                soft, [epoch * steps + step]
            )
            assert_allclose(found, [share, 1 - share], atol=1e-6)
        share = max(share - weight / epochs, 0.0)


def test_ramp_survives_its_config():
    ramp = LinearRamp(0.5, 2.0, steps=9, begin=2, every=3)
    config = keras.saving.serialize_keras_object(ramp)
    copy = keras.saving.deserialize_keras_object(config)
    assert copy.get_config() == ramp.get_config()


def build(counter=None, rate=0.0, **schedules):
    """With a rate of 0 the losses of a step are those of the models as built."""
    teacher = scattered(mlp("teacher"), seed=3)
    student = mlp("student", seed=1, extra=[counter] if counter else [])
    loss = KnowledgeDistillation(schedules.pop("temperature", 4.0))
    distiller = keras_kd.Distiller(teacher, student, loss, **schedules)
    distiller.compile(keras.optimizers.SGD(rate), loss=sparse_cross_entropy())
    return distiller


def logs_of_steps(distiller, count):
    """What each of so many steps logs, on the same batch."""
    found = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda _, logs: found.append(dict(logs))
    )
    data = tf.data.Dataset.from_tensors((X, Y)).repeat(count)
    reset = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda _, logs: distiller.reset_metrics()
    )
    distiller.fit(data, callbacks=[reset, record], verbose=0)
    return found


def wanted_losses(distiller, temperature):
    logits = [np.asarray(m(X)) for m in (distiller.teacher, distiller.student)]
    labels = -oracles.log_softmax(logits[1])[np.arange(len(Y)), Y].mean()
    return labels, oracles.knowledge_distillation(*logits, temperature).mean()


def test_steps_see_the_values_of_their_schedules_and_are_traced_once():
    counter = TraceCounter()
    ramps = {
        "temperature": LinearRamp(1.0, 5.0, steps=4),
        "student_loss_weight": LinearRamp(1.0, 0.0, steps=2, begin=1),
        "distillation_loss_weights": [LinearRamp(0.0, 3.0, steps=5)],
    }
    distiller = build(counter, **ramps)
    logs = logs_of_steps(distiller, 7)
    assert counter.traces == 2  # one to build, one for the step
    for step, row in enumerate(logs):
        temperature, w, factor = (
            values(s[0] if isinstance(s, list) else s, [step])[0]
            for s in ramps.values()
        )
        labels, soft = wanted_losses(distiller, temperature)
        assert_allclose(row["distillation_loss"], factor * soft, 1e-4)
        assert_allclose(row["loss"], w * labels + (1 - w) * factor * soft, rtol=1e-4)
    counter.reset()
    logs_of_steps(distiller, 3)
    assert (counter.traces, counter.runs) == (0, 3)


def test_evaluation_stands_at_the_step_of_the_training():
    distiller = build(temperature=LinearRamp(1.0, 5.0, steps=4))
    logs_of_steps(distiller, 2)
    logs = distiller.evaluate(X, Y, return_dict=True, verbose=0)
    assert_allclose(logs["distillation_loss"], wanted_losses(distiller, 3.0)[1], 1e-4)


def test_a_schedule_that_comes_later_acts_from_the_next_fit():
    distiller = build()
    (plain,) = logs_of_steps(distiller, 1)
    distiller.student_loss_weight = LinearRamp(0.0, 1.0, steps=0, begin=3)
    before, after = (row["loss"] for row in logs_of_steps(distiller, 3)[1:])
    labels, soft = wanted_losses(distiller, 4.0)
    assert_allclose(
        [plain["loss"], before, after], [(labels + soft) / 2, soft, labels], 1e-5
    )
    distiller.student_loss_weight = 0.5
    assert_allclose(logs_of_steps(distiller, 1)[0]["loss"], plain["loss"], rtol=1e-6)


def test_a_restored_checkpoint_goes_on_where_it_was(tmp_path):
    def make():
        return build(rate=0.1, student_loss_weight=LinearRamp(1.0, 0.0, steps=6))

    whole = logs_of_steps(make(), 6)
    first, second = make(), make()
    logs_of_steps(first, 4)
    first.save_weights(tmp_path / "d.weights.h5")
    second.optimizer.build(second.trainable_variables)
    second.load_weights(tmp_path / "d.weights.h5")
    rest = logs_of_steps(second, 2)
    for row, want in zip(rest, whole[4:], strict=True):
        assert_allclose(row["loss"], want["loss"], rtol=1e-5)


def test_a_saved_distiller_brings_its_schedules(tmp_path):
    distiller = build(
        rate=0.1,
        temperature=LinearRamp(1.0, 5.0, steps=4),
        student_loss_weight=keras.optimizers.schedules.PolynomialDecay(1.0, 6, 0.2),
        distillation_loss_weights=[LinearRamp(0.0, 3.0, steps=5)],
    )
    logs_of_steps(distiller, 3)
    distiller.save(tmp_path / "d.keras")
    loaded = keras.saving.load_model(tmp_path / "d.keras")
    assert loaded.distillation_losses[0].temperature.end == 5.0
    assert loaded.student_loss_weight.end_learning_rate == 0.2
    pairs = zip(logs_of_steps(loaded, 2), logs_of_steps(distiller, 2), strict=True)
    for row, want in pairs:
        assert_allclose(row["loss"], want["loss"], rtol=1e-6)


def test_alone_a_loss_stands_at_step_0():
    sides = np.random.default_rng(0).normal(size=(2, 4, 5)).astype("float32")
    loss = KnowledgeDistillation(LinearRamp(2.0, 9.0, steps=3))
    assert_allclose(loss(*sides), KnowledgeDistillation(2.0)(*sides))
