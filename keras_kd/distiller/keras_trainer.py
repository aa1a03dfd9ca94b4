"""Every override of a private method of `keras.Model`, for as long as Keras needs it.

Each names the version of Keras that it was needed on; tests/distiller/
test_keras_trainer.py says of each when it may go.
"""

import dataclasses
import functools
import threading
from typing import Any

import keras
import tensorflow as tf

from keras_kd._common.hyperparameter import schedules_of
from keras_kd.distiller.class_weights import checked_class_weight
from keras_kd.distiller.jit_choice import FasterOfTwo, accelerator_present
from keras_kd.distiller.small_arrays import with_small_sets


class KerasTrainer:
    """Mix-in before `keras.Model`: how Keras's trainer is led to do the right thing.

    It asks of the class: `_make_variables(data)` and `_has_all_variables()`, what to
    build before replicas start; `_scheduled()`, the objects whose schedules the step
    reads; `_chooses_jit`; `teacher`; `_parts()`.
    """

    _chooses_jit = False
    _class_weight = None
    _schedules_of_training = _schedules_of_testing = ()

    @functools.wraps(keras.Model.fit)
    def fit(self, x=None, y=None, *args, **kwargs):
        # Keras 3.15: its table of class weights takes no label of -1, no axis of
        # length 1 after the positions, and no target that carries stored answers.
        _check_weights_have_labels(y, kwargs)
        with self._weighing_classes(kwargs.pop("class_weight", None), kwargs):
            return self._run("fit", x, y, *args, **kwargs)

    @functools.wraps(keras.Model.train_on_batch)
    def train_on_batch(self, x, y=None, *args, **kwargs):
        with self._weighing_classes(kwargs.pop("class_weight", None), kwargs):
            return super().train_on_batch(x, y, *args, **kwargs)

    @functools.wraps(keras.Model.evaluate)
    def evaluate(self, x=None, y=None, *args, **kwargs):
        _check_weights_have_labels(y, kwargs)
        return self._run("evaluate", x, y, *args, **kwargs)

    @functools.wraps(keras.Model.predict)
    def predict(self, *args, **kwargs):
        return self._run("predict", *args, **kwargs)

    def _run(self, method, *args, **kwargs):
        # Keras 3.15 takes longer to start and end an epoch of small arrays than to
        # train it.
        run = getattr(super(), method)
        if self._distribute_strategy is not None:
            return run(*args, **kwargs)
        return run(**with_small_sets(method, *args, **kwargs))

    def _weighing_classes(self, class_weight, kwargs):
        if class_weight is not None and kwargs.get("sample_weight") is not None:
            raise ValueError(
                "`class_weight` and `sample_weight` were both given. Multiply the "
                "factors of the classes into `sample_weight` instead."
            )
        return _Weighing([self, *self._parts()], checked_class_weight(class_weight))

    def _parts(self):
        """Models of this class whose steps the step of this one runs."""
        return ()

    def _make_optimizer_variables(self):
        # Keras 3.15 leaves that to the first step where there is no strategy, and
        # TensorFlow traces a step twice that makes variables.
        for model in (self, *self._parts()):
            if model._has_all_variables() and not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)

    def make_train_function(self, force=False):
        self._make_optimizer_variables()
        # A step traced before a schedule or class weights came does not know of them.
        known = (schedules_of(self._scheduled()), self._class_weight)
        force = force or known != self._schedules_of_training
        self._schedules_of_training = known
        if self.train_function is not None and not force:
            return self.train_function
        make = super().make_train_function
        if self._chooses_jit and self._may_use_jit():
            functions = []
            for self.jit_compile in (False, True):
                make(force=True)
                functions.append(self.train_function)
            self.jit_compile = False  # evaluate and predict
            self.train_function = FasterOfTwo(*functions)
        else:
            self.train_function = self._made(make, "train_function")
        return self.train_function

    def make_test_function(self, force=False):
        known = schedules_of(self._scheduled())
        force = force or known != self._schedules_of_testing
        self._schedules_of_testing = known
        if self.test_function is None or force:
            make = super().make_test_function
            self.test_function = self._made(make, "test_function")
        return self.test_function

    def _made(self, make, name):
        """A step function of Keras's; the teacher's weights are constants of it."""

        def made():
            make(force=True)
            return getattr(self, name)

        compiled = not (self.run_eagerly or self.jit_compile)
        if self.teacher is None or not compiled or self._distribute_strategy:
            return made()
        return self.teacher.with_constants(made)

    @property
    def output_names(self):
        return getattr(self.student, "output_names", None)  # Keras names metrics so

    def _has_replicas(self):
        return self.distribute_strategy.num_replicas_in_sync > 1

    def _may_use_jit(self):
        return (
            accelerator_present()
            and self._distribute_strategy is None
            and all(layer.supports_jit for layer in self._flatten_layers())
        )

    def reset_metrics(self):
        """Keras calls this at the start of each pass over a set."""
        if self.teacher is not None:
            self.teacher.start_pass()
        for part in self._parts():
            part.reset_metrics()
        super().reset_metrics()

    def _get_metrics_result_or_logs(self, logs):
        # Keras 3.15 takes the metrics of all replicas only where a step logs them all;
        # else the mean of what the replicas say, each of its own examples.
        if not isinstance(logs, dict):
            return logs
        results = self.get_metrics_result()
        return {name: results.get(name, value) for name, value in logs.items()}

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras 3.15 takes the mean of the replicas' parts of a first batch. That fails
        # on unequal ones, and the batch is gone: sources count it as a pass.
        strategy = self._distribute_strategy
        if strategy is not None and iterator is not None:
            data_batch = _first_batch(iterator, strategy)
            iterator = None
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    def _symbolic_build(self, iterator=None, data_batch=None):
        # Keras 3.15 builds a model on a symbolic batch before it starts the replicas,
        # in which no variable can be made any more.
        if data_batch is not None and not self._has_all_variables():
            spec = keras.tree.map_structure(_spec, data_batch)
            trace = tf.function(self._make_variables, autograph=False)
            with keras.StatelessScope():  # on leaving it, Keras initialises variables
                trace.get_concrete_function(spec)
        for part in self._parts():
            part._symbolic_build(iterator=iterator, data_batch=data_batch)
        super()._symbolic_build(iterator=iterator, data_batch=data_batch)

    def _lock_state(self):
        """Keras 3.15 locks a built model; projectors may come with the first batch."""

    def export(self, filepath, *args, **kwargs):
        """Export the student: what it gives is what a call of the distiller gives."""
        return self.student.export(filepath, *args, **kwargs)

    def get_compile_config(self):
        # Keras 3.15 keeps these for models whose `compile` is its own.
        if not self.compiled:
            return {}
        return keras.saving.serialize_keras_object(self._compiled_with)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)


def _check_weights_have_labels(y, kwargs):
    # Keras 3.15 drops weights of a set without a word where there is no `y`.
    if y is None and kwargs.get("sample_weight") is not None:
        raise ValueError(
            "`sample_weight` was given without `y`, which Keras does not hand on. Give "
            "any `y` of one entry an example, such as `np.zeros(len(x))`: without a "
            "label loss and metrics it is not read."
        )


class _Weighing:
    """A scope in which the training steps of models weigh examples by class."""

    def __init__(self, models, class_weight):
        self._models = models
        self._class_weight = class_weight

    def __enter__(self):
        self._before = [model._class_weight for model in self._models]
        for model in self._models:
            vars(model)["_class_weight"] = self._class_weight  # Keras tracks no dict

    def __exit__(self, *error):
        for model, before in zip(self._models, self._before, strict=True):
            vars(model)["_class_weight"] = before


class Steps(threading.local):
    """The step under way, one a thread: replicas are traced in threads of their own."""

    now = None


@dataclasses.dataclass(eq=False)
class StepUnderWay:
    """What a step has run, for the `compute_loss` that it calls, and what that adds."""

    teacher: Any  # `Forward`, or None without answers
    student: Any  # `Forward`
    examples: Any = None
    objective: Any = None


def _first_batch(iterator, strategy):
    """What says the shapes of a batch: specs, or a part of one where there are none."""
    dataset = iterator.data_adapter.get_tf_dataset()
    if isinstance(dataset, tf.data.Dataset):
        return dataset.element_spec
    for _, _, parts in iterator:
        return keras.tree.map_structure(
            lambda part: strategy.experimental_local_results(part)[0], next(parts)
        )


def _spec(tensor):
    return None if tensor is None else tf.TensorSpec(tensor.shape, tensor.dtype)
