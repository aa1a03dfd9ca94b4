"""A teacher's weights as constants of the step: same numbers, changes noticed."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.testing import assert_allclose
from small_models import TraceCounter, sparse_cross_entropy

import keras_kd
from keras_kd.teacher_ensemble import constant_weights
from keras_kd.teacher_ensemble.constant_weights import ConstantWeights, WhileConstant

rng = np.random.default_rng(0)
X = rng.normal(size=(24, 6, 6, 3)).astype("float32")
Y = rng.integers(0, 3, 24)


def network(name, *, seed=0, extra=(), normed=True):
    layers = keras.layers
    init = keras.initializers.GlorotUniform(seed=seed)
    norm = [layers.BatchNormalization(name="norm")] if normed else []
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(4, 3, kernel_initializer=init, name="conv"),
            *norm,
            layers.ReLU(),
            *extra,
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, kernel_initializer=init, name="logits"),
        ],
        name=name,
    )
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        variable.assign(variable + 0.5 * rng.uniform(size=variable.shape))
    return model


def distiller_of(teacher, loss=None, **compiled):
    loss = loss or keras_kd.losses.KnowledgeDistillation()
    model = keras_kd.Distiller(teacher, network("student", seed=5), loss)
    optimizer = keras.optimizers.SGD(0.05)
    model.compile(optimizer, sparse_cross_entropy(), **compiled)
    return model


def run(model, callbacks=(), epochs=2):
    """Logs of a training: by epoch, and of an `evaluate` after it."""
    options = {"batch_size": 8, "shuffle": False, "verbose": 0}
    history = model.fit(X, Y, epochs=epochs, callbacks=list(callbacks), **options)
    return history.history, model.evaluate(X, Y, verbose=0, return_dict=True)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-6, err_msg=name)


def shift(model, by=0.3):
    """Change one weight of a model, as a training of it would."""
    model.get_layer("norm").beta.assign_add(by * np.ones(4))


class At(keras.callbacks.Callback):
    """Does something after one step of a training."""

    def __init__(self, action, *, step):
        super().__init__()
        self.action, self.step, self.seen = action, step, 0

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        if self.seen == self.step:
            self.action()


def test_a_step_of_constants_gives_the_numbers_of_variables(monkeypatch):
    members = [network("a"), network("b", seed=1)]
    features = keras_kd.losses.FeatureMatching("conv", "conv")
    loss = [keras_kd.losses.KnowledgeDistillation(), features]
    constant = distiller_of(members[0], loss)
    logs = run(constant, epochs=1)
    assert isinstance(constant.train_function, WhileConstant)
    assert isinstance(constant.test_function, WhileConstant)
    several = distiller_of(members)
    logs_of_several = run(several, epochs=1)
    monkeypatch.setattr(ConstantWeights, "pay", lambda self: False)
    of_variables = distiller_of(members[0], loss)
    assert_same(logs, run(of_variables, epochs=1))
    assert not isinstance(of_variables.train_function, WhileConstant)
    assert_same(logs_of_several, run(distiller_of(members), epochs=1))
    for one, other in zip(constant.weights, of_variables.weights, strict=True):
        assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_no_weight_of_the_teacher_is_read_in_the_graph():
    member = network("a")
    teacher = keras_kd.TeacherEnsemble(member)
    kinds = []

    def answer(x):
        logits = teacher(x)
        graph = tf.compat.v1.get_default_graph()
        kinds.append([op.type for op in graph.get_operations()])
        return logits

    function = teacher.with_constants(lambda: tf.function(answer, autograph=False))
    assert_allclose(function(X), member(X), rtol=1e-5, atol=1e-6)
    assert "ReadVariableOp" not in kinds[0]
    shift(member)
    assert_allclose(function(X), member(X), rtol=1e-5, atol=1e-6)
    assert kinds[1].count("ReadVariableOp") == len(member.variables)


@pytest.mark.parametrize("moment", ["fit", "steps"])
def test_a_change_is_noticed_at_the_next_step(moment):
    def training(**compiled):
        members = [network("a"), network("b", seed=1)]
        model = distiller_of(members, **compiled)

        def change():
            shift(members[1])

        def undo():
            shift(members[1], -0.3)

        at_steps = [At(change, step=2), At(undo, step=5)]
        found = [*run(model, at_steps if moment == "steps" else [])]
        change()
        return [*found, *run(model, epochs=1)]

    assert_same(training(), training(run_eagerly=True))


def test_no_trace_after_the_first_epoch():
    """Over partial batches and a changed temperature; a changed weight costs one."""
    counter, teacher = TraceCounter(), network("a")
    student = network("student", seed=5, extra=[counter])
    loss = keras_kd.losses.KnowledgeDistillation()
    model = keras_kd.Distiller(teacher, student, loss)
    model.compile(keras.optimizers.SGD(0.05), sparse_cross_entropy())
    options = {"batch_size": 9, "verbose": 0}  # and one of 6
    model.fit(X, Y, **options)
    counter.reset()
    model.distillation_losses[0].temperature = 2.0
    model.fit(X, Y, epochs=2, **options)
    assert counter.traces == 0
    shift(teacher)
    model.fit(X, Y, epochs=2, **options)
    assert counter.traces == 1


def test_a_new_compile_takes_the_weights_of_then():
    member = network("a")
    model = distiller_of(member)
    run(model)
    shift(member)
    run(model)
    assert not isinstance(model.train_function, WhileConstant)
    model.compile(keras.optimizers.SGD(0.05), sparse_cross_entropy())
    found = run(model)
    assert isinstance(model.train_function, WhileConstant)
    other = distiller_of(member, run_eagerly=True)
    other.student.set_weights(model.student.get_weights())
    expected = other.evaluate(X, Y, verbose=0, return_dict=True)
    assert_same(found[1:], [expected])


class OwnFunction(keras.layers.Layer):
    """A layer that compiles its `call` by itself: one trace for all who call it."""

    def build(self, input_shape):
        self.shift = self.add_weight(shape=(4,), initializer="ones", name="shift")

    @tf.function
    def call(self, inputs):
        return inputs + self.shift


def test_a_layer_with_a_function_of_its_own_reads_its_variables():
    teacher = network("a", extra=[OwnFunction(name="own")])
    before = teacher(X[:2]).numpy()
    model = distiller_of(teacher)
    run(model)
    assert isinstance(model.train_function, WhileConstant)
    assert_allclose(teacher(X[:2]), before, rtol=1e-6)
    shift_before = teacher.get_layer("own").shift.numpy()
    teacher.get_layer("own").shift.assign(np.full(4, 3.0))
    kernel = teacher.get_layer("logits").kernel.numpy()
    expected = before + (3.0 - shift_before) @ kernel
    assert_allclose(teacher(X[:2]), expected, rtol=1e-5, atol=1e-5)
    assert_allclose(teacher.predict(X[:2], verbose=0), expected, rtol=1e-5, atol=1e-5)
    found = model.evaluate(X, Y, verbose=0, return_dict=True)
    other = distiller_of(teacher, run_eagerly=True)
    other.student.set_weights(model.student.get_weights())
    assert_same([found], [other.evaluate(X, Y, verbose=0, return_dict=True)])


def test_weights_that_are_no_number_are_read_each_time():
    teacher = network("a")
    teacher.get_layer("norm").beta.assign(np.full(4, np.nan))
    model = distiller_of(teacher)
    assert np.isnan(run(model)[0]["distillation_loss"]).all()
    teacher.get_layer("norm").beta.assign(np.zeros(4))
    model.student.set_weights(network("s").get_weights())
    found = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert np.isfinite(found["distillation_loss"])


def test_constants_are_left_where_they_do_not_pay(monkeypatch):
    normed, plain = network("a"), network("b", normed=False)
    assert ConstantWeights([normed]).pay()
    assert ConstantWeights([normed, plain]).pay()
    assert not ConstantWeights([plain]).pay()
    size = 4 * sum(v.numpy().size for v in normed.variables)
    monkeypatch.setattr(constant_weights, "MAX_BYTES", size - 1)
    assert not ConstantWeights([normed]).pay()
    monkeypatch.setattr(constant_weights, "MAX_BYTES", size)
    assert ConstantWeights([normed]).pay()
    monkeypatch.setattr(constant_weights, "MAX_BYTES_TOGETHER", 2 * size - 1)
    assert not ConstantWeights([normed, network("c")]).pay()
    gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
    devices = [*tf.config.list_physical_devices(), gpu]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda: devices)
    assert not ConstantWeights([normed]).pay()


@pytest.mark.parametrize("compiled", [{"run_eagerly": True}, {"jit_compile": True}])
def test_a_step_that_is_no_graph_of_its_own_has_none(compiled):
    model = distiller_of(network("a"), **compiled)
    model.make_train_function()
    assert not isinstance(model.train_function, WhileConstant)


def test_under_a_strategy_variables_are_read():
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        model = distiller_of(network("a"))
    found = run(model, epochs=1)
    assert not isinstance(model.train_function, WhileConstant)
    assert_same(found, run(distiller_of(network("a")), epochs=1))
