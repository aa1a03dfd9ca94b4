"""What a Distiller is given is as it was found: hashed before and after.

`evaluate` and `predict` change no variable but metric state; `fit` changes the student
and nothing of the teacher's, after an error in the middle of a step too.
"""

import keras
import numpy as np
import pytest
from small_models import (
    TraceCounter,
    digest,
    mlp,
    scattered,
    sparse_cross_entropy,
    toy_data,
)

import keras_kd
from keras_kd.losses import FeatureMatching, KnowledgeDistillation


@keras.saving.register_keras_serializable(package=__name__)
class AlwaysNoisy(keras.layers.Layer):
    """Draws from its SeedGenerator at inference too."""

    def __init__(self, seed=3, **kwargs):
        super().__init__(**kwargs)
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        noise = keras.random.normal(keras.ops.shape(inputs), seed=self.generator)
        return inputs + 0.01 * noise


@keras.saving.register_keras_serializable(package=__name__)
class Penalised(keras.layers.Layer):
    """Adds a loss of its own in every call."""

    def call(self, inputs):
        self.add_loss(0.1 * keras.ops.mean(keras.ops.square(inputs)))
        return inputs


@keras.saving.register_keras_serializable(package=__name__)
class Subclassed(keras.Model):
    """BatchNormalization, Dropout and other noise, called in the model."""

    def __init__(self, noise=AlwaysNoisy, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(8, name="hidden")
        self.norm = keras.layers.BatchNormalization(name="features")
        self.drop = keras.layers.Dropout(0.5)
        self.noise = noise()
        self.head = keras.layers.Dense(3, name="logits")

    def call(self, inputs, training=None):
        x = self.norm(self.hidden(inputs), training=training)
        return self.head(self.noise(self.drop(x, training=training)))


def gaussian_noise():
    return keras.layers.GaussianNoise(0.3)


def stateful_teacher(name="teacher", units=12):
    """Every kind of state that a model can have."""
    extra = [
        gaussian_noise(),
        AlwaysNoisy(),
        Penalised(),
        keras.layers.ActivityRegularization(l2=0.1),
    ]
    model = mlp(name, units=units, norm="batch", dropout=0.5, l2=0.1, extra=extra)
    model.compile(
        keras.optimizers.Adam(0.01),
        loss=sparse_cross_entropy(),
        metrics=["accuracy"],
        run_eagerly=True,
    )
    model.fit(*toy_data(16), verbose=0)  # so that optimizer and metrics have state
    model.layers[1].trainable = False
    return model


def subclassed(name, **arguments):
    model = Subclassed(name=name, **arguments)
    model(np.zeros((1, 4), "float32"))
    return scattered(model)


TEACHERS = {
    "functional": lambda: [stateful_teacher()],
    "subclassed": lambda: [subclassed("teacher")],
    "ensemble": lambda: [stateful_teacher("one"), stateful_teacher("two", units=9)],
}


def stateful_student():
    return mlp("student", seed=1, units=6, norm="batch", dropout=0.5, l2=0.1)


STUDENTS = {
    "functional": stateful_student,
    "subclassed": lambda: subclassed("student", noise=gaussian_noise),
}


def build(teacher, student, *, feature=None, **compile_arguments):
    losses = [KnowledgeDistillation()]
    if feature:
        losses.append(FeatureMatching(feature, "features"))
    distiller = keras_kd.Distiller(teacher, student, losses)
    distiller.compile(
        optimizer=keras.optimizers.SGD(0.05, momentum=0.9),
        loss=sparse_cross_entropy(),
        metrics=["accuracy"],
        **compile_arguments,
    )
    return distiller


def surface(model):
    """All of a model that is no variable: flags, own attributes, losses, compiling."""
    layers = model._flatten_layers()
    return {
        "flags": [(layer.name, layer.trainable) for layer in layers],
        "attributes": [sorted(layer.__dict__) for layer in layers],
        "own call": ["call" in layer.__dict__ for layer in layers],
        "losses": len(model.losses),
        "compiled": model.compiled,
        "trained": [v.path for v in model.trainable_variables],
        "settings": {
            key: id(getattr(model, key, None))
            for key in ("optimizer", "_compile_loss", "_compile_metrics", "loss")
        },
        "functions": (model.train_function, model.test_function),
    }


def found(models):
    return [(digest(model), surface(model)) for model in models]


def optimizer_states(models):
    optimizers = [model.optimizer for model in models if model.compiled]
    return [np.array(v).tobytes() for opt in optimizers for v in opt.variables]


@pytest.mark.parametrize(
    ("kind", "losses"),
    [
        ("functional", "logit and feature"),
        ("subclassed", "logit and feature"),
        ("ensemble", "logit and feature"),
        pytest.param("functional", "logit", marks=pytest.mark.slow),
    ],
)
def test_fit_evaluate_and_predict_leave_the_teacher(kind, losses):
    teachers = TEACHERS[kind]()
    before, optimizers = found(teachers), optimizer_states(teachers)
    path = "1.features" if len(teachers) > 1 else "features"
    feature = path if losses == "logit and feature" else None
    distiller = build(teachers, stateful_student(), feature=feature)
    assert found(teachers) == before
    x, y = toy_data(40)
    distiller.fit(x, y, batch_size=16, epochs=2, verbose=0)
    distiller.evaluate(x, y, verbose=0)
    distiller.predict(x, verbose=0)
    distiller.teacher(x)
    assert found(teachers) == before
    assert optimizer_states(teachers) == optimizers


def test_a_compiled_teacher_can_go_on_with_its_own_training():
    teacher = stateful_teacher()
    x, y = toy_data(32)
    build(teacher, stateful_student()).fit(x, y, verbose=0)
    before = digest(teacher)
    iterations = int(teacher.optimizer.iterations)
    teacher.fit(x, y, verbose=0)
    assert int(teacher.optimizer.iterations) == iterations + 1
    assert digest(teacher) != before


class FailsOnDemand(keras.layers.Layer):
    """Raises while the step is traced, after earlier layers were called."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.fails = False

    def call(self, inputs):
        if self.fails:
            raise RuntimeError("a fault in the middle of a step")
        return inputs


@pytest.mark.parametrize("side", ["teacher", "student"])
@pytest.mark.parametrize("eager", [True, False])
def test_an_error_in_a_step_leaves_both_models(side, eager):
    fault = FailsOnDemand()
    extra = {"teacher": [], "student": [], side: [fault]}
    teacher = mlp("teacher", norm="batch", dropout=0.5, extra=extra["teacher"])
    student = mlp("student", norm="batch", dropout=0.5, extra=extra["student"])
    distiller = build(teacher, student, feature="features", run_eagerly=eager)
    before = found([teacher, student])
    fault.fails = True
    with pytest.raises(RuntimeError, match="a fault in the middle"):
        distiller.fit(*toy_data(16), verbose=0)
    after = found([teacher, student])
    fault.fails = False
    assert after[0] == before[0]
    assert after[1][1] == before[1][1]  # hooks too
    distiller.compile("sgd", loss=sparse_cross_entropy(), run_eagerly=eager)
    distiller.fit(*toy_data(16), verbose=0)  # and training can start anew


@pytest.mark.parametrize("kind", STUDENTS)
def test_evaluate_and_predict_change_metric_state_only(kind):
    student = STUDENTS[kind]()
    distiller = build(mlp("teacher", units=12), student, feature="features")
    x, y = toy_data(40)
    distiller.fit(x, y, batch_size=16, verbose=0)
    kept = variables_without_metrics(distiller)
    for _ in range(2):
        distiller.evaluate(x + 3.0, y, batch_size=16, verbose=0)
        distiller.predict(x + 3.0, batch_size=16, verbose=0)
    assert variables_without_metrics(distiller) == kept


def variables_without_metrics(distiller):
    metrics = {id(v) for metric in distiller.metrics for v in metric.variables}
    holders = [distiller.student, *distiller._projectors, distiller.optimizer]
    variables = [v for holder in holders for v in holder.variables]
    assert len(variables) > 10
    return [
        (v.path, np.array(keras.ops.convert_to_numpy(v)).tobytes())
        for v in variables
        if id(v) not in metrics
    ]


def test_evaluate_repeats_itself():
    distiller = build(mlp("teacher"), stateful_student(), feature="features")
    x, y = toy_data(40)
    distiller.fit(x, y, verbose=0)
    first, *others = [
        distiller.evaluate(x, y, return_dict=True, verbose=0) for _ in range(3)
    ]
    assert others == [first, first]


def test_the_compile_state_of_the_student_is_its_own():
    student = stateful_student()
    student.compile(keras.optimizers.Adam(0.01), loss="mse", metrics=["mae"])
    before = surface(student)["settings"], student.compiled
    optimizer_state = optimizer_states([student])
    build(mlp("teacher"), student).fit(*toy_data(16), verbose=0)
    assert (surface(student)["settings"], student.compiled) == before
    assert optimizer_states([student]) == optimizer_state


@pytest.mark.parametrize("feature", [None, "features"])
def test_the_optimizer_has_slots_for_student_and_projector_only(feature):
    student = stateful_student()
    distiller = build(mlp("teacher", units=12), student, feature=feature)
    distiller.train_on_batch(*toy_data(16))
    projector = [(6, 12)] if feature else []
    trained = [tuple(v.shape) for v in student.trainable_variables] + projector
    slots = [
        tuple(v.shape)
        for v in distiller.optimizer.variables
        if "iteration" not in v.path and "learning_rate" not in v.path
    ]
    assert sorted(slots) == sorted(trained)
    assert [tuple(w.shape) for w in distiller.trainable_weights] == trained


def counted(name, **arguments):
    counter = TraceCounter(name=f"{name}_counter")
    return mlp(name, extra=[counter], **arguments), counter


def two_losses_of_each_kind():
    return [
        KnowledgeDistillation(),
        keras_kd.losses.SoftCrossEntropy(temperature=2.0),
        FeatureMatching("0.features", "features", name="inner"),
        FeatureMatching("1.hidden", "hidden", name="outer"),
    ]


@pytest.mark.parametrize("step", ["train_step", "test_step"])
def test_a_step_calls_the_student_once_and_each_member_once(step):
    (one, *_), (two, *_), (student, *_) = made = [
        counted("one"),
        counted("two", units=5),
        counted("student", units=6, norm="batch", dropout=0.5),
    ]
    distiller = keras_kd.Distiller([one, two], student, two_losses_of_each_kind())
    distiller.compile("sgd", loss=sparse_cross_entropy(), metrics=["accuracy"])
    x, y = toy_data(8)
    data = (keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y))
    getattr(distiller, step)(data)  # the first step makes metrics and slots
    counters = [counter for _, counter in made]
    for counter in counters:
        counter.reset()
    getattr(distiller, step)(data)
    assert [(c.traces, c.runs) for c in counters] == [(1, 1)] * 3


def test_a_compiled_fit_runs_each_model_once_a_step():
    made = [
        counted("one"),
        counted("two", units=5),
        counted("student", units=6, norm="batch", dropout=0.5),
    ]
    (one, _), (two, _), (student, _) = made
    distiller = keras_kd.Distiller([one, two], student, two_losses_of_each_kind())
    distiller.compile("sgd", loss=sparse_cross_entropy(), metrics=["accuracy"])
    for _, counter in made:
        counter.reset()
    distiller.fit(*toy_data(41), batch_size=8, epochs=2, verbose=0)
    assert [counter.runs for _, counter in made] == [12, 12, 12]


def test_predict_calls_the_student_alone():
    made = [counted("teacher"), counted("student", units=6)]
    (teacher, teacher_counter), (student, student_counter) = made
    distiller = build(teacher, student)
    x, _ = toy_data(16)
    for counter in (teacher_counter, student_counter):
        counter.reset()
    predicted = distiller.predict(x, batch_size=8, verbose=0)
    assert (teacher_counter.runs, student_counter.runs) == (0, 2)
    np.testing.assert_array_equal(predicted, student.predict(x, 8, verbose=0))
